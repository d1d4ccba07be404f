"""Batches of pictures from a .rec or folder: decoded, augmented and laid out on all cores, ahead of the caller."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Callable, Iterator, NamedTuple

import cv2
import numpy as np

from ibnnet_mx.recordio import augment, sampler
from ibnnet_mx.recordio.folder import open_records
from ibnnet_mx.recordio.format import RecordError
from ibnnet_mx.recordio.pictures import PictureError
from ibnnet_mx.recordio.region import Pixels, open_picture
from ibnnet_mx.recordio.view import View, windows

AHEAD = 3  # batches in work besides the one that was handed out
CACHED_SIDE = 64  # pictures up to this size are kept decoded in memory


class Batch(NamedTuple):
    """data float32 (n x crops, 3, S, S), label float32 (n,); real: how many of the n are pictures, the rest is padding.

    The crops of a picture follow each other; training has one.
    """

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


class Work(NamedTuple):
    """A batch that is being made, data (n, crops, 3, S, S): the futures hold the rows that could not be."""

    positions: np.ndarray
    data: np.ndarray
    futures: list[Future]


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Uninitialised float32 at a multiple of 64 bytes.

    Sums over an array begin at such a border, so that elsewhere the last bits of a training step depend on where the
    allocator put the batch.
    """
    raw = np.empty(int(np.prod(shape)) * 4 + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : raw.size - 64 + start].view(np.float32).reshape(shape)


class Reader:
    """Epochs of batches from one .rec or folder of class folders; data float32 RGB planes, (value - mean) / std.

    augment None: validation, in the file's order, as `view` says (unset: central crop), the last batch padded to the
    full size. Else training: shuffled, each picture once, the last batch smaller. The stream depends on seed and epoch,
    not on threads.
    part: (rank, workers); least: pictures that a last batch needs (devices). limit: pictures of an epoch (all: None).
    The label is the first of a record's labels. RecordError names the file and the record that cannot be read, once
    there are more than max_bad of them. OpenCV's own threads are switched off, in the whole process.
    """

    def __init__(
        self,
        path: Any,
        size: int,
        batch_size: int,
        changes: augment.Augment | None = None,
        pixels: tuple[tuple[float, ...], tuple[float, ...]] = ((0.0,) * 3, (1.0,) * 3),
        options: Options | None = None,
        view: View | None = None,
    ) -> None:
        cv2.setNumThreads(1)  # the pool below keeps the cores busy; threads inside of each call would wait for them
        self.records = open_records(path)
        self.size, self.batch_size, self.augment = size, batch_size, changes
        self.options, self.view = options or Options(), view or View()
        self._table = augment.pixel_table(*pixels)
        self._labels = self.records.labels()[:, 0]
        self._why: dict[int, str] = {}
        self._bad: set[int] = set()
        self._pool = ThreadPoolExecutor(self.options.threads or len(os.sched_getaffinity(0)))
        self._threads: int = self._pool._max_workers
        self._cache: dict[int, Pixels] = {}
        if self._small():
            self._fill_cache()

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
        options, training = self.options, self.augment is not None
        positions = sampler.order(len(self.records), training, options.seed, epoch)[: self.count]
        # A last batch of validation is padded and so may hold any number of pictures.
        return sampler.batches(positions, self.batch_size, options.part, options.least if training else 1)

    def _slices(self, count: int) -> list[slice]:
        cuts = np.linspace(0, count, min(self._threads, count) + 1).astype(int)
        return [slice(a, b) for a, b in zip(cuts[:-1], cuts[1:])]

    def _small(self) -> bool:
        """Whether the first picture that can be read is one to keep in memory; max_bad may be damaged before it."""
        for position in range(min(len(self.records), self.options.max_bad + 1)):
            try:
                return self._is_small(self._picture(position))
            except (PictureError, RecordError):
                continue
        return False

    def _is_small(self, picture: Pixels) -> bool:
        return max(picture.width, picture.height) <= CACHED_SIDE

    def _picture(self, position: int) -> Pixels:
        return self._cache.get(position) or open_picture(self.records.read(position).payload)

    def _fill_cache(self) -> None:
        def run(part: slice) -> list[tuple[int, Pixels]]:
            kept = []
            for position in range(part.start, part.stop):
                with contextlib.suppress(PictureError, RecordError):  # said when its turn comes
                    picture = self._picture(position)
                    if self._is_small(picture):
                        kept.append((position, Pixels(picture.whole())))
            return kept

        for kept in list(self._pool.map(run, self._slices(len(self.records)))):
            self._cache.update(kept)

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from step `start` on."""
        works: deque[Work] = deque()
        try:
            for positions in self._plan(epoch)[start:]:
                works.append(self._begin(positions, epoch))
                if len(works) > AHEAD:
                    yield from self._finish(works.popleft())
            while works:
                yield from self._finish(works.popleft())
        finally:
            rest = [future for work in works for future in work.futures]
            for future in rest:
                future.cancel()
            wait(rest)

    def _begin(self, positions: np.ndarray, epoch: int) -> Work:
        """Starts a batch on the pool."""
        training = self.augment is not None
        rows = len(positions) if training else -(-self.batch_size // self.options.part[1])
        data = _aligned((rows, 1 if training else self.view.crops, 3, self.size, self.size))
        draws = augment.uniforms(self.options.seed, epoch, positions) if training else None

        def run(part: slice) -> list[int]:
            rows = range(part.start, part.stop)
            return [k for k in rows if not self._render(positions[k], None if draws is None else draws[k], data[k])]

        return Work(positions, data, [self._pool.submit(run, part) for part in self._slices(len(positions))])

    def _render(self, position: int, draws: np.ndarray | None, out: np.ndarray) -> bool:
        try:
            picture = self._picture(position)
            if draws is None or self.augment is None:
                views = windows(picture, self.size, self.view)
            else:
                views = [augment.train_view(picture, self.augment, draws, self.size)]
        except RecordError as error:
            self._why[position] = str(error)
            return False
        except (PictureError, cv2.error) as error:
            why = f'cannot be used ({error.err})' if isinstance(error, cv2.error) else error
            self._why[position] = f'{self.records.describe(position)} {why}'
            return False
        for crop, view in zip(out, views):
            augment.planes(view, self._table, crop)
        return True

    def _finish(self, work: Work) -> list[Batch]:
        """The batch; none where every picture of a training batch is damaged."""
        positions, data = work.positions, work.data
        bad = [k for future in work.futures for k in future.result()]
        label = np.zeros(len(data), np.float32)
        good = np.delete(np.arange(len(positions)), bad)
        label[: len(good)] = self._labels[positions[good]]
        if bad:
            self._count_bad([int(positions[k]) for k in bad])
            data[: len(good)] = data[good]
        if self.augment is None:
            data[len(good) :] = data[0] if len(good) else 0.0
        elif bad and not len(good):
            return []
        else:
            data, label = data[: len(good)], label[: len(good)]
        return [Batch(data.reshape(-1, *data.shape[2:]), label, len(good))]

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
