"""BatchNorm over small parts of a batch, and Batch Renormalization."""

from __future__ import annotations

from typing import NamedTuple

from mxnet.gluon import nn

from ibnnet_mx.errors import OptionError
from ibnnet_mx.norm import state, table, tracing
from ibnnet_mx.norm.mabn import part_size


class BatchNorm(nn.BatchNorm):
    """Gluon's BatchNorm (arXiv:1502.03167). Training on the CPU uses the operator of operators/cpp/norm.cc."""

    @property
    def learns(self):
        """True if the layer normalises by the batch's statistics in training and learns a scale."""
        return not (self._kwargs['use_global_stats'] or self._kwargs['fix_gamma'])

    def hybrid_forward(self, F, x, gamma, beta, running_mean, running_var):
        if not tracing.use_of(F, x).fused or not self.learns:
            return super().hybrid_forward(F, x, gamma, beta, running_mean, running_var)
        how = dict(eps=self._kwargs['eps'], momentum=self._kwargs['momentum'])
        return F.ibnnet_norm(x, gamma, beta, running_mean, running_var, name='fwd', **how)


class Ramp(NamedTuple):
    """Batch Renormalization's bounds: r = 1 and d = 0 for warmup_iters steps, then linear up to r_max and d_max.

    The default values are those of arXiv:1702.03275.
    """

    r_max: float = table.NORMS['brn']['r_max']
    d_max: float = table.NORMS['brn']['d_max']
    warmup_iters: int = table.NORMS['brn']['warmup_iters']
    r_iters: int = table.NORMS['brn']['r_iters']  # the step at which r_max is reached
    d_iters: int = table.NORMS['brn']['d_iters']

    def bounds(self, steps):
        """Return the largest r and the largest |d| after `steps` steps, a number or an array (1,)."""
        bounds = []
        for low, high, end in ((1.0, self.r_max, self.r_iters), (0.0, self.d_max, self.d_iters)):
            done = (steps - self.warmup_iters) / max(end - self.warmup_iters, 1)
            bounds.append(low + (high - low) * done.clip(0, 1))
        return bounds


class BatchNorm2d(nn.HybridBlock):
    """gamma * ((x - mean) / sqrt(var + eps) * r + d) + beta, with statistics of each part of `size` pictures.

    (N, C, H, W) -> the same. size None: one part, the whole batch. A part has every (N / size)-th picture. If size does
    not divide N, the next larger divisor is taken. Prediction is BatchNorm with the running statistics. A step moves
    these towards the mean of the parts' statistics, and `momentum` is the share of the old value.
    ramp None: r = 1, d = 0, BatchNorm, arXiv:1502.03167. Else Batch Renormalization, arXiv:1702.03275:
    r = sqrt(var + eps) / sqrt(running_var + eps) between 1 / r_max and r_max,
    d = (mean - running_mean) / sqrt(running_var + eps) between -d_max and d_max, both without gradient. The paper
    averages the standard deviation; we average the variance, so that prediction is BatchNorm's.
    The running statistics and iters, the count of steps, move with the backward pass.
    """

    def __init__(self, channels, size=None, momentum=0.9, eps=1e-5, ramp=None, **kwargs):
        super().__init__(**kwargs)
        self._channels, self._size, self._momentum, self._eps, self._ramp = channels, size, momentum, eps, ramp
        self.frozen = False  # True: training normalises with the running statistics and does not move them
        with self.name_scope():
            self.gamma = self.params.get('gamma', shape=(channels,), init='ones')
            self.beta = self.params.get('beta', shape=(channels,), init='zeros')
            state.add_states(self, running_mean=((channels,), 0), running_var=((channels,), 1))
            if ramp is not None:
                state.add_states(self, iters=((1,), 0))

    def hybrid_forward(self, F, x, gamma, beta, running_mean, running_var, iters=None):
        use, states = tracing.use_of(F, x), [running_mean, running_var] + ([] if iters is None else [iters])
        if use.training is False:
            statistics = [state.read_state(F, array) for array in states[:2]]
            return F.BatchNorm(x, gamma, beta, *statistics, fix_gamma=False, use_global_stats=True, eps=self._eps)
        if self.frozen:
            scale = gamma * F.rsqrt(F.BlockGrad(running_var) + self._eps)
            shift = beta - F.BlockGrad(running_mean) * scale
            shift = state.advance(F, shift, [(array, array) for array in states])
            return tracing.affine(F, x, scale, shift, self._channels)
        if use.training is None and self._size is not None:
            raise OptionError(
                'norm_batch_size',
                self._size,
                ': inside another hybridized block a network does not know its batch size; '
                'hybridize the network itself',
            )
        parts = use.rows // part_size(use.rows, self._size) if self._size else 1
        if use.training is None:
            return self._in_both_modes(F, x, gamma, beta, states)
        view = x
        if parts > 1:
            view = F.reshape(F.reshape(x, shape=(-4, -1, parts, -2)), shape=(0, -3, -2))  # (N/parts, parts * C, H, W)
        width = parts * self._channels
        if use.fast:
            zero, one = (tracing.constant(width, value) for value in (0.0, 1.0))
        else:
            one = F.ones_like(F.tile(running_mean, reps=(parts,)))
            zero = F.zeros_like(one)
        y, mean, scale = tracing.batch_norm(F, view, one, zero, width, eps=self._eps)
        if use.native:
            scale, shift = self._native(F, [mean, scale, gamma, beta, *states])
        else:
            scale, shift = self._scale_and_shift(F, mean, scale, gamma, beta, states, parts)
        y = tracing.affine(F, y, scale, shift, width)
        if parts > 1:
            # The slice makes a copy: oneDNN's ReLU and concat cannot read a reshaped view of BatchNorm's output.
            y = F.slice_axis(F.reshape_like(y, x), axis=0, begin=0, end=None)
        return y

    def _native(self, F, arrays):
        ramp = {} if self._ramp is None else dict(self._ramp._asdict())
        ramp = {key.replace('warmup_iters', 'warmup'): value for key, value in ramp.items()}
        return F.ibnnet_renorm(*arrays, ramp=int(bool(ramp)), eps=self._eps, momentum=self._momentum, **ramp)

    def _scale_and_shift(self, F, mean, scale, gamma, beta, states, parts):
        """Return scale and shift (parts * C,) of the normalised values. shift advances the states."""
        statistics = [
            F.reshape(F.BlockGrad(array), shape=(parts, -1)) for array in (mean, 1 / F.square(scale) - self._eps)
        ]
        beta = state.advance(F, beta, self._moved(F, states, statistics))
        gamma, beta = (F.tile(F.expand_dims(array, axis=0), reps=(parts, 1)) for array in (gamma, beta))
        if self._ramp is not None:
            r, d = self._correction(F, statistics, states)
            gamma, beta = gamma * r, beta + gamma * d
        return F.reshape(gamma, shape=(-1,)), F.reshape(beta, shape=(-1,))

    def _moved(self, F, states, statistics):
        """Return [(state, its next value)]. statistics: means and variances (parts, C)."""
        share = self._momentum
        after = [share * old + (1 - share) * F.mean(new, axis=0) for old, new in zip(states, statistics)]
        return list(zip(states, after + [steps + 1 for steps in states[2:]]))

    def _correction(self, F, statistics, states):
        """Return r and d, (parts, C)."""
        mean, var = statistics
        running_mean, running_var = (F.expand_dims(F.BlockGrad(array), axis=0) for array in states[:2])
        most_r, most_d = (F.reshape(bound, shape=(1, 1)) for bound in self._ramp.bounds(F.BlockGrad(states[2])))
        factor = F.rsqrt(running_var + self._eps)
        r = F.broadcast_mul(F.sqrt(var + self._eps), factor)
        d = F.broadcast_mul(F.broadcast_sub(mean, running_mean), factor)
        r = F.broadcast_minimum(F.broadcast_maximum(r, 1 / most_r), most_r)
        return r, F.broadcast_minimum(F.broadcast_maximum(d, -most_d), most_d)

    def _in_both_modes(self, F, x, gamma, beta, states):
        """Return the result by plain operators that serve both modes, for a network inside another hybridized block."""
        flag = tracing.is_training(F, F.slice_axis(states[0], axis=0, begin=0, end=1))
        mean = F.mean(x, axis=(0, 2, 3), keepdims=True)
        var = F.mean(F.square(F.broadcast_sub(x, mean)), axis=(0, 2, 3), keepdims=True)
        statistics = [F.reshape(F.BlockGrad(array), shape=(1, -1)) for array in (mean, var)]
        beta = state.advance(F, beta, self._moved(F, states, statistics), flag)
        gamma, beta = (F.reshape(array, shape=(1, -1)) for array in (gamma, beta))
        if self._ramp is not None:
            r, d = self._correction(F, statistics, states)
            beta = beta + F.broadcast_mul(gamma * d, F.reshape(flag, shape=(1, 1)))
            gamma = gamma * state.either(F, F.reshape(flag, shape=(1, 1)), r, F.ones_like(r))
        column = (1, -1, 1, 1)
        gamma, beta = (F.reshape(array, shape=column) for array in (gamma, beta))
        running = [F.reshape(F.BlockGrad(array), shape=column) for array in states[:2]]
        both = F.reshape(flag, shape=(1, 1, 1, 1))
        mean, var = (state.either(F, both, new, old) for new, old in zip((mean, var), running))
        y = F.broadcast_div(F.broadcast_sub(x, mean), F.sqrt(var + self._eps))
        return F.broadcast_add(F.broadcast_mul(y, gamma), beta)
