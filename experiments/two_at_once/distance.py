"""How far two domains' features lie apart, block by block: the feature divergence of IBN-Net, arXiv:1807.09441, 4.4.

F is the mean of a channel over a picture; over the pictures of a domain it is taken for a Gaussian (m, s), and
D = KL(A || B) + KL(B || A), KL(A || B) = log(s_B / s_A) + (s_A^2 + (m_A - m_B)^2) / (2 s_B^2) - 1/2, is averaged over
the channels of a block's result.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Iterable

import numpy as np

from ibnnet_mx import shift

LEAST = 1e-12  # of a variance: a channel that is the same in all pictures of a domain is left out
SHIFTS = ('style', 'contrast', 'gaussian_noise')  # of CIFAR-10's test pictures, at the last severity
EVERY = 5  # of CIFAR-10's test pictures, each fifth is looked at


def divergence(a: np.ndarray, b: np.ndarray) -> float | None:
    """a, b: (pictures, channels), what F is for each picture of two domains. Channels without variance are left out.

    None: there are no others, as right behind an InstanceNorm, which gives each picture's channels the same mean.
    """
    means, variances = (np.stack([f(x.astype(np.float64), axis=0) for x in (a, b)]) for f in (np.mean, np.var))
    kept = (variances > LEAST).all(axis=0)
    if not kept.any():
        return None
    (m_a, m_b), (v_a, v_b) = means[:, kept], variances[:, kept]
    gap = (m_a - m_b) ** 2
    return float(np.mean((v_a + gap) / (2 * v_b) + (v_b + gap) / (2 * v_a) - 1))  # the logarithms cancel


class Blocks:
    """The channel means behind each unit of a checkpoint's network."""

    def __init__(self, prefix: Path, epoch: int) -> None:
        import mxnet as mx

        from ibnnet_mx import convert

        net = convert.load_symbol(str(prefix), epoch)
        symbol, self._arrays = convert.prediction(net)
        self.model, last = net.model, {}
        for entry in symbol.get_internals():
            unit = re.match(r'stage\d+_unit\d+_', entry.name)
            if unit and entry.name not in self._arrays:
                last[unit[0].rstrip('_')] = entry  # in the order of the computation: the unit's result is its last
        self.names = list(last)
        self._group = mx.sym.Group([mx.sym.mean(entry, axis=(2, 3)) for entry in last.values()])
        self._inputs, self._run = self._group.list_inputs(), mx.nd.CachedOp(self._group)

    def __call__(self, batches: Iterable[np.ndarray]) -> list[np.ndarray]:
        """batches: uint8 (n, S, S, 3) -> of each block (pictures, channels)."""
        from ibnnet_mx import data

        found: list[list[np.ndarray]] = [[] for _ in self.names]
        source = data.Input(self.model.size, self.model.pixels.mean, self.model.pixels.std)
        for pictures in batches:
            given = dict(self._arrays, data=data.normalise(pictures, source))
            for rows, result in zip(found, self._run(*(given[name] for name in self._inputs))):
                rows.append(result.asnumpy())
        return [np.concatenate(rows) for rows in found]


def raw(path: Any, every: int = 1) -> list[tuple[np.ndarray, np.ndarray]]:
    """(pictures, positions) of records or a folder of class folders, at 32 pixels."""
    from ibnnet_mx import data
    from ibnnet_mx.recordio.reading.options import Options

    iterator = data.evaluation_iter(
        path, data.Input(32, (0,) * 3, (1,) * 3), 100, None, 1, Options(every=every), raw=True
    )
    try:
        return [(pictures, positions) for pictures, positions, _ in iterator.raw()]
    finally:
        iterator.close()


def of_cifar10(blocks: Blocks, records: Path) -> dict[str, dict[str, float | None]]:
    """{shift: {block: distance between the test pictures as they are and shifted}}."""
    batches = raw(records, EVERY)
    clean, found = blocks([pictures for pictures, _ in batches]), {}
    for name in SHIFTS:
        other = blocks([shift.apply(pictures, places, name, 5) for pictures, places in batches])
        found[name] = {block: divergence(a, b) for block, a, b in zip(blocks.names, clean, other)}
    return found


def of_pacs(blocks: Blocks, new: Path, known: list[Path]) -> dict[str, dict[str, float | None]]:
    """{'domain': {block: distance between the domain that was left out and held-out pictures of the others}}."""
    there = blocks([pictures for pictures, _ in raw(new)])
    here = blocks([pictures for path in known for pictures, _ in raw(path)])
    return {'domain': {block: divergence(a, b) for block, a, b in zip(blocks.names, there, here)}}
