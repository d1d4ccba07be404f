"""Which records make up each batch: one real shuffle an epoch, every picture once, equal steps for all workers."""

from __future__ import annotations

import numpy as np


def order(count: int, shuffle: bool, seed: int, epoch: int) -> np.ndarray:
    """int64 (count,): positions 0..count-1, shuffled by (seed, epoch)."""
    positions = np.arange(count)
    if shuffle:
        np.random.Generator(np.random.Philox(key=[seed, epoch])).shuffle(positions)
    return positions


def batches(positions: np.ndarray, batch_size: int, part: tuple[int, int] = (0, 1)) -> list[np.ndarray]:
    """One worker's positions of each step; part is (rank, workers), batch_size is that of all workers together.

    All workers get the same number of steps. The last batch is smaller where the count asks for it, and holds nothing
    for a worker where there are more of them than pictures left.
    """
    rank, workers = part
    cuts = range(batch_size, len(positions), batch_size)
    return [np.array_split(step, workers)[rank] for step in np.split(positions, cuts)]
