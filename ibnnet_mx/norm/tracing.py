"""The facts that a layer may know about the graph it is traced into: mode, batch size, operators, constants."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import Any, NamedTuple

import mxnet as mx
from mxnet import autograd

EPS = 2.0**-10  # of BatchNorms that only scale: a variance of 1 - EPS is exact in float32, and so is its sum with EPS


class Use(NamedTuple):
    """The use that a graph is traced for. training: None if it serves both modes. rows: batch size, None: unknown.

    fast: constants may be had. native: the operators of operators/cpp may be had. fused: ibnnet_norm too.
    """

    training: Any = None
    rows: Any = None
    fast: bool = False
    native: bool = False
    fused: bool = False


_tracing = threading.local()


@contextmanager
def _using(use):
    _tracing.use, _tracing.constants, _tracing.symbols = use, {}, {}
    try:
        yield _tracing.constants
    finally:
        del _tracing.use, _tracing.constants, _tracing.symbols


def forms(training_rows=None, native=False, fused=False):
    """Open a context in which layers may choose a form that is valid in one mode only.

    training_rows: batch size of a training graph; None traces a prediction graph. native, fused: it will run on the
    CPU, where these operators are. Yields {input name: NDArray} of the constants that the traced graph takes besides
    data and parameters. Outside of the context layers take a form that is valid in both modes and for every batch size.
    """
    return _using(Use(training_rows is not None, training_rows, True, native, fused))


def standard():
    """Open a context in which a prediction graph of standard operators is traced: any batch size, no constants."""
    return _using(Use(False))


def use_of(F, x):
    """Return the Use of the present call of hybrid_forward(F, x)."""
    if F is not mx.sym:
        return Use(autograd.is_training(), x.shape[0])
    return getattr(_tracing, 'use', Use())


def constant(channels, value, name='constant'):
    """A symbol of (channels,) equal values; one of a name for all layers of a graph."""
    name = f'{name}_{value!r}_{channels}'
    if name not in _tracing.symbols:
        _tracing.constants[name], _tracing.symbols[name] = mx.nd.full((channels,), value), mx.sym.var(name)
    return _tracing.symbols[name]


def batch_norm(F, x, scale, shift, channels, axis=1, eps=1e-5):
    """Return BatchNorm in training mode: (y, mean (channels,), 1 / sqrt(var + eps)). No statistics are moved."""
    if F is mx.sym:  # the operator multiplies what it moves by a momentum of 1, so that all layers may share it
        spare = [constant(channels, value, 'unmoved') for value in (0.0, 1.0)]
    else:
        spare = [F.zeros((channels,), ctx=x.context), F.ones((channels,), ctx=x.context)]
    how = dict(axis=axis, momentum=1.0, fix_gamma=False, eps=eps, output_mean_var=True)
    return F.BatchNorm(x, scale, shift, *spare, **how)


def is_training(F, like):
    """Return 1.0 in training mode, 0.0 in prediction, in the shape of `like`. It is decided when the graph runs."""
    return F.BlockGrad(F.Dropout(F.ones_like(like), p=0.5)) != 1  # 0 or 2 in training, 1 in prediction


def arange(F, x, count):
    """Return 0 ... count - 1, on the device of x."""
    return F.arange(count) if F is mx.sym else F.arange(count, ctx=x.context)


def affine(F, x, scale, shift, channels, axis=1):
    """Return x * scale + shift along an axis of `channels`, by the kernel of a BatchNorm if it may."""
    if use_of(F, x).fast:
        mean, var = constant(channels, 0.0), constant(channels, 1.0 - EPS)
        return F.BatchNorm(x, scale, shift, mean, var, axis=axis, fix_gamma=False, use_global_stats=True, eps=EPS)
    shape = (1, -1, 1, 1) if axis == 1 else (-1, 1, 1)
    return F.broadcast_add(F.broadcast_mul(x, F.reshape(scale, shape=shape)), F.reshape(shift, shape=shape))
