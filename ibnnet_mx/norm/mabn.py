"""Moving Average Batch Normalization: its norm and its centred convolution. ICLR 2020, arXiv:2001.06838."""

from __future__ import annotations

from mxnet.gluon import nn

from ibnnet_mx.norm import state, table, tracing

LONG = 1000  # calls of the formal variant before its running moment may be used
CLIP = 5.0  # largest ratio, and smallest 1 / CLIP, between moments of the last calls and the running one
USUAL, VARIANTS = table.NORMS['mabn'], table.MABN_VARIANTS


class CenConv2d(nn.HybridBlock):
    """Convolution with W - mean of W over (Cin/groups, k, k) in the place of W; the raw W is what is stored.

    (N, Cin, H, W) -> (N, Cout, H', W'). megvii-model/MABN, MABN.py.
    Arguments of gluon.nn.Conv2D, weight_initializer and prefix too, and workspace: MB on a GPU.
    """

    def __init__(
        self,
        in_channels,
        channels,
        kernel_size=3,
        strides=1,
        padding=0,
        dilation=1,
        groups=1,
        use_bias=False,
        **kwargs,
    ):
        init, workspace = kwargs.pop('weight_initializer', None), kwargs.pop('workspace', table.WORKSPACE)
        super().__init__(**kwargs)
        kernel, stride, pad, dilate = (
            (n, n) if isinstance(n, int) else tuple(n) for n in (kernel_size, strides, padding, dilation)
        )
        self._kwargs = dict(
            kernel=kernel,
            stride=stride,
            pad=pad,
            dilate=dilate,
            num_filter=channels,
            num_group=groups,
            no_bias=not use_bias,
            workspace=workspace,
        )
        shape = (channels, in_channels // groups, *kernel)
        with self.name_scope():
            self.weight = self.params.get('weight', shape=shape, init=init)
            self.bias = self.params.get('bias', shape=(channels,), init='zeros') if use_bias else None

    @staticmethod
    def centred(F, weight):
        rows = F.reshape(weight, shape=(0, -1))
        ones = F.BlockGrad(F.ones_like(F.slice_axis(rows, axis=0, begin=0, end=1)))
        mean = F.broadcast_div(F.dot(rows, ones, transpose_b=True), F.dot(ones, ones, transpose_b=True))
        return F.reshape_like(rows - F.dot(mean, ones), weight)  # products: F.mean and its gradient take twice as long

    def hybrid_forward(self, F, x, weight, bias=None):
        centred = F.ibnnet_centre(weight) if tracing.use_of(F, x).native else self.centred(F, weight)
        arrays = [x, centred] + ([] if bias is None else [bias])
        return F.Convolution(*arrays, name='fwd', **self._kwargs)


class MABN2d(nn.HybridBlock):
    """gamma * x / sqrt(moment + eps) + beta, with a moment E[x^2] of each channel over many small batches.

    (N, C, H, W) -> the same. megvii-model/MABN, MABN.py (variant 'formal') and cls/networks/MABN.py ('cls').
    formal: each call is one batch; moments and their counterparts of the backward pass are averaged over the last
    K = real_B // B calls. In the first max(K, warmup_iters - 1) calls the batch's own are taken; running_var, which is
    a second moment, enters after max(1000, warmup_iters) calls, by a ratio between 1/5 and 5.
    cls: a batch of real_B pictures is K batches of B, one after another, and the averages run over the last K of them;
    running_var enters from call warmup_iters on. A batch of another size is cut into parts of the next divisor from B.
    momentum: the running moment's own share. iters counts the calls; buffer_x2 and buffer_gz, in cls pre_x2 and pre_gz,
    (K, C), hold the moments and their counterparts. These and running_var move with the backward pass, once.
    ValueError: real_B is no multiple of B, or no such variant.
    """

    def __init__(
        self,
        in_channels,
        B=USUAL['B'],
        real_B=USUAL['real_B'],
        eps=1e-5,
        momentum=USUAL['momentum'],
        warmup_iters=USUAL['warmup_iters'],
        variant=USUAL['variant'],
        **kwargs,
    ):
        super().__init__(**kwargs)
        if variant not in VARIANTS:
            raise ValueError(f'variant {variant}: use one of {", ".join(VARIANTS)}')
        if B < 1 or real_B % B or real_B < B:
            raise ValueError(f'real_B {real_B} must be a multiple of B {B}')
        self._channels, self._batch, self._whole, self._calls = in_channels, B, real_B, real_B // B
        self._eps, self._momentum, self._warmup, self._formal = eps, momentum, warmup_iters, variant == 'formal'
        self.frozen = False  # whether training normalises with running_var and leaves the state as it is
        c, k = in_channels, self._calls
        with self.name_scope():
            self.gamma = self.params.get('gamma', shape=(c,), init='ones')
            self.beta = self.params.get('beta', shape=(c,), init='zeros')
            if self._formal:
                state.add_states(self, running_var=((1, c, 1, 1), 1), iters=((1,), 0))
                state.add_states(self, buffer_x2=((k, c), 0), buffer_gz=((k, c), 0))
            else:
                state.add_states(self, running_var=((c,), 1), iters=((1,), 0), pre_x2=((k, c), 1), pre_gz=((k, c), 0))

    def hybrid_forward(self, F, x, gamma, beta, running_var, iters, **buffers):
        here, states = tracing.use_of(F, x), [running_var, iters, *buffers.values()]
        if here.training is False:
            factor = F.rsqrt(F.reshape(state.read_state(F, running_var), shape=(-1,)) + self._eps)
            return tracing.affine(F, x, gamma * factor, beta, self._channels)
        fixed = gamma * F.rsqrt(F.BlockGrad(F.reshape(running_var, shape=(-1,))) + self._eps)
        if self.frozen:
            beta = state.advance(F, beta, [(array, array) for array in states])
            return tracing.affine(F, x, fixed, beta, self._channels)
        flag = None if here.training else tracing.is_training(F, iters)
        rows = here.rows or self._whole
        size = part_size(rows, self._batch)
        parts = 1 if self._formal else rows // size
        if here.native:
            return self._native(F, x, [gamma, beta, *states], parts)
        squares, count = self._squares(F, x, parts, pad=flag is not None)
        scale, after, past = self._step(F, gamma, (squares, count, parts), states)
        if flag is not None:
            past = F.broadcast_mul(past, F.reshape(flag, shape=(1, 1)))
        beta = state.advance(F, beta, list(zip(states, after)), flag, (squares, past))
        if self._formal:
            scale = F.reshape(scale, shape=(-1,))
            scale = scale if flag is None else state.either(F, flag, scale, fixed)
            return tracing.affine(F, x, scale, beta, self._channels)
        scale = F.repeat(scale, repeats=size, axis=0)
        if flag is not None:
            return self._in_both_modes(F, x, scale, fixed, beta, flag)
        scale, shift = F.reshape(scale, shape=(-1,)), F.tile(beta, reps=(rows,))
        y = tracing.affine(F, F.reshape(x, shape=(-3, -2)), scale, shift, rows * self._channels, axis=0)
        # Copied as a whole: oneDNN's ReLU and concat do not take a reshaped view of BatchNorm's output.
        return F.slice_axis(F.reshape_like(y, x), axis=0, begin=0, end=None)

    def _native(self, F, x, arrays, parts):
        kind = dict(formal=int(self._formal), parts=parts, warmup=self._warmup, fixed=max(LONG, self._warmup))
        return F.ibnnet_mabn(x, *arrays, eps=self._eps, momentum=self._momentum, clip=CLIP, **kind)[0]

    def _squares(self, F, x, parts, pad):
        """Return the mean of x^2 over each part of the batch (parts, C), and how many values a mean is of (1, 1)."""
        rows = F.reshape(F.reshape(F.square(x), shape=(-3, -2)), shape=(0, -1))
        ones = F.BlockGrad(F.ones_like(F.slice_axis(rows, axis=0, begin=0, end=1)))
        sums = F.dot(rows, ones, transpose_b=True)  # (N * C, 1); F.sum takes four times as long
        count = F.broadcast_mul(*(F.cast(F.size_array(array), dtype='float32') for array in (sums, ones)))
        count = F.reshape(count / (self._channels * parts), shape=(1, 1))
        sums = F.reshape(sums, shape=(-1, self._channels))
        if pad and not self._formal:  # so that a graph for training stands a prediction of any batch size
            sums = F.concat(sums, F.zeros((self._whole, self._channels)), dim=0)
            sums = F.slice_axis(sums, axis=0, begin=0, end=self._whole)
        return F.broadcast_div(F.sum(F.reshape(sums, shape=(parts, -1, self._channels)), axis=1), count), count

    def _window(self, F, iters, parts):
        """Return the weights of the window: now (parts, parts) of this call's moments, old (parts, K) of earlier ones.

        Then place (parts, K), the slots that this call's moments take; keep (K, K), the slots that earlier moments move
        to; and free (1, 1), which is 1 once the ratio may differ from 1.
        """
        k, t = self._calls, F.reshape(iters + 1, shape=(1, 1))
        part, slot = tracing.arange(F, iters, parts), tracing.arange(F, iters, k)
        (part, other_part), (slot_from, slot) = ([F.expand_dims(a, axis=i) for i in (1, 0)] for a in (part, slot))
        same = F.broadcast_equal(part, other_part)
        if self._formal:
            place = F.broadcast_equal(slot, t % k)
            keep = F.broadcast_mul(F.broadcast_equal(slot_from, slot), 1 - place)
            now, old = same / k, (1 - place) / k
            warm = 1 - (t > k) * (t >= self._warmup)
            free = t > max(LONG, self._warmup)
        else:
            place = F.broadcast_equal(part, slot + (parts - k))
            keep = F.broadcast_equal(slot, slot_from + parts)
            now = F.broadcast_lesser_equal(other_part, part) * F.broadcast_greater(other_part, part - k) / k
            old = F.broadcast_greater(slot, part) / k
            warm, free = t == 1, t >= self._warmup
        now = state.either(F, warm, same, now)
        return now, F.broadcast_mul(old, 1 - warm), place, keep, free

    def _step(self, F, gamma, batch, states):
        """Return factors of x (parts, C), the states' next values, and what past calls add to the squares' gradient.

        With z = x / sqrt(moment + eps), h = gradient * gamma * ratio and the slopes p = mean of h * z, the original has
        dx = (h - z * psi) / sqrt(moment + eps), psi the mean of p over the window. h comes from x * factor. What this
        call adds to psi comes from `surplus`, of value 0, whose gradient goes to squares; and p to its place.
        """
        squares, count, parts = batch
        running, iters, moments, slopes = states
        now, old, place, keep, free = (F.BlockGrad(array) for array in self._window(F, iters, parts))
        present, past = F.BlockGrad(squares), F.BlockGrad(slopes)
        moment = F.dot(now, present) + F.dot(old, F.BlockGrad(moments))
        usual = F.BlockGrad(F.reshape(running, shape=(1, -1)))
        deviation = F.sqrt(moment + self._eps)
        ratio = F.clip(F.broadcast_div(deviation, F.sqrt(usual + self._eps)), 1 / CLIP, CLIP)
        ratio = state.either(F, free, ratio, F.ones_like(ratio))
        share = -0.5 / (moment + self._eps)
        surplus = F.dot(now, share * (squares - present), transpose_a=True)
        surplus = surplus + F.broadcast_div(F.dot(place, slopes - past), count)
        scale = F.broadcast_mul(F.expand_dims(gamma, axis=0), ratio / deviation) * (1 + surplus)
        before = F.broadcast_mul(share * F.dot(old, past), count)
        t, recent = iters + 1, F.mean(moment, axis=0, keepdims=True)
        if not self._formal:  # that of the first call takes the place of the initial one
            usual = state.either(F, F.reshape(t == 1, shape=(1, 1)), recent, usual)
        usual = F.reshape_like(self._momentum * usual + (1 - self._momentum) * recent, running)
        moments_after = F.dot(keep, F.BlockGrad(moments)) + F.dot(place, present, transpose_a=True)
        return scale, [usual, t, moments_after, F.dot(keep, past)], before

    def _in_both_modes(self, F, x, scale, fixed, beta, flag):
        """Return x times scale (real_B, C) in training, times fixed (C,) in prediction, for any batch size there."""
        of_rows = F.mean(x, axis=(2, 3))
        fixed = F.broadcast_mul(F.ones_like(of_rows), F.expand_dims(fixed, axis=0))
        scale = F.slice_like(F.concat(scale, fixed, dim=0), of_rows, axes=(0,))
        scale = state.either(F, F.reshape(flag, shape=(1, 1)), scale, fixed)
        y = F.broadcast_mul(x, F.expand_dims(F.expand_dims(scale, axis=2), axis=3))
        return F.broadcast_add(y, F.reshape(beta, shape=(1, -1, 1, 1)))


def part_size(rows, wanted):
    """Pictures that are normalised together: the smallest divisor of a batch of `rows` that is at least `wanted`."""
    return next((size for size in range(wanted, rows) if rows % size == 0), rows)
