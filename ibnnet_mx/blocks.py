"""Blocks of the residual nets. A unit is written as rows of convolutions; variants are decided when it is built."""

from __future__ import annotations

from typing import NamedTuple

from mxnet.gluon import nn

from ibnnet_mx.norm import IBN


class Conv(NamedTuple):
    """One convolution without bias, padded by kernel // 2."""

    cin: int
    cout: int
    kernel: int
    stride: int = 1
    groups: int = 1


def basic(cin, cout, stride):
    return [Conv(cin, cout, 3, stride), Conv(cout, cout, 3)]


def bottleneck(cin, cout, stride):
    mid = cout // 4
    return [Conv(cin, mid, 1), Conv(mid, mid, 3, stride), Conv(mid, cout, 1)]


ROWS = {'basic': basic, 'bottleneck': bottleneck}


def chain(*blocks):
    """Blocks one after another; an empty chain is the identity."""
    sequence = nn.HybridSequential(prefix='')
    sequence.add(*blocks)
    return sequence


class GlobalMean(nn.HybridBlock):
    """(N, C, H, W) -> (N, C), by the mean: the pooling operator's backward pass sends later norms to slow kernels."""

    def hybrid_forward(self, F, x):
        return F.mean(x, axis=(2, 3))


class ResidualUnit(nn.HybridBlock):
    """post(shortcut(y) + body(y)) with y = pre(x); without a shortcut x itself is added.

    (N, Cin, H, W) -> (N, Cout, H/stride, W/stride)
    v1, arXiv:1512.03385: pre is empty, post is the last ReLU.
    v2, arXiv:1603.05027: pre is norm + ReLU, post is empty.
    IBN, arXiv:1807.09441: 'a' makes the first norm an IBN, 'b' puts an InstanceNorm first in post.
    rows: the body's convolutions; project: whether the shortcut has a convolution; zero_gamma: the body's last norm
    starts at zero (arXiv:1706.02677), which needs a norm at the body's end, so v1.
    """

    def __init__(self, rows, layers, preact=False, ibn=None, project=False, zero_gamma=False, **kwargs):
        super().__init__(**kwargs)
        cin, cout, stride = rows[0].cin, rows[-1].cout, max(row.stride for row in rows)
        with self.name_scope():
            steps = []
            for i, row in enumerate(rows, 1):
                width = row.cin if preact else row.cout
                if ibn == 'a' and i == 1:
                    norm = IBN(width, layers, prefix='')
                else:
                    gamma = 'zeros' if zero_gamma and i == len(rows) else 'ones'
                    norm = layers.norm(width, prefix=f'bn{i}_', gamma=gamma)
                conv, relu = layers.conv(row, prefix=f'conv{i}_'), nn.Activation('relu')
                steps += [norm, relu, conv] if preact else [conv, norm, relu]
            self.pre = chain(*steps[:2]) if preact else chain()
            self.body = chain(*(steps[2:] if preact else steps[:-1]))  # v1: the last ReLU comes after the sum
            self.shortcut = None
            if project:
                self.shortcut = chain(layers.conv(Conv(cin, cout, 1, stride), prefix='sc_'))
                if not preact:
                    self.shortcut.add(layers.norm(cout, prefix='sc_bn_'))
            self.post = chain()
            if ibn == 'b':
                self.post.add(layers.instance(cout, prefix='ibn1_'))
            if not preact:
                self.post.add(nn.Activation('relu'))

    def hybrid_forward(self, F, x):
        y = self.pre(x)
        skip = x if self.shortcut is None else self.shortcut(y)
        return self.post(F.elemwise_add(self.body(y), skip, name='sum'))


def stem(kind, width, layers, preact=False, ibn=None):
    """The layers before the first unit: 7x7/2 and pooling for 'imagenet', one 3x3 for 'cifar'.

    The pre-activation nets begin with a BatchNorm of the raw pixels, and their CIFAR stem has no norm of its own.
    IBN-b makes the stem's norm, where there is one, an InstanceNorm.
    """
    conv = Conv(3, width, 7, 2) if kind == 'imagenet' else Conv(3, width, 3)
    blocks = [layers.pixels()] if preact else []
    blocks.append(layers.conv(conv, prefix='conv0_'))
    if kind == 'imagenet' or not preact:
        make = layers.instance if ibn == 'b' else layers.norm
        blocks += [make(width, prefix='bn0_'), nn.Activation('relu')]
    if kind == 'imagenet':
        blocks.append(nn.MaxPool2D(3, 2, 1))
    return chain(*blocks)
