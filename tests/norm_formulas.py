"""The norms restated in float64 numpy, from their definitions alone: forward, backward and state of one call."""

from __future__ import annotations

import numpy as np


def column(a):
    return a.reshape(1, -1, 1, 1)


class Formal:
    """MABN as megvii-model/MABN has it in MABN.py; state in a dict, as its buffers."""

    def __init__(self, channels, B, real_B, eps, momentum, warmup_iters):
        self.k, self.eps, self.momentum, self.warmup = real_B // B, eps, momentum, warmup_iters
        self.state = dict(
            running_var=np.ones((1, channels, 1, 1)),
            iters=np.zeros(1),
            buffer_x2=np.zeros((self.k, channels)),
            buffer_gz=np.zeros((self.k, channels)),
        )

    def __call__(self, x, g, gamma, beta):
        """(y, dx, dgamma, dbeta) of one training step; g is the gradient of y."""
        s, k, eps = self.state, self.k, self.eps
        t = int(s['iters'][0]) + 1
        s['iters'][0] = t
        square = (x * x).mean((0, 2, 3))
        s['buffer_x2'][t % k] = square
        warm = t <= k or t < self.warmup
        v = square if warm else s['buffer_x2'].mean(0)
        z = x / np.sqrt(column(v) + eps)
        r = np.ones_like(v)
        if t > max(1000, self.warmup):
            r = np.clip(np.sqrt(v + eps) / np.sqrt(s['running_var'].ravel() + eps), 1 / 5, 5)
        y = column(gamma) * column(r) * z + column(beta)
        s['running_var'] = self.momentum * s['running_var'] + (1 - self.momentum) * column(v)
        h = g * column(gamma * r)
        slope = (h * z).mean((0, 2, 3))
        s['buffer_gz'][t % k] = slope
        psi = slope if warm else s['buffer_gz'].mean(0)
        dx = (h - z * column(psi)) / np.sqrt(column(v) + eps)
        return y, dx, (g * column(r) * z).sum((0, 2, 3)), g.sum((0, 2, 3))


class Cls:
    """MABN as it has it in cls/networks/MABN.py, for batches of B * K pictures."""

    def __init__(self, channels, B, real_B, eps, momentum, free_from=100):
        self.B, self.k, self.eps, self.momentum, self.free_from = B, real_B // B, eps, momentum, free_from
        self.state = dict(
            running_var=np.ones(channels),
            iters=np.zeros(1),
            pre_x2=np.ones((self.k, channels)),
            pre_gz=np.zeros((self.k, channels)),
        )

    def _windows(self, old, new):
        whole = np.concatenate([old, new])
        return np.stack([whole[i + 1 : i + 1 + self.k].mean(0) for i in range(len(new))]), whole[len(new) :]

    def __call__(self, x, g, gamma, beta):
        s, eps = self.state, self.eps
        s['iters'][0] += 1
        t = int(s['iters'][0])
        parts = lambda a: a.reshape(-1, self.B, *a.shape[1:])  # noqa: E731
        wide = lambda a: a[:, None, :, None, None]  # noqa: E731
        x, g = parts(x), parts(g)
        square = (x * x).mean((1, 3, 4))
        v, after = self._windows(s['pre_x2'], square)
        v = square if t == 1 else v
        z = x / np.sqrt(wide(v) + eps)
        r = np.ones_like(v)
        if t >= self.free_from:
            r = np.clip(np.sqrt(v + eps) / np.sqrt(s['running_var'] + eps), 1 / 5, 5)
        y = gamma.reshape(1, 1, -1, 1, 1) * wide(r) * z + beta.reshape(1, 1, -1, 1, 1)
        if t == 1:
            s['running_var'] = v.mean(0)
        s['running_var'] = self.momentum * s['running_var'] + (1 - self.momentum) * v.mean(0)
        s['pre_x2'] = after
        h = g * wide(r * gamma)
        slope = (h * z).mean((1, 3, 4))
        psi, after = self._windows(s['pre_gz'], slope)
        psi = slope if t == 1 else psi
        s['pre_gz'] = after
        dx = (h - z * wide(psi)) / np.sqrt(wide(v) + eps)
        flat = lambda a: a.reshape(-1, *a.shape[2:])  # noqa: E731
        return flat(y), flat(dx), (g * wide(r) * z).sum((0, 1, 3, 4)), g.sum((0, 1, 3, 4))


def batch_renorm(x, g, gamma, beta, statistics, bounds, eps):
    """(y, dx, dgamma, dbeta, mean, var); statistics: (running mean, running var); bounds: (r_max, d_max)."""
    (running_mean, running_var), (r_max, d_max), axes = statistics, bounds, (0, 2, 3)
    mean, var = x.mean(axes), x.var(axes)
    r = np.clip(np.sqrt(var + eps) / np.sqrt(running_var + eps), 1 / r_max, r_max)
    d = np.clip((mean - running_mean) / np.sqrt(running_var + eps), -d_max, d_max)
    normal = (x - column(mean)) / np.sqrt(column(var) + eps)
    y = column(gamma) * (normal * column(r) + column(d)) + column(beta)
    h = g * column(gamma * r)
    dx = (h - column(h.mean(axes)) - normal * column((h * normal).mean(axes))) / np.sqrt(column(var) + eps)
    return y, dx, (g * (normal * column(r) + column(d))).sum(axes), g.sum(axes), mean, var
