"""Norms with statistics of single pictures: InstanceNorm, GroupNorm, LayerNorm; and IBN, which adds another norm."""

from __future__ import annotations

import numpy as np
from mxnet.gluon import nn

from ibnnet_mx.errors import OptionError
from ibnnet_mx.norm import tracing
from ibnnet_mx.norm.batch import BatchNorm


class GroupNorm(nn.HybridBlock):
    """gamma * (x - mean) / sqrt(var + eps) + beta, statistics over H, W and C/groups channels of each picture.

    (N, C, H, W) -> the same, gamma and beta (C,). arXiv:1803.08494; one group: arXiv:1607.06450; C groups:
    arXiv:1607.08022. One of three exact forms is chosen when a graph is traced (tracing.forms()): mxnet's InstanceNorm
    over a view; in training BatchNorm over a view of N * groups rows, which is twice as fast; in prediction LayerNorm
    over a group.
    Raises ValueError if groups does not divide the channels.
    """

    def __init__(self, channels, groups, eps=1e-5, **kwargs):
        super().__init__(**kwargs)
        if groups < 1 or channels % groups:
            raise ValueError(f'groups {groups} must divide the {channels} channels')
        self._channels, self._groups, self._eps = channels, groups, eps
        with self.name_scope():
            self.gamma = self.params.get('gamma', shape=(channels,), init='ones')
            self.beta = self.params.get('beta', shape=(channels,), init='zeros')

    def hybrid_forward(self, F, x, gamma, beta):
        use = tracing.use_of(F, x)
        if use.fused:
            how = dict(begin=0, end=self._channels, groups=self._groups, statistics=0, eps=self._eps)
            return F.ibnnet_norm(x, gamma, beta, name='fwd', **how)
        if not use.fast:
            return self._operator_form(F, x, gamma, beta)
        if use.training:
            return self._training_form(F, x, gamma, beta, use.rows)
        return self._prediction_form(F, x, gamma, beta)

    def _operator_form(self, F, x, gamma, beta):
        if self._groups == self._channels:
            return F.InstanceNorm(x, gamma, beta, eps=self._eps)
        groups = F.reshape(x, shape=(0, self._groups, -1))
        ones = F.ones_like(F.slice_axis(gamma, axis=0, begin=0, end=self._groups))
        y = F.reshape_like(F.InstanceNorm(groups, ones, F.zeros_like(ones), eps=self._eps), x)
        return tracing.affine(F, y, gamma, beta, self._channels)

    def _training_form(self, F, x, gamma, beta, rows):
        width = rows * self._groups
        per_channel = self._groups == self._channels  # then BatchNorm's own scale and shift are the affine map
        scale, shift = (F.tile(p, reps=(rows,)) if per_channel else None for p in (gamma, beta))
        if per_channel:
            y = tracing.batch_norm(F, F.reshape(x, shape=(-3, -2)), scale, shift, width, 0, self._eps)[0]
        else:
            zero, one = tracing.constant(width, 0.0), tracing.constant(width, 1.0)
            y = tracing.batch_norm(F, F.reshape(x, shape=(width, -1)), one, zero, width, 0, self._eps)[0]
        # The slice makes a copy, because oneDNN's ReLU and concat cannot read a reshaped view of BatchNorm's output.
        y = F.slice_axis(F.reshape_like(y, x), axis=0, begin=0, end=None)
        return y if per_channel else tracing.affine(F, y, gamma, beta, self._channels)

    def _prediction_form(self, F, x, gamma, beta):
        rows = F.reshape(x, shape=(0, self._groups, -1))
        values = F.reshape(F.slice(rows, begin=(0, 0, None), end=(1, 1, None)), shape=(-1,))
        y = F.LayerNorm(rows, F.ones_like(values), F.zeros_like(values), axis=-1, eps=self._eps)
        return tracing.affine(F, F.reshape_like(y, x), gamma, beta, self._channels)


class InstanceNorm(GroupNorm):
    """GroupNorm with a group for each channel. arXiv:1607.08022."""

    def __init__(self, channels, eps=1e-5, **kwargs):
        super().__init__(channels, channels, eps, **kwargs)


def usual_groups(channels):
    """Return the default count of groups: 32, or C / 4 below 64 channels, or the largest divisor of C up to that."""
    most = 32 if channels >= 64 else max(channels // 4, 1)
    return next(groups for groups in range(most, 0, -1) if channels % groups == 0)


class IBN(nn.HybridBlock):
    """InstanceNorm of some channels, and the kit's norm of the others. arXiv:1807.09441, IBN-a.

    (N, C, H, W) -> the same. ratio: share of InstanceNorm, which gets the first int(C * ratio) channels.
    batch_first: the kit's norm gets the first int(C * (1 - ratio)), as in the authors' DenseNets. Parameters are named
    in1_* and bn1_*, as in bruinxiong/IBN-Net.mxnet.
    """

    def __init__(self, channels, norm, instance, ratio=0.5, batch_first=False):
        super().__init__(prefix='')
        share = round(1 - ratio, 9) if batch_first else ratio  # 1 - 0.4 is a little less than 0.6
        self._split = int(channels * share)
        if not 0 < self._split < channels:
            raise OptionError('ibn_ratio', ratio, f'leaves one half of {channels} channels empty')
        # oneDNN's concat divides by zero in its backward pass if inputs have blocks of 8 and of 16 channels
        self._flat = self._split % 16 != 0 or channels % 16 != 0
        with self.name_scope():
            parts = [(instance, 'in1_'), (norm, 'bn1_')]
            (first, first_prefix), (second, second_prefix) = reversed(parts) if batch_first else parts
            self.first = first(self._split, prefix=first_prefix)
            self.second = second(channels - self._split, prefix=second_prefix)
        self._channels = channels
        self._batch_first = batch_first

    def spread(self, arrays):
        """Split the arrays of one norm over all channels, named bn1_*, between the two norms. Changes `arrays`."""
        plain = next(half.prefix for half in (self.first, self.second) if half.prefix.endswith('bn1_'))
        for word in ('gamma', 'beta', 'running_mean', 'running_var'):
            whole = arrays.pop(plain + word, None)
            axis = 1 if whole is not None and whole.ndim == 4 else 0  # MABN's moment is (1, C, 1, 1)
            parts = np.split(whole, [self._split], axis) if whole is not None else ()
            for half, part in zip((self.first, self.second), parts):
                if half.prefix + word in half.collect_params():
                    arrays[half.prefix + word] = part

    def _halves(self):
        """Return the kit's norm and the InstanceNorm."""
        return (self.first, self.second) if self._batch_first else (self.second, self.first)

    def _together(self, F, x):
        """Compute both norms by one operator."""
        batch, instance = self._halves()
        begin, end = (0, self._split) if instance is self.first else (self._split, self._channels)
        gamma, beta = (
            F.concat(*(getattr(half, name).var() for half in (self.first, self.second)), dim=0)
            for name in ('gamma', 'beta')
        )
        how = dict(begin=begin, end=end, groups=end - begin, eps=instance._eps, momentum=batch._kwargs['momentum'])
        return F.ibnnet_norm(x, gamma, beta, batch.running_mean.var(), batch.running_var.var(), name='ibn_fwd', **how)

    def hybrid_forward(self, F, x):
        batch = self._halves()[0]
        if tracing.use_of(F, x).fused and isinstance(batch, BatchNorm) and batch.learns:
            return self._together(F, x)
        head = self.first(F.slice_axis(x, axis=1, begin=0, end=self._split))
        tail = self.second(F.slice_axis(x, axis=1, begin=self._split, end=None))
        if not self._flat:
            return F.concat(head, tail, dim=1)
        rows = [F.reshape(part, shape=(0, -1)) for part in (head, tail)]
        return F.reshape_like(F.concat(*rows, dim=1), x)
