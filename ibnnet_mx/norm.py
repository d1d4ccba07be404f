"""Normalisation and convolution, handed to the blocks as a kit: Layers(conv, norm, instance, ibn, pixels).

Nobody outside this file names a concrete norm, so momentum, eps and workspace are bound here, once.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import Any, Callable, NamedTuple

import mxnet as mx
from mxnet.gluon import nn


class Layers(NamedTuple):
    """Makers of layers; blocks ask for conv(row, prefix) and norm(channels, prefix) and know no more."""

    conv: Callable[..., Any]
    norm: Callable[..., Any]
    instance: Callable[..., Any]
    ibn: Callable[..., Any]
    pixels: Callable[..., Any]


_tracing = threading.local()


@contextmanager
def forms(training_rows=None):
    """Within it a graph may be traced with the fast forms of InstanceNorm that are right in one mode only.

    training_rows: batch size of a training graph; None traces a prediction graph. Yields {input name: NDArray} of the
    constants that the traced graph takes besides data and parameters. Outside of it the operator form is traced, which
    is right in every mode, for every batch size, and exports.
    """
    _tracing.rows, _tracing.constants = training_rows, {}
    try:
        yield _tracing.constants
    finally:
        del _tracing.rows, _tracing.constants


def _constant(channels, value):
    name = f'constant_{value!r}_{channels}'
    _tracing.constants[name] = mx.nd.full((channels,), value)
    return mx.sym.var(name)


class InstanceNorm(nn.HybridBlock):
    """gamma * (x - mean) / sqrt(var + eps) + beta, statistics over H and W of each picture and channel.

    (N, C, H, W) -> the same. arXiv:1607.08022. Three exact forms, chosen when a graph is traced (see forms()):
    the operator; in training BatchNorm over a (N*C, H, W) view, which oneDNN runs at twice the operator's speed;
    in prediction LayerNorm over H*W with BatchNorm's global statistics as the affine map.
    """

    def __init__(self, channels, eps=1e-5, **kwargs):
        super().__init__(**kwargs)
        self._channels, self._eps = channels, eps
        with self.name_scope():
            self.gamma = self.params.get('gamma', shape=(channels,), init='ones')
            self.beta = self.params.get('beta', shape=(channels,), init='zeros')

    def hybrid_forward(self, F, x, gamma, beta):
        if F is not mx.sym or not hasattr(_tracing, 'rows'):
            return F.InstanceNorm(x, gamma, beta, eps=self._eps)
        if _tracing.rows is None:
            return self._prediction_form(F, x, gamma, beta)
        return self._training_form(F, x, gamma, beta, _tracing.rows)

    def _training_form(self, F, x, gamma, beta, rows):
        width = rows * self._channels
        y = F.BatchNorm(
            F.reshape(x, shape=(-3, -2)),
            F.tile(gamma, reps=(rows,)),
            F.tile(beta, reps=(rows,)),
            _constant(width, 0.0),
            _constant(width, 1.0),
            axis=0,
            momentum=1.0,  # the moving statistics are never moved, so that one constant serves every layer
            fix_gamma=False,
            eps=self._eps,
        )
        # Sliced as a whole, that is copied: oneDNN's ReLU and concat do not take a reshaped view of BatchNorm's output.
        return F.slice_axis(F.reshape_like(y, x), axis=0, begin=0, end=None)

    def _prediction_form(self, F, x, gamma, beta):
        pixels = F.reshape(F.slice(x, begin=(0, 0, None, None), end=(1, 1, None, None)), shape=(-1,))
        y = F.LayerNorm(
            F.reshape(x, shape=(0, 0, -1)), F.ones_like(pixels), F.zeros_like(pixels), axis=-1, eps=self._eps
        )
        zero, one = _constant(self._channels, 0.0), _constant(self._channels, 1.0 - 1e-3)
        y = F.reshape_like(y, x)
        return F.BatchNorm(y, gamma, beta, zero, one, fix_gamma=False, use_global_stats=True, eps=1e-3)


class IBN(nn.HybridBlock):
    """InstanceNorm of some channels beside the kit's norm of the others. arXiv:1807.09441, IBN-a.

    (N, C, H, W) -> the same. ratio: share of InstanceNorm, which has the first int(C * ratio) channels; batch_first:
    the norm has the first int(C * (1 - ratio)), as in the authors' DenseNets. The parameters are in1_* and bn1_*, as in
    the MXNet community's IBN-Net.
    """

    def __init__(self, channels, norm, instance, ratio=0.5, batch_first=False):
        super().__init__(prefix='')
        share = round(1 - ratio, 9) if batch_first else ratio  # 1 - 0.4 is a little less than 0.6
        self._split = int(channels * share)
        if not 0 < self._split < channels:
            raise ValueError(f'--ibn-ratio {ratio} leaves one side of {channels} channels empty')
        # oneDNN's concat divides by zero in its backward pass where it meets blocks of 8 beside blocks of 16 channels
        self._flat = self._split % 16 != 0 or channels % 16 != 0
        with self.name_scope():
            parts = [(instance, 'in1_'), (norm, 'bn1_')]
            (first, first_prefix), (second, second_prefix) = reversed(parts) if batch_first else parts
            self.first = first(self._split, prefix=first_prefix)
            self.second = second(channels - self._split, prefix=second_prefix)

    def spread(self, arrays):
        """Parts the arrays of one norm over all channels, under the names of bn1, between the two norms. In place."""
        plain = next(half.prefix for half in (self.first, self.second) if half.prefix.endswith('bn1_'))
        for word in ('gamma', 'beta', 'running_mean', 'running_var'):
            whole = arrays.pop(plain + word, None)
            parts = (whole[: self._split], whole[self._split :]) if whole is not None else ()
            for half, part in zip((self.first, self.second), parts):
                if half.prefix + word in half.collect_params():
                    arrays[half.prefix + word] = part

    def hybrid_forward(self, F, x):
        head = self.first(F.slice_axis(x, axis=1, begin=0, end=self._split))
        tail = self.second(F.slice_axis(x, axis=1, begin=self._split, end=None))
        if not self._flat:
            return F.concat(head, tail, dim=1)
        rows = [F.reshape(part, shape=(0, -1)) for part in (head, tail)]
        return F.reshape_like(F.concat(*rows, dim=1), x)


def freeze_statistics(block):
    """Its BatchNorms normalise with their running statistics in training too, and leave them as they are.

    For graphs that are traced afterwards.
    """
    block.apply(lambda layer: layer._kwargs.update(use_global_stats=True) if isinstance(layer, nn.BatchNorm) else None)


INITS = {  # of convolutions: He's, arXiv:1502.01852, counting the outputs or the inputs; torch's default
    'fan_out': dict(rnd_type='gaussian', factor_type='out', magnitude=2),
    'fan_in': dict(rnd_type='gaussian', factor_type='in', magnitude=2),
    'torch': dict(rnd_type='uniform', factor_type='in', magnitude=1),
}


def kit(options):
    """The layers of a network, from its options (registry.OPTIONS and its row): norm, bn_mom, eps, workspace, init,
    ibn_ratio, batch_first. norm: 'bn', or 'in' for InstanceNorm everywhere.
    """
    momentum, eps = options['bn_mom'], options['eps']
    init = mx.init.Xavier(**INITS[options['init']])

    def conv(row, prefix):
        layer = nn.Conv2D(
            row.cout,
            row.kernel,
            row.stride,
            row.kernel // 2,
            groups=row.groups,
            use_bias=False,
            in_channels=row.cin,
            weight_initializer=init,
            prefix=prefix,
        )
        layer._kwargs['workspace'] = options['workspace']  # Gluon's Conv2D has no argument for it, the operator has
        return layer

    def batch(channels, prefix, gamma='ones'):
        return nn.BatchNorm(
            momentum=momentum, epsilon=eps, in_channels=channels, gamma_initializer=gamma, prefix=prefix
        )

    def instance(channels, prefix, gamma='ones'):
        layer = InstanceNorm(channels, eps, prefix=prefix)
        layer.gamma.init = gamma
        return layer

    def pixels():
        """The seed's bn_data: a BatchNorm without scale on the raw picture, under every kit."""
        return nn.BatchNorm(momentum=momentum, epsilon=eps, scale=False, in_channels=3, prefix='bn_data_')

    norm = {'bn': batch, 'in': instance}[options['norm']]

    def ibn(channels):
        return IBN(channels, norm, instance, options['ibn_ratio'], options.get('batch_first', False))

    return Layers(conv, norm, instance, ibn, pixels)
