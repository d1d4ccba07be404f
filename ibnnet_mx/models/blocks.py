"""The blocks of the networks. A unit is written as rows of convolutions; its variant is decided when it is built."""

from __future__ import annotations

from typing import NamedTuple

import mxnet as mx
from mxnet.gluon import nn

from ibnnet_mx import norm


class Conv(NamedTuple):
    """One convolution without bias, padded by kernel // 2."""

    cin: int
    cout: int
    kernel: int
    stride: int = 1
    groups: int = 1


class Style(NamedTuple):
    """The choices that all units of a network share.

    ibn_stages: stages that have IBN, from 1. se: reduction of squeeze-and-excitation, 0: none. pad: the shortcuts are
    PaddedIdentity instead of convolutions. The other fields are explained in tables.OPTIONS.
    """

    preact: bool = False
    ibn: str | None = None
    ibn_stages: tuple[int, ...] = ()
    groups: int = 1
    se: int = 0
    pad: bool = False
    w_d: bool = False
    zero_gamma: bool = False
    last_stride: int = 2


def basic(cin, cout, stride, groups):
    return [Conv(cin, cout, 3, stride), Conv(cout, cout, 3, 1, groups)]


def bottleneck(cin, cout, stride, groups):
    mid = cout // 4 if groups == 1 else cout // 2  # 32x4d: 128 of 256 channels, and so on
    return [Conv(cin, mid, 1), Conv(mid, mid, 3, stride, groups), Conv(mid, cout, 1)]


ROWS = {'basic': basic, 'bottleneck': bottleneck}


def chain(*blocks):
    """Return a block that runs blocks one after another; an empty chain is the identity."""
    sequence = nn.HybridSequential(prefix='')
    sequence.add(*blocks)
    return sequence


class GlobalMean(nn.HybridBlock):
    """The mean over H and W: (N, C, H, W) -> (N, C). After global pooling's backward pass, norms would run slowly."""

    def hybrid_forward(self, F, x):
        return F.mean(x, axis=(2, 3))


class SqueezeExcite(nn.HybridBlock):
    """x * sigmoid(fc2(relu(fc1(mean of x over H and W)))), (N, C, H, W) -> the same; no biases. arXiv:1709.01507."""

    def __init__(self, channels, reduction, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.gate = chain(GlobalMean())
            for name, cin, cout, act in (
                ('fc1_', channels, channels // reduction, 'relu'),
                ('fc2_', channels // reduction, channels, 'sigmoid'),
            ):
                init = mx.init.Uniform(cin**-0.5)  # as torch's Linear
                self.gate.add(nn.Dense(cout, act, False, in_units=cin, weight_initializer=init, prefix=name))

    def hybrid_forward(self, F, x):
        if norm.use_of(F, x).fused:
            return F.ibnnet_excite(x, *(layer.weight.var() for layer in self.gate[1:]), name='fwd')
        return F.broadcast_mul(x, F.expand_dims(F.expand_dims(self.gate(x), axis=2), axis=3))


class PaddedIdentity(nn.HybridBlock):
    """The shortcut "option A" of arXiv:1512.03385: every stride-th pixel, padded with zero channels up to cout."""

    def __init__(self, cin, cout, stride, **kwargs):
        super().__init__(**kwargs)
        self._stride, self._before, self._after = stride, (cout - cin) // 2, cout - cin - (cout - cin) // 2

    def hybrid_forward(self, F, x):
        x = F.Pooling(x, kernel=(1, 1), stride=(self._stride, self._stride), pool_type='max')
        planes = F.expand_dims(x, axis=1)  # mxnet cannot pad the first two axes
        planes = F.Pad(planes, mode='constant', pad_width=(0, 0, 0, 0, self._before, self._after, 0, 0, 0, 0))
        return F.squeeze(planes, axis=1)


class ResidualUnit(nn.HybridBlock):
    """Return post(shortcut(y) + body(y)) with y = pre(x); without a shortcut, x itself is added.

    (N, Cin, H, W) -> (N, Cout, H/stride, W/stride)
    v1, arXiv:1512.03385: pre is empty, post is the last ReLU.
    v2, arXiv:1603.05027: pre is norm + ReLU, post is empty.
    IBN, arXiv:1807.09441: 'a' makes the first norm an IBN, 'b' puts an InstanceNorm first in post.
    rows: the body's convolutions. ibn: this unit's IBN, 'a', 'b' or None. project: the shortcut changes the shape.
    style.zero_gamma: the body's last norm starts at zero; only v1 has a norm there.
    """

    def __init__(self, rows, layers, style, ibn=None, project=False, **kwargs):
        super().__init__(**kwargs)
        cin, cout, stride = rows[0].cin, rows[-1].cout, max(row.stride for row in rows)
        with self.name_scope():
            steps = []
            for i, row in enumerate(rows, 1):
                width = row.cin if style.preact else row.cout
                if ibn == 'a' and i == 1:
                    normed = layers.ibn(width)
                else:
                    gamma = 'zeros' if style.zero_gamma and i == len(rows) else 'ones'
                    normed = layers.norm(width, prefix=f'bn{i}_', gamma=gamma)
                conv, relu = layers.conv(row, prefix=f'conv{i}_'), nn.Activation('relu')
                steps += [normed, relu, conv] if style.preact else [conv, normed, relu]
            self.pre = chain(*steps[:2]) if style.preact else chain()
            self.body = chain(*(steps[2:] if style.preact else steps[:-1]))  # v1: the last ReLU comes after the sum
            if style.se:
                self.body.add(SqueezeExcite(cout, style.se, prefix='se_'))
            self.shortcut = None
            if project and style.pad:
                self.shortcut = PaddedIdentity(cin, cout, stride)
            elif project:
                kernel = 3 if style.w_d and stride > 1 else 1
                self.shortcut = chain(layers.conv(Conv(cin, cout, kernel, stride), prefix='sc_'))
                if not style.preact:
                    self.shortcut.add(layers.norm(cout, prefix='sc_bn_'))
            self.post = chain()
            if ibn == 'b':
                self.post.add(layers.instance(cout, prefix='ibn1_'))
            if not style.preact:
                self.post.add(nn.Activation('relu'))

    def hybrid_forward(self, F, x):
        y = self.pre(x)
        skip = x if self.shortcut is None else self.shortcut(y)
        return self.post(F.elemwise_add(self.body(y), skip, name='sum'))


class DenseUnit(nn.HybridBlock):
    """Return concat(x, conv3x3(relu(norm(conv1x1(relu(norm(x))))))): (N, C, H, W) -> (N, C + growth, H, W).

    arXiv:1608.06993. The 1x1 gives four times as many channels as the 3x3. ibn: the first norm is an IBN.
    """

    def __init__(self, cin, growth, layers, ibn=False, **kwargs):
        super().__init__(**kwargs)
        mid = 4 * growth
        with self.name_scope():
            self.body = chain(
                layers.ibn(cin) if ibn else layers.norm(cin, prefix='bn1_'),
                nn.Activation('relu'),
                layers.conv(Conv(cin, mid, 1), prefix='conv1_'),
                layers.norm(mid, prefix='bn2_'),
                nn.Activation('relu'),
                layers.conv(Conv(mid, growth, 3), prefix='conv2_'),
            )

    def hybrid_forward(self, F, x):
        return F.concat(x, self.body(x), dim=1)


def transition(cin, layers, prefix):
    """Return norm + ReLU + 1x1 to half the channels + mean of 2x2, which lie between two stages of a DenseNet."""
    return chain(
        layers.norm(cin, prefix=f'{prefix}bn_'),
        nn.Activation('relu'),
        layers.conv(Conv(cin, cin // 2, 1), prefix=f'{prefix}conv_'),
        nn.AvgPool2D(2, 2),
    )


def stem(kind, width, layers, style):
    """Return the layers before the first unit: 7x7/2 and pooling for 'imagenet', one 3x3 for 'cifar'.

    Pre-activation networks begin with a BatchNorm of the raw pixels, and their CIFAR stem has no norm after its
    convolution. With IBN-b the stem's norm is an InstanceNorm. style.w_d: three 3x3 instead of the one convolution
    (conv01, conv02, conv03 as in bruinxiong/IBN-Net.mxnet, whose graph leaves the first one out).
    """
    stride = 2 if kind == 'imagenet' else 1
    rows = [Conv(3, width, 7 if kind == 'imagenet' else 3, stride)]
    names = ['0']
    if style.w_d:
        rows = [Conv(3, width, 3, stride), Conv(width, width, 3), Conv(width, width, 3)]
        names = ['01', '02', '03']
    blocks = [layers.pixels()] if style.preact else []
    for row, name in zip(rows, names):
        blocks.append(layers.conv(row, prefix=f'conv{name}_'))
        if kind == 'imagenet' or not style.preact or name != names[-1]:
            make = layers.instance if style.ibn == 'b' else layers.norm
            blocks += [make(width, prefix=f'bn{name}_'), nn.Activation('relu')]
    if kind == 'imagenet':
        blocks.append(nn.MaxPool2D(3, 2, 1))
    return chain(*blocks)
