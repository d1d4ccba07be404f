"""Try a library: compare each of its operators with mxnet's own operators, or with a formula in numpy.

build.py runs this in a separate process, because operators that do not fit libmxnet.so may kill the process.
"""

from __future__ import annotations

import ctypes

import mxnet as mx
import numpy as np
from mxnet import autograd, library
from mxnet.base import _LIB, check_call

EPS, MOMENTUM, NEAR = 1e-5, 0.9, 1e-4
PREFIX = 'ibnnet_'


def run(path):
    """Load a library and try all of its operators.

    Raises ValueError if one computes a wrong result, or has no trial.
    """
    library.load(path, False)
    for name in sorted(registered()):
        if name not in CASES:
            raise ValueError(f'{name} has no trial')
        for case, compute in enumerate(CASES[name]):
            _compare(f'{name}: case {case}', *compute())


def _compare(case, expected, computed):
    """Compare two lists of arrays. Raises ValueError if they differ in length or values."""
    if len(expected) != len(computed):
        raise ValueError(f'{case} has {len(computed)} results instead of {len(expected)}')
    for number, arrays in enumerate(zip(expected, computed)):
        right, ours = (array if isinstance(array, np.ndarray) else array.asnumpy() for array in arrays)
        difference = np.abs(right - ours).max()
        if not difference <= NEAR * max(np.abs(right).max(), 1):  # also true for NaN
            raise ValueError(f'{case}, result {number} differs by {difference:.3g}')


def registered():
    """Return the names of our operators that mxnet has loaded, without those of backward passes."""
    count, names = ctypes.c_uint(), ctypes.POINTER(ctypes.c_char_p)()
    check_call(_LIB.MXListAllOpNames(ctypes.byref(count), ctypes.byref(names)))
    return {name for name in (names[i].decode() for i in range(count.value)) if name.startswith(PREFIX)}


def _draw(*shapes):
    """Return normally distributed arrays."""
    draw = np.random.RandomState(1)
    return [mx.nd.array(draw.normal(size=shape)) for shape in shapes]


def _step(layers, arrays, head, states=()):
    """Return [y, gradients of the arrays, states after the step] of y = layers(*arrays, *states)."""
    arrays, states = ([array.copy() for array in group] for group in (arrays, states))
    for array in arrays:
        array.attach_grad()
    with autograd.record():
        y = layers(*arrays, *states)
    y.backward(head)
    mx.nd.waitall()
    return [y, *(array.grad for array in arrays), *states]


def _convolution(x, weight):
    """Return a convolution, whose result is in oneDNN's layout: in blocks of channels if it has 32."""
    side = weight.shape[-1]
    return mx.nd.Convolution(
        x, weight, kernel=(side, side), pad=(side // 2,) * 2, num_filter=weight.shape[0], no_bias=True
    )


def _norm(channels, norm, outside, options, full=True):
    """Return a case of ibnnet_norm.

    norm: the same by mxnet's operators. outside: count of channels with running statistics. full: add sum and ReLU.
    With several parts, mxnet's norm keeps statistics of each part, and ours keeps their mean.
    """
    parts, size = options.get('parts', 1), (4, channels, 9, 7)

    def theirs(x, weight, gamma, beta, skip, *states):
        y = norm(_convolution(x, weight), gamma, beta, *states)
        return mx.nd.Activation(y + skip, act_type='relu') if full else y + 0 * skip

    def ours(x, weight, gamma, beta, skip, *states):
        inputs = [_convolution(x, weight), gamma, beta, *states, *([skip] if full else [])]
        how = dict(eps=EPS, momentum=MOMENTUM, statistics=int(bool(states)), add=int(full), relu=int(full), **options)
        y = mx.nd.ibnnet_norm(*inputs, **how)
        return y if full else y + 0 * skip

    def compute():
        *arrays, head = _draw(size, (channels, channels, 3, 3), (channels,), (channels,), size, size)
        states = [mx.nd.abs(array) for array in _draw((outside,), (outside,))] if outside else []
        results = _step(theirs, arrays, head, [mx.nd.tile(state, parts) for state in states])
        moved = results[len(arrays) + 1 :]
        results[len(arrays) + 1 :] = [state.reshape((parts, -1)).mean(axis=0) for state in moved]
        return results, _step(ours, arrays, head, states)

    return compute


def _batch_norm(x, gamma, beta, mean, var):
    return mx.nd.BatchNorm(x, gamma, beta, mean, var, fix_gamma=False, eps=EPS, momentum=MOMENTUM)


def _batch_norm_of_two_parts(x, gamma, beta, mean, var):
    """Return BatchNorm of two parts, pictures 0 and 2 and pictures 1 and 3, as one batch with twice the channels."""
    wide = x.reshape((2, -1, *x.shape[2:]))
    gamma, beta = (mx.nd.concat(array, array, dim=0) for array in (gamma, beta))
    return _batch_norm(wide, gamma, beta, mean, var).reshape(x.shape)


def _group_norm(x, gamma, beta, groups=4):
    column = (1, -1, 1, 1)
    ones, zeros = mx.nd.ones((groups,)), mx.nd.zeros((groups,))
    y = mx.nd.InstanceNorm(x.reshape((0, groups, -1, x.shape[3])), ones, zeros, eps=EPS).reshape(x.shape)
    return mx.nd.broadcast_add(mx.nd.broadcast_mul(y, gamma.reshape(column)), beta.reshape(column))


def _instance_norm(x, gamma, beta):
    return mx.nd.InstanceNorm(x, gamma, beta, eps=EPS)


def _ibn(x, gamma, beta, mean, var):
    half = x.shape[1] // 2
    first = _instance_norm(x[:, :half], gamma[:half], beta[:half])
    return mx.nd.concat(first, _batch_norm(x[:, half:], gamma[half:], beta[half:], mean, var), dim=1)


def _winograd():
    """Return the results of a 3x3 convolution by oneDNN, and by ours in tiles."""
    size = (4, 64, 9, 7)
    x, weight, head = _draw(size, (64, 64, 3, 3), size)
    return (_step(layers, [x, weight], head) for layers in (_convolution, mx.nd.ibnnet_winograd))


def _excite():
    """Return the results of squeeze-and-excitation with sum and ReLU."""

    def theirs(x, weight, first, second, skip):
        x = _convolution(x, weight)
        hidden = mx.nd.relu(mx.nd.dot(x.mean(axis=(2, 3)), first, transpose_b=True))
        gate = mx.nd.sigmoid(mx.nd.dot(hidden, second, transpose_b=True))
        return mx.nd.relu(mx.nd.broadcast_mul(x, gate.reshape((0, 0, 1, 1))) + skip)

    def ours(x, weight, first, second, skip):
        return mx.nd.ibnnet_excite(_convolution(x, weight), first, second, skip, relu=1, add=1)

    size = (4, 32, 9, 7)
    *arrays, head = _draw(size, (32, 32, 3, 3), (8, 32), (32, 8), size, size)
    return (_step(layers, arrays, head) for layers in (theirs, ours))


def _update(nesterov):
    """Return a case: SGD with momentum of two weights, plain or Nesterov's."""

    def compute():
        shapes = (3, 5), (70000,)  # the second is more than one thread takes at a time
        arrays = _draw(*shapes, *shapes, *shapes)
        weights, gradients, states = (arrays[i : i + 2] for i in (0, 2, 4))
        lrs, wds, rescale = (0.1, 0.2), (1e-3, 0.0), 0.5
        expected: list[list] = [[], []]
        for weight, gradient, state, lr, wd in zip(weights, gradients, states, lrs, wds):
            step = lr * (rescale * gradient + wd * weight)
            new = MOMENTUM * state - step
            expected[0].append(weight + (MOMENTUM * new - step if nesterov else new))
            expected[1].append(new)
        options = dict(lrs=lrs, wds=wds, momentum=MOMENTUM, rescale_grad=rescale, nesterov=nesterov, num_args=6)
        mx.nd.waitall()
        mx.nd.ibnnet_update(*arrays, out=weights, **options)
        return sum(expected, []), [*weights, *states]

    return compute


def _centre():
    """Return the results of centring weights."""
    weight, head = _draw((8, 5, 3, 3), (8, 5, 3, 3))

    def theirs(w):
        return mx.nd.broadcast_sub(w, w.mean(axis=(1, 2, 3), keepdims=True))

    return (_step(layers, [weight], head) for layers in (theirs, mx.nd.ibnnet_centre))


def _windows(formal, t, old, new):
    """Return the means over the windows (parts, C), and the next state (K, C); mabn.cc has the drawing."""
    count = len(old)
    if formal:
        state = old.copy()
        state[t % count] = new[0]
        return state.mean(axis=0, keepdims=True), state
    history = np.concatenate([old, new])
    return np.stack([history[part + 1 :][:count].mean(axis=0) for part in range(len(new))]), history[-count:]


def _mabn(formal, parts):
    """Return a case of MABN: a call whose windows are full and whose ratio may differ from 1."""

    def compute():
        calls, t, clip, (N, C, H, W) = 3, 9, 5.0, (4, 6, 5, 3)
        x, head, gamma, beta, running, moments, slopes = _draw(
            *[(N, C, H, W)] * 2, (C,), (C,), (C,), (calls, C), (calls, C)
        )
        running, moments, iters = running.abs() + 0.5, moments.abs() + 0.5, mx.nd.array([t - 1])
        options = dict(formal=formal, parts=parts, warmup=2, fixed=3, eps=EPS, momentum=MOMENTUM, clip=clip)

        def ours(*arrays):
            return mx.nd.ibnnet_mabn(*arrays, **options)[0]

        computed = _step(ours, [x, gamma, beta, running, iters, moments, slopes], head)

        def spread(values):
            """Return (parts, C) values as (N, C, 1, 1)."""
            return np.repeat(values, N // parts, axis=0)[:, :, None, None]

        def over_parts(values):
            return values.reshape(parts, -1, C, H * W).sum(axis=(1, 3))

        x, dy, g, b, old, m, s = (
            a.asnumpy().astype(np.float64) for a in (x, head, gamma, beta, running, moments, slopes)
        )
        moment, next_moments = _windows(formal, t, m, over_parts(x * x) / (N // parts * H * W))
        deviation = np.sqrt(moment + EPS)
        factor = np.clip(deviation / np.sqrt(old + EPS), 1 / clip, clip) / deviation
        y = x * spread(g * factor) + b[None, :, None, None]
        psi, next_slopes = _windows(formal, t, s, over_parts(dy * x) * g * factor / (N // parts * H * W))
        dx = dy * spread(g * factor) - x * spread(psi / deviation**2)
        of_gamma, of_beta = (over_parts(dy * x) * factor).sum(axis=0), dy.sum(axis=(0, 2, 3))
        new = MOMENTUM * old + (1 - MOMENTUM) * moment.mean(axis=0)
        return [y, dx, of_gamma, of_beta, new, np.array([t]), next_moments, next_slopes], computed

    return compute


def _renorm(ramp):
    """Return a case of Batch Renormalization with two parts: scale and shift. ramp: 0 means r = 1 and d = 0."""

    def compute():
        parts, C = 2, 5
        mean, inverse, gamma, beta, old_mean, old_var, *heads = _draw(
            *[(parts * C,)] * 2, *[(C,)] * 4, *[(parts * C,)] * 2
        )
        inverse, old_var, steps = 1 / (inverse.abs() + 0.5), old_var.abs() + 0.5, mx.nd.array([6])
        options = dict(ramp=int(ramp), eps=EPS, momentum=MOMENTUM, r_max=3, d_max=5, warmup=2, r_iters=10, d_iters=7)

        def ours(*arrays):
            return mx.nd.concat(*mx.nd.ibnnet_renorm(*arrays, **options), dim=0)

        arrays = [mean, inverse, gamma, beta, old_mean, old_var, *([steps] if ramp else [])]
        computed = _step(ours, arrays, mx.nd.concat(*heads, dim=0))
        m, i, of_scale, of_shift = (a.asnumpy().reshape(parts, C).astype(np.float64) for a in (mean, inverse, *heads))
        g, b, rm, rv = (a.asnumpy().astype(np.float64) for a in (gamma, beta, old_mean, old_var))
        r_max, d_max = (1 + 2 * (6 - 2) / (10 - 2), 5 * (6 - 2) / (7 - 2)) if ramp else (1, 0)
        r = np.clip(1 / (i * np.sqrt(rv + EPS)), 1 / r_max, r_max)
        d = np.clip((m - rm) / np.sqrt(rv + EPS), -d_max, d_max)
        expected = [np.concatenate([(g * r).ravel(), (b + g * d).ravel()]), np.zeros(parts * C), np.zeros(parts * C)]
        expected += [(of_scale * r + of_shift * d).sum(axis=0), of_shift.sum(axis=0)]
        expected.append(MOMENTUM * rm + (1 - MOMENTUM) * m.mean(axis=0))
        expected.append(MOMENTUM * rv + (1 - MOMENTUM) * (1 / i**2 - EPS).mean(axis=0))
        return expected + ([np.array([7])] if ramp else []), computed

    return compute


# Operator: its cases. A case returns two lists of arrays: the expected results and the operator's.
# oneDNN lays out 32 channels in blocks, and 3 channels plainly.
CASES = {
    'ibnnet_norm': [
        _norm(3, _batch_norm, 3, {}),
        _norm(32, _batch_norm, 32, {}),
        _norm(32, _batch_norm, 32, {}, full=False),
        _norm(32, _batch_norm_of_two_parts, 32, dict(parts=2)),
        _norm(32, _group_norm, 0, dict(begin=0, end=32, groups=4)),
        _norm(32, _instance_norm, 0, dict(begin=0, end=32, groups=32)),
        _norm(32, _ibn, 16, dict(begin=0, end=16, groups=16)),
    ],
    'ibnnet_excite': [_excite],
    'ibnnet_winograd': [_winograd],
    'ibnnet_update': [_update(0), _update(1)],
    'ibnnet_centre': [_centre],
    'ibnnet_mabn': [_mabn(1, 1), _mabn(0, 1), _mabn(0, 2)],
    'ibnnet_renorm': [_renorm(False), _renorm(True)],
}
