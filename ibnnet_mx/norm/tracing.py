"""Tell a layer about the graph that it is traced into: mode, batch size, operators, constants."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import Any, NamedTuple

import mxnet as mx
from mxnet import autograd

EPS = 2.0**-10  # eps of BatchNorms that only scale: 1 - EPS and its sum with EPS are exact in float32


class Use(NamedTuple):
    """The use that a graph is traced for. training: None if it serves both modes. rows: batch size, None: unknown.

    fast: forms with constants are allowed. native: the operators of operators/cpp are there. fused: so is ibnnet_norm.
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

    training_rows: batch size of a training graph; None traces a prediction graph. native, fused: the graph will run on
    the CPU and these operators are loaded. Yields {input name: NDArray} of the constants that the traced graph takes
    besides data and parameters. Outside of the context layers take a form for both modes and every batch size.
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
    """Return a symbol of `channels` equal values. All layers of a graph share it."""
    name = f'{name}_{value!r}_{channels}'
    if name not in _tracing.symbols:
        _tracing.constants[name], _tracing.symbols[name] = mx.nd.full((channels,), value), mx.sym.var(name)
    return _tracing.symbols[name]


def batch_norm(F, x, scale, shift, channels, axis=1, eps=1e-5):
    """Return BatchNorm in training mode: (y, mean (channels,), 1 / sqrt(var + eps)). It moves no statistics."""
    if F is mx.sym:  # with momentum 1 the operator leaves them as they are, so all layers can share them
        spare = [constant(channels, value, 'unmoved') for value in (0.0, 1.0)]
    else:
        spare = [F.zeros((channels,), ctx=x.context), F.ones((channels,), ctx=x.context)]
    how = dict(axis=axis, momentum=1.0, fix_gamma=False, eps=eps, output_mean_var=True)
    return F.BatchNorm(x, scale, shift, *spare, **how)


def is_training(F, like):
    """Return 1.0 in training mode, 0.0 in prediction, in the shape of `like`. The graph decides when it runs."""
    return F.BlockGrad(F.Dropout(F.ones_like(like), p=0.5)) != 1  # 0 or 2 in training, 1 in prediction


def arange(F, x, count):
    """Return 0 ... count - 1, on the device of x."""
    return F.arange(count) if F is mx.sym else F.arange(count, ctx=x.context)


def affine(F, x, scale, shift, channels, axis=1):
    """Return x * scale + shift along an axis of `channels`, by a BatchNorm if the form with constants is allowed."""
    if use_of(F, x).fast:
        mean, var = constant(channels, 0.0), constant(channels, 1.0 - EPS)
        return F.BatchNorm(x, scale, shift, mean, var, axis=axis, fix_gamma=False, use_global_stats=True, eps=EPS)
    shape = (1, -1, 1, 1) if axis == 1 else (-1, 1, 1)
    return F.broadcast_add(F.broadcast_mul(x, F.reshape(scale, shape=shape)), F.reshape(shift, shape=shape))
