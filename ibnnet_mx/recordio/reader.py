"""Batches of pictures from a .rec: decoded, augmented and laid out on all cores, a few batches ahead of the caller."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterator, NamedTuple

import numpy as np

from ibnnet_mx.recordio import augment, sampler
from ibnnet_mx.recordio.format import RecordError, RecordFile
from ibnnet_mx.recordio.pictures import PictureError, decode

AHEAD = 3  # batches in work besides the one that was handed out
CACHED_SIDE = 64  # pictures up to this size are kept decoded in memory


class Batch(NamedTuple):
    """data float32 (n, 3, S, S), label float32 (n,); real: how many of the n are pictures, the rest is padding."""

    data: np.ndarray
    label: np.ndarray
    real: int


class Options(NamedTuple):
    """How a Reader works, apart from what it reads. threads None: one for each usable core."""

    seed: int = 0
    part: tuple[int, int] = (0, 1)
    least: int = 1
    limit: int | None = None
    threads: int | None = None
    max_bad: int = 0
    report: Callable[[str], None] = lambda text: None


class Reader:
    """Epochs of batches from one .rec; data float32 RGB planes, (value - mean) / std.

    augment None: validation, in the file's order, central crop, the last batch padded to the full size. Else training:
    shuffled, each picture once, the last batch smaller. The stream depends on seed and epoch, not on threads.
    part: (rank, workers); least: pictures that a last batch needs (devices). limit: pictures of an epoch (all: None).
    RecordError names the file and the record that cannot be read, once there are more than max_bad of them.
    """

    def __init__(
        self,
        path: Any,
        size: int,
        batch_size: int,
        changes: augment.Augment | None = None,
        pixels: tuple[tuple[float, ...], tuple[float, ...]] = ((0.0,) * 3, (1.0,) * 3),
        options: Options | None = None,
    ) -> None:
        self.records = RecordFile(path)
        self.size, self.batch_size, self.augment = size, batch_size, changes
        self.options = options or Options()
        self._table = augment.pixel_table(*pixels)
        self._labels = self.records.labels()[:, 0]
        self._why: dict[int, str] = {}
        self._bad: set[int] = set()
        self._pool = ThreadPoolExecutor(self.options.threads or len(os.sched_getaffinity(0)))
        self._threads: int = self._pool._max_workers
        self._cache: list[np.ndarray | None] | None = None
        first = self._picture(0)
        if first is not None and max(first.shape) <= CACHED_SIDE:
            self._cache = self._decode_all()

    @property
    def count(self) -> int:
        """Pictures of an epoch, over all workers."""
        limit = self.options.limit
        return len(self.records) if limit is None else limit

    @property
    def steps(self) -> int:
        """Batches of an epoch, the same for every worker."""
        return len(self._plan(0))

    def labels(self) -> np.ndarray:
        return self._labels

    def _plan(self, epoch: int) -> list[np.ndarray]:
        positions = sampler.order(len(self.records), self.augment is not None, self.options.seed, epoch)
        return sampler.batches(positions[: self.count], self.batch_size, self.options.part, self.options.least)

    def _slices(self, count: int) -> list[slice]:
        cuts = np.linspace(0, count, min(self._threads, count) + 1).astype(int)
        return [slice(a, b) for a, b in zip(cuts[:-1], cuts[1:])]

    def _picture(self, position: int) -> np.ndarray | None:
        try:
            return decode(self.records.read(position).payload)
        except (PictureError, RecordError) as error:
            at, key = self.records.offsets[position], self.records.ids[position]
            self._why[position] = f'{self.records.path}: record {position} (id {key}, byte {at}) {error}'
            return None

    def _decode_all(self) -> list[np.ndarray | None]:
        def run(part: slice) -> list[np.ndarray | None]:
            return [self._picture(i) for i in range(part.start, part.stop)]

        return [p for pictures in self._pool.map(run, self._slices(len(self.records))) for p in pictures]

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from step `start` on."""
        work: deque[Callable[[], Batch]] = deque()
        try:
            for positions in self._plan(epoch)[start:]:
                work.append(self._begin(positions, epoch))
                if len(work) > AHEAD:
                    yield work.popleft()()
            while work:
                yield work.popleft()()
        finally:
            for finish in work:
                finish()

    def _begin(self, positions: np.ndarray, epoch: int) -> Callable[[], Batch]:
        """Starts a batch on the pool; the function that it returns waits for it."""
        rows = len(positions) if self.augment is not None else self.batch_size
        data = np.empty((rows, 3, self.size, self.size), np.float32)
        draws = augment.uniforms(self.options.seed, epoch, positions) if self.augment is not None else None

        def run(part: slice) -> list[int]:
            return [k for k in range(part.start, part.stop) if not self._render(positions[k], draws, k, data[k])]

        futures = [self._pool.submit(run, part) for part in self._slices(len(positions))]
        return lambda: self._finish(positions, data, [k for future in futures for k in future.result()])

    def _render(self, position: int, draws: np.ndarray | None, k: int, out: np.ndarray) -> bool:
        picture = self._cache[position] if self._cache is not None else self._picture(position)
        if picture is None:
            return False
        if draws is None or self.augment is None:
            view = augment.val_view(picture, self.size)
        else:
            view = augment.train_view(picture, self.augment, draws[k], self.size)
        augment.planes(view, self._table, out)
        return True

    def _finish(self, positions: np.ndarray, data: np.ndarray, bad: list[int]) -> Batch:
        label = np.zeros(len(data), np.float32)
        good = np.delete(np.arange(len(positions)), bad)
        label[: len(good)] = self._labels[positions[good]]
        if bad:
            self._count_bad([int(positions[k]) for k in bad])
            data[: len(good)] = data[good]
        if self.augment is not None:
            return Batch(data[: len(good)], label[: len(good)], len(good))
        data[len(good) :] = data[0] if len(good) else 0.0
        return Batch(data, label, len(good))

    def _count_bad(self, bad: list[int]) -> None:
        new = [position for position in bad if position not in self._bad]
        for position in new:
            self._bad.add(position)
            self.options.report(f'{self._why[position]}: skipped')
        if len(self._bad) > self.options.max_bad:
            raise RecordError(
                f'{self._why[bad[0]]}: {len(self._bad)} such records, --max-bad-records {self.options.max_bad} allowed'
            )

    def close(self) -> None:
        self._pool.shutdown()
        self.records.close()
