"""Samplers, which decide the records of each batch. The reader is handed one; EachOnce is the usual one."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, Sequence

import numpy as np

from ibnnet_mx.recordio.fast import native


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

    def batches(self, labels: np.ndarray, epoch: int, batch_size: int, share: tuple[int, int]) -> Steps:
        """Return the steps of an epoch; see Sampler.batches()."""
        return cut_steps(_order(len(labels), self, epoch), batch_size, share)

    def pictures(self, records: int) -> int:
        """Return the pictures of an epoch, without making its order."""
        chosen = -(-records // self.every)
        return chosen if self.limit is None else min(chosen, self.limit)


class Steps(Sequence[np.ndarray]):
    """The steps of an epoch for one share (rank, how many shares), each cut from the positions when it is asked for.

    steps[number] is int64 (records of the step,). The last step may be smaller. Its share is empty if there are more
    shares than records left.
    """

    def __init__(self, positions: np.ndarray, batch_size: int, share: tuple[int, int]) -> None:
        self._positions, self._batch_size, self._share = positions, batch_size, share

    def __len__(self) -> int:
        return count_steps(len(self._positions), self._batch_size)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[one] for one in range(len(self))[number]]
        start = range(len(self))[number] * self._batch_size
        rank, shares = self._share
        each, more = divmod(min(self._batch_size, len(self._positions) - start), shares)
        first = start + rank * each + min(rank, more)
        return self._positions[first : first + each + (rank < more)].astype(np.int64)


def count_steps(pictures: int, batch_size: int) -> int:
    """Return the steps of an epoch; one, which is empty, without pictures."""
    return max(-(-pictures // batch_size), 1)


def _order(count: int, chosen: EachOnce, epoch: int) -> np.ndarray:
    """Return the positions of an epoch, int32 if they fit. The order is numpy's, with C and without."""
    positions = np.arange(count, dtype=np.int32 if count < 1 << 31 else np.int64)
    if chosen.shuffle:
        source = np.random.Philox(key=[chosen.seed, epoch])
        if not native.shuffle(positions, source.state['state']['key']):
            np.random.Generator(source).shuffle(positions)
    return positions[:: chosen.every][: chosen.limit]


def epoch_order(count: int, shuffle: bool, seed: int, epoch: int) -> np.ndarray:
    """Return the positions 0..count-1, int64 (count,), shuffled by (seed, epoch) if asked for."""
    return _order(count, EachOnce(seed, shuffle), epoch).astype(np.int64)


def cut_steps(positions: np.ndarray, batch_size: int, share: tuple[int, int] = (0, 1)) -> Steps:
    """Cut the positions of an epoch into steps of batch_size, and return one share (rank, how many) of each step.

    All shares have the same number of steps.
    """
    return Steps(positions, batch_size, share)
