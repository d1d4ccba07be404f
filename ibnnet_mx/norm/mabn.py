"""Moving Average Batch Normalization (MABN): the norm and the centred convolution. ICLR 2020, arXiv:2001.06838."""

from __future__ import annotations

from mxnet.gluon import nn

from ibnnet_mx.norm import state, table, tracing

LONG = 1000  # calls of the formal variant before its running moment may be used
CLIP = 5.0  # the ratio of the window's deviation to the running one is clipped to 1 / CLIP ... CLIP
DEFAULTS, VARIANTS = table.NORMS['mabn'], table.MABN_VARIANTS


class CenConv2d(nn.HybridBlock):
    """A convolution by W - mean of W over (Cin/groups, k, k). The parameter is W itself.

    (N, Cin, H, W) -> (N, Cout, H', W'). megvii-model/MABN, MABN.py.
    Takes arguments of gluon.nn.Conv2D, also weight_initializer and prefix, and workspace: MB on a GPU.
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
        # By matrix products, because F.mean and its gradient take twice as long.
        return F.reshape_like(rows - F.dot(mean, ones), weight)

    def hybrid_forward(self, F, x, weight, bias=None):
        centred = F.ibnnet_centre(weight) if tracing.use_of(F, x).native else self.centred(F, weight)
        arrays = [x, centred] + ([] if bias is None else [bias])
        return F.Convolution(*arrays, name='fwd', **self._kwargs)


class MABN2d(nn.HybridBlock):
    """gamma * x / sqrt(moment + eps) + beta, with a moment E[x^2] of each channel over many small batches.

    (N, C, H, W) -> the same. megvii-model/MABN, MABN.py (variant 'formal') and cls/networks/MABN.py ('cls').
    formal: each call is one batch. Moments, and their counterparts of the backward pass, are averaged over the last
    K = real_B // B calls. The first max(K, warmup_iters - 1) calls take the batch's own. After max(1000, warmup_iters)
    calls running_var, the running second moment, is used too: by a ratio between 1/5 and 5.
    cls: a batch of real_B pictures is K small batches of B pictures, and averages run over the last K of these. From
    call warmup_iters on running_var is used too. In a batch of another size a small batch has the smallest divisor
    of that size that is at least B.
    momentum: the share of the old value in running_var. iters counts the calls. buffer_x2 and buffer_gz (in cls pre_x2
    and pre_gz), (K, C), hold the moments and their counterparts. Each backward pass moves them and running_var once.
    Raises ValueError if real_B is not a multiple of B, or for an unknown variant.
    """

    def __init__(
        self,
        in_channels,
        B=DEFAULTS['B'],
        real_B=DEFAULTS['real_B'],
        eps=1e-5,
        momentum=DEFAULTS['momentum'],
        warmup_iters=DEFAULTS['warmup_iters'],
        variant=DEFAULTS['variant'],
        **kwargs,
    ):
        super().__init__(**kwargs)
        if variant not in VARIANTS:
            raise ValueError(f'variant {variant}: use one of {", ".join(VARIANTS)}')
        if B < 1 or real_B % B or real_B < B:
            raise ValueError(f'real_B {real_B} must be a multiple of B {B}')
        self._channels, self._batch, self._whole, self._calls = in_channels, B, real_B, real_B // B
        self._eps, self._momentum, self._warmup, self._formal = eps, momentum, warmup_iters, variant == 'formal'
        self.frozen = False  # True: training normalises with running_var and does not move the states
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
        use, states = tracing.use_of(F, x), [running_var, iters, *buffers.values()]
        if use.training is False:
            factor = F.rsqrt(F.reshape(state.read_state(F, running_var), shape=(-1,)) + self._eps)
            return tracing.affine(F, x, gamma * factor, beta, self._channels)
        fixed = gamma * F.rsqrt(F.BlockGrad(F.reshape(running_var, shape=(-1,))) + self._eps)
        if self.frozen:
            beta = state.advance(F, beta, [(array, array) for array in states])
            return tracing.affine(F, x, fixed, beta, self._channels)
        flag = None if use.training else tracing.is_training(F, iters)
        rows = use.rows or self._whole
        size = part_size(rows, self._batch)
        parts = 1 if self._formal else rows // size
        if use.native:
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
        # The slice makes a copy, because oneDNN's ReLU and concat cannot read a reshaped view of BatchNorm's output.
        return F.slice_axis(F.reshape_like(y, x), axis=0, begin=0, end=None)

    def _native(self, F, x, arrays, parts):
        kind = dict(formal=int(self._formal), parts=parts, warmup=self._warmup, fixed=max(LONG, self._warmup))
        return F.ibnnet_mabn(x, *arrays, eps=self._eps, momentum=self._momentum, clip=CLIP, **kind)[0]

    def _squares(self, F, x, parts, pad):
        """Return the mean of x^2 of each part of the batch (parts, C), and the count of values in a mean (1, 1)."""
        rows = F.reshape(F.reshape(F.square(x), shape=(-3, -2)), shape=(0, -1))
        ones = F.BlockGrad(F.ones_like(F.slice_axis(rows, axis=0, begin=0, end=1)))
        sums = F.dot(rows, ones, transpose_b=True)  # (N * C, 1); F.sum takes four times as long
        count = F.broadcast_mul(*(F.cast(F.size_array(array), dtype='float32') for array in (sums, ones)))
        count = F.reshape(count / (self._channels * parts), shape=(1, 1))
        sums = F.reshape(sums, shape=(-1, self._channels))
        if pad and not self._formal:  # a graph for both modes must also run predictions of any batch size
            sums = F.concat(sums, F.zeros((self._whole, self._channels)), dim=0)
            sums = F.slice_axis(sums, axis=0, begin=0, end=self._whole)
        return F.broadcast_div(F.sum(F.reshape(sums, shape=(parts, -1, self._channels)), axis=1), count), count

    def _window(self, F, iters, parts):
        """Return (now, old, place, keep, free), arrays that describe the window.

        now (parts, parts), old (parts, K): weights of this call's moments and of earlier ones in the mean. place
        (parts, K): slots for this call's moments. keep (K, K): slots that earlier moments move to. free (1, 1): 1 once
        the ratio may differ from 1.
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
        """Return the factors of x (parts, C), the states' next values, and the past calls' part of squares' gradient.

        With z = x / sqrt(moment + eps), h = gradient * gamma * ratio and the slopes p = mean of h * z, the original has
        dx = (h - z * psi) / sqrt(moment + eps), psi the mean of p over the window. The product of x and its factor
        gives h. The value of `surplus` is 0; its gradient gives this call's part of psi to squares, and p to its slot.
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
        if not self._formal:  # the first call's moment replaces the initial one
            usual = state.either(F, F.reshape(t == 1, shape=(1, 1)), recent, usual)
        usual = F.reshape_like(self._momentum * usual + (1 - self._momentum) * recent, running)
        moments_after = F.dot(keep, F.BlockGrad(moments)) + F.dot(place, present, transpose_a=True)
        return scale, [usual, t, moments_after, F.dot(keep, past)], before

    def _in_both_modes(self, F, x, scale, fixed, beta, flag):
        """Return x * scale (real_B, C) + beta in training, and x * fixed (C,) + beta in predictions of any size."""
        of_rows = F.mean(x, axis=(2, 3))
        fixed = F.broadcast_mul(F.ones_like(of_rows), F.expand_dims(fixed, axis=0))
        scale = F.slice_like(F.concat(scale, fixed, dim=0), of_rows, axes=(0,))
        scale = state.either(F, F.reshape(flag, shape=(1, 1)), scale, fixed)
        y = F.broadcast_mul(x, F.expand_dims(F.expand_dims(scale, axis=2), axis=3))
        return F.broadcast_add(y, F.reshape(beta, shape=(1, -1, 1, 1)))


def part_size(rows, least):
    """Return how many pictures are normalised together: the smallest divisor of `rows` that is at least `least`."""
    return next((size for size in range(least, rows) if rows % size == 0), rows)
