"""Whether a library's operators compute what mxnet's own do. build.py runs it in a process of its own."""

from __future__ import annotations

import mxnet as mx
import numpy as np
from mxnet import autograd, library

EPS, MOMENTUM, NEAR = 1e-5, 0.9, 1e-4


def run(path):
    """ValueError: they do not."""
    library.load(path, False)
    pairs = [(3, _theirs, _ours), (32, _theirs, _ours)]  # oneDNN lays out 32 channels in blocks
    if hasattr(mx.nd, 'ibnnet_winograd'):
        pairs.append((64, _their_convolution, _our_convolution))
    for channels, *both in pairs:
        arrays = _arrays(channels)
        theirs, ours = (_step(layers, [array.copy() for array in arrays]) for layers in both)
        for number, (wanted, found) in enumerate(zip(theirs, ours)):
            wanted, found = wanted.asnumpy(), found.asnumpy()
            if not np.abs(wanted - found).max() <= NEAR * max(np.abs(wanted).max(), 1):
                raise ValueError(f'of {channels} channels, result {number} differs by {np.abs(wanted - found).max()}')


def _arrays(channels):
    """x, weight, gamma, beta, running mean and variance, skip, upstream gradient."""
    draw = np.random.RandomState(channels)
    size = (4, channels, 9, 7)
    shapes = [size, (channels, channels, 3, 3), *[(channels,)] * 4, size, size]
    arrays = [mx.nd.array(draw.normal(size=shape)) for shape in shapes]
    arrays[5] = arrays[5].abs()
    return arrays


def _step(layers, arrays):
    """[y, the running statistics after the step, gradients]"""
    x, weight, gamma, beta, mean, var, skip, head = arrays
    learned = [x, weight, gamma, beta, skip]
    for array in learned:
        array.attach_grad()
    with autograd.record():
        y = layers(x, weight, gamma, beta, mean, var, skip)
    y.backward(head)
    mx.nd.waitall()
    return [y, mean, var, *(array.grad for array in learned)]


def _convolution(x, weight):
    return mx.nd.Convolution(x, weight, kernel=(3, 3), pad=(1, 1), num_filter=x.shape[1], no_bias=True)


def _theirs(x, weight, gamma, beta, mean, var, skip):
    x = _convolution(x, weight)
    y = mx.nd.BatchNorm(x, gamma, beta, mean, var, fix_gamma=False, eps=EPS, momentum=MOMENTUM)
    return mx.nd.Activation(y + skip, act_type='relu')


def _ours(x, weight, gamma, beta, mean, var, skip):
    x = _convolution(x, weight)
    return mx.nd.ibnnet_norm(x, gamma, beta, mean, var, skip, eps=EPS, momentum=MOMENTUM, add=1, relu=1)


def _their_convolution(x, weight, *_):
    return _convolution(x, weight)


def _our_convolution(x, weight, *_):
    return mx.nd.ibnnet_winograd(x, weight)
