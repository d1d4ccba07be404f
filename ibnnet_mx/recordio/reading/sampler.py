"""Samplers, which decide the records of each batch. The reader is handed one; EachOnce is the usual one."""

from __future__ import annotations

from typing import NamedTuple, Protocol, Sequence

import numpy as np


class Sampler(Protocol):
    """A sampler decides which records a batch holds, and their order.

    It must be a pure function of its own fields and of the arguments, so that a run can go on inside an epoch. Every
    share and every epoch must have the same number of steps, because workers wait for each other at each step. A record
    that comes twice in an epoch is changed by the same random numbers both times.
    """

    def batches(self, labels: np.ndarray, epoch: int, batch_size: int, share: tuple[int, int]) -> Sequence[np.ndarray]:
        """Return for each step of an epoch the positions of this share's records, int64 (records of the step,).

        labels: float32 (n, width), of all records, in the order of the file. batch_size: records of a step over all
        shares. share: (rank, how many shares).
        """


class EachOnce(NamedTuple):
    """Every record once an epoch: in the order of the file, or in a new order of all records each epoch.

    every: only each so many-th record of that order. limit: so many of these records at most; None: all.
    """

    seed: int = 0
    shuffle: bool = False
    every: int = 1
    limit: int | None = None

    def batches(self, labels: np.ndarray, epoch: int, batch_size: int, share: tuple[int, int]) -> list[np.ndarray]:
        """Return the steps of an epoch; see Sampler.batches()."""
        positions = epoch_order(len(labels), self.shuffle, self.seed, epoch)[:: self.every][: self.limit]
        return cut_steps(positions, batch_size, share)


def epoch_order(count: int, shuffle: bool, seed: int, epoch: int) -> np.ndarray:
    """Return the positions 0..count-1, int64 (count,), shuffled by (seed, epoch) if asked for."""
    positions = np.arange(count)
    if shuffle:
        np.random.Generator(np.random.Philox(key=[seed, epoch])).shuffle(positions)
    return positions


def cut_steps(positions: np.ndarray, batch_size: int, share: tuple[int, int] = (0, 1)) -> list[np.ndarray]:
    """Cut the positions of an epoch into steps of batch_size, and return one share (rank, how many) of each step.

    All shares have the same number of steps. The last step may be smaller. Its share is empty if there are more shares
    than records left.
    """
    rank, shares = share
    cuts = range(batch_size, len(positions), batch_size)
    return [np.array_split(step, shares)[rank] for step in np.split(positions, cuts)]
