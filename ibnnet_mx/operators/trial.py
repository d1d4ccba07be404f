"""Whether a library's ibnnet_norm computes what mxnet's own operators do. build.py runs it in a process of its own."""

from __future__ import annotations

import mxnet as mx
import numpy as np
from mxnet import autograd, library

EPS, MOMENTUM, NEAR = 1e-5, 0.9, 1e-4


def run(path):
    """ValueError: it does not."""
    library.load(path, False)
    for channels in (3, 32):  # oneDNN lays out the latter in blocks
        arrays = _arrays(channels)
        theirs, ours = (_step(norm, [array.copy() for array in arrays]) for norm in (_theirs, _ours))
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


def _step(norm, arrays):
    """[y, the running statistics after the step, gradients]"""
    x, weight, gamma, beta, mean, var, skip, head = arrays
    learned = [x, weight, gamma, beta, skip]
    for array in learned:
        array.attach_grad()
    with autograd.record():
        x = mx.nd.Convolution(x, weight, kernel=(3, 3), pad=(1, 1), num_filter=x.shape[1], no_bias=True)
        y = norm(x, gamma, beta, mean, var, skip)
    y.backward(head)
    mx.nd.waitall()
    return [y, mean, var, *(array.grad for array in learned)]


def _theirs(x, gamma, beta, mean, var, skip):
    y = mx.nd.BatchNorm(x, gamma, beta, mean, var, fix_gamma=False, eps=EPS, momentum=MOMENTUM)
    return mx.nd.Activation(y + skip, act_type='relu')


def _ours(x, gamma, beta, mean, var, skip):
    return mx.nd.ibnnet_norm(x, gamma, beta, mean, var, skip, eps=EPS, momentum=MOMENTUM, add=1, relu=1)
