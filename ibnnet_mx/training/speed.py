"""The time of a training step on this machine, measured in seconds, before there are data or a recipe."""

from __future__ import annotations

import time
from typing import Any

import mxnet as mx
from mxnet import autograd, gluon

from ibnnet_mx.size import Pixels, Size

WARM, MEASURED = 2, 3  # steps: the first ones bind the graph and take memory


def seconds_of_picture(net: Any, size: Pixels, rows: int) -> float:
    """Return the seconds that forward and backward pass take for a picture, in batches of `rows`.

    net: a network without weights, which gets some. The update of the weights and the reader are not in it.
    """
    net.initialize()
    net.hybridize(static_alloc=True, static_shape=True)
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    data, label = mx.nd.zeros((rows, 3, *Size.of(size))), mx.nd.zeros((rows,))
    begin = 0.0
    for step in range(WARM + MEASURED):
        if step == WARM:
            mx.nd.waitall()
            begin = time.perf_counter()
        with autograd.record():
            loss = loss_of(net(data), label)
        loss.backward()
    mx.nd.waitall()
    return (time.perf_counter() - begin) / MEASURED / rows
