"""Batches of pictures from a .rec or folder: decoded, augmented and laid out on all cores, ahead of the caller."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Iterator, NamedTuple, Sequence

import cv2
import numpy as np

from ibnnet_mx.errors import OptionError
from ibnnet_mx.files import ahead
from ibnnet_mx.recordio.format import RecordError
from ibnnet_mx.recordio.pixels import augment
from ibnnet_mx.recordio.pixels import view as views
from ibnnet_mx.recordio.pixels.pictures import PictureError
from ibnnet_mx.recordio.pixels.region import Decoded, open_picture
from ibnnet_mx.recordio.pixels.render import MOST_NOTED, renderer
from ibnnet_mx.recordio.pixels.view import View
from ibnnet_mx.recordio.reading import checks, labels
from ibnnet_mx.recordio.reading.buffers import Buffers
from ibnnet_mx.recordio.reading.folder import open_records
from ibnnet_mx.recordio.reading.options import Options
from ibnnet_mx.recordio.reading.sampler import EachOnce, count_steps
from ibnnet_mx.size import Pixels, Size

AHEAD = 3  # batches in work besides the one that was handed out, if they fit into AHEAD_BYTES
AHEAD_BYTES = 100 << 20
SLICE = 8, 32  # pictures at least and at most that a thread is given at a time, if there are so many
COLD = 256  # records that the kernel is told to fetch before they are read
TRIES = 1000  # records at most that are looked at for a first picture that can be read
CACHED_SIDE = 64  # pictures up to this size are kept decoded in memory,
CACHED_BYTES = 1 << 31  # if all of them fit into so many bytes
RAW = ((0.0,) * 3, (1.0,) * 3)


class Batch(NamedTuple):
    """The pictures of a step: data (n x crops, 3, H, W), label float32 (n,) or (n, width). Rows from `real` on are
    padding.

    The crops of a picture follow each other; training has one.
    """

    data: np.ndarray
    label: np.ndarray
    real: int


class BadRecordsError(OptionError, RecordError):
    """The error for more damaged records than max_bad allows. The text names the first of them and its damage."""


class Work(NamedTuple):
    """A batch that is being made, data (n, crops, 3, H, W)."""

    step: int
    positions: np.ndarray
    data: np.ndarray


class Reader:
    """A reader of epochs of batches, from .rec files (one, or shards) or a folder of class folders. data are RGB
    planes of a size: a side, or (height, width).

    normalisation: mean and std, data are float32, (value - mean) / std; None: uint8, as they are.
    changes None: validation, in the file's order, cut by `view` (a View, or a function of the records that returns one;
    None: central crop), the last batch padded to the full size. Else training: shuffled, each picture once, the last
    batch smaller. The stream depends on seed and epoch, not on threads.

    The label is a record's only one, or the one that the options choose. OpenCV's own threads are switched off, in the
    whole process. Raises BadRecordsError, a RecordError, if more than max_bad records cannot be read.
    """

    def __init__(
        self,
        path: Any,
        size: Pixels,
        batch_size: int,
        changes: augment.Augment | None = None,
        normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = RAW,
        options: Options | None = None,
        view: View | Callable[[Any], View] | None = None,
    ) -> None:
        self.options = options or Options()
        checks.check_augment(changes)
        checks.check_normalisation(normalisation)
        checks.check_options(self.options)
        checks.check_whole('batch_size', batch_size, 1, checks.MOST)
        self.size, self.batch_size, self.augment = Size.of(size, 'size'), batch_size, changes
        cv2.setNumThreads(1)  # the pool below keeps the cores busy; threads inside of each call would wait for them
        self.records = open_records(path)
        self.view = (view(self.records) if callable(view) else view) or View()
        self._type = np.uint8 if normalisation is None else np.float32
        self._all_labels = self.records.labels()
        self._labels = labels.choose(self.records.path, self._all_labels, self.options)
        self._sampler = self.options.sampler or self._each_once()
        self._of_pictures: tuple[np.ndarray, np.ndarray] | None = None
        self._why: dict[int, str] = {}
        self._bad: set[int] = set()
        self._threads = self.options.threads or len(os.sched_getaffinity(0))
        self._pools = {os.getpid(): ThreadPoolExecutor(self._threads)}
        self._closed = False
        self._buffers = Buffers()
        refusal = functools.partial(views.refusal, view=self.view) if changes is None and self.view.resized else None
        self._pictures = renderer(self.records, normalisation, refusal, self.options.native, self.options.exif)
        self._all_cached = False
        if self.options.keep and self._small():
            self._fill_cache()
            self._all_cached = len(self._pictures.cached()) > len(self.records) // 2

    @property
    def _pool(self) -> ThreadPoolExecutor:
        """Return this process's threads. A fork has none of its parent's."""
        pid = os.getpid()
        if pid not in self._pools:
            self._pools = {pid: ThreadPoolExecutor(self._threads)}
        return self._pools[pid]

    @property
    def count(self) -> int:
        """Return the pictures of an epoch, over all workers."""
        return self._extent[0]

    @property
    def steps(self) -> int:
        """Return the batches of an epoch, the same for every worker."""
        return self._extent[1]

    @functools.cached_property
    def _extent(self) -> tuple[int, int]:
        """Return pictures and steps of an epoch, which all epochs have alike."""
        if isinstance(self._sampler, EachOnce):
            pictures = self._sampler.pictures(len(self.records))
            return pictures, count_steps(pictures, self.batch_size)
        batches = self._batches(0, (0, 1))
        return sum(map(len, batches)), len(batches)

    def labels(self) -> np.ndarray:
        """Return float32 (n,) or (n, label_width), in the order of the records."""
        return self._labels

    def class_labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions (n,) of the records that can be pictures, and their labels; see labels.of_pictures()."""
        if self._of_pictures is None:
            self._of_pictures = labels.of_pictures(self.records, self._labels, self.options.max_bad)
        return self._of_pictures

    def _each_once(self) -> EachOnce:
        options = self.options
        shuffle = self.augment is not None if options.shuffle is None else options.shuffle
        return EachOnce(options.seed, shuffle, options.every, options.limit)

    def _batches(self, epoch: int, share: tuple[int, int]) -> Sequence[np.ndarray]:
        """Return for each step of an epoch the positions of a share's records, as the sampler gives them."""
        batches = self._sampler.batches(self._all_labels, epoch, self.batch_size, share)
        if self.options.sampler is not None:
            checks.check_batches(batches, len(self.records), None if self.augment is not None else self._rows(share))
        return batches

    def _slices(self, count: int) -> list[slice]:
        most, least = (-(-count // pictures) for pictures in SLICE)
        pieces = 1 if self._all_cached else max(min(self._threads, most), least)
        cuts = np.linspace(0, count, pieces + 1).astype(int)
        return [slice(a, b) for a, b in zip(cuts[:-1], cuts[1:])]

    def _small(self) -> bool:
        """Return True if the first picture that can be read is small enough to keep. max_bad damaged ones may come
        before it.
        """
        if len(self.records) > MOST_NOTED:
            return False
        for position in range(min(len(self.records), self.options.max_bad + 1, TRIES)):
            try:
                picture = open_picture(self.records.read(position).payload, self.options.exif)
            except (PictureError, RecordError):
                continue
            return self._is_small(picture) and 3 * picture.width * picture.height * len(self.records) <= CACHED_BYTES
        return False

    def _is_small(self, picture: Decoded) -> bool:
        return max(picture.width, picture.height) <= CACHED_SIDE

    def _fill_cache(self) -> None:
        def decode(piece: slice) -> None:
            for position in range(piece.start, piece.stop):
                with contextlib.suppress(PictureError, RecordError):  # said when its turn comes
                    payload = self.records.read(position).payload
                    picture = open_picture(payload, self.options.exif)
                    if self._is_small(picture) and self._pictures.is_sound(payload):
                        self._pictures.cache(position, picture.whole())

        list(self._pool.map(decode, self._slices(len(self.records))))

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """Return the batches of an epoch from step `start` on. Raises ValueError after close()."""
        return (batch for _, batch in self.numbered(epoch, start))

    def numbered(self, epoch: int, start: int = 0) -> Iterator[tuple[int, Batch]]:
        """Return (step, batch) pairs. A step of training without a picture that can be read is left out."""
        return ((step, batch) for step, batch, _ in self._made(epoch, start))

    def placed(self, epoch: int = 0) -> Iterator[tuple[Batch, np.ndarray]]:
        """Return (batch, positions (real,) of its pictures in the file) pairs of an epoch."""
        return ((batch, positions) for _, batch, positions in self._made(epoch, 0))

    def _made(self, epoch: int, start: int) -> Iterator[tuple[int, Batch, np.ndarray]]:
        if self._closed:
            raise ValueError(f'{self.records.path}: its reader is closed')
        batches = self._batches(epoch, self.options.share)
        most = self._ahead()
        cold = max(-(-COLD // self.batch_size), most + 1)

        def begin(step: int) -> ahead.Begun[Work]:
            for soon in () if self._all_cached else batches[step + cold * (step > start) : step + cold + 1]:
                self.records.announce(soon)
            return self._begin(step, batches[step], epoch)

        with contextlib.closing(ahead.in_order(range(start, len(batches)), begin, most)) as works:
            for work, failures in works:
                yield from self._finish(work, failures)

    def _rows(self, share: tuple[int, int]) -> int:
        """Return the rows of a full batch: the pictures of one share."""
        return -(-self.batch_size // share[1])

    def _bytes(self) -> int:
        crops = 1 if self.augment is not None else self.view.crops
        return self._rows(self.options.share) * crops * 3 * math.prod(self.size) * np.dtype(self._type).itemsize

    def _ahead(self) -> int:
        """Return how many batches are in work besides the one that was handed out; fewer of large ones."""
        return max(min(AHEAD, AHEAD_BYTES // max(self._bytes(), 1)), 1)

    def _begin(self, step: int, positions: np.ndarray, epoch: int) -> ahead.Begun[Work]:
        """Start a batch on the pool."""
        changes, crops = self.augment, 1 if self.augment is not None else self.view.crops
        rows = len(positions) if changes is not None else self._rows(self.options.share)
        data = self._buffers.take((rows, crops, 3, *self.size), self._type, self._bytes())
        draws = None if changes is None else augment.uniforms(self.options.seed, epoch, positions)

        def render(piece: slice) -> dict[int, str]:
            def rows_of(numbers: np.ndarray, sizes: np.ndarray) -> np.ndarray:
                if changes is None or draws is None:
                    return views.view_rows(sizes, self.size, self.view)
                return augment.draw_rows(changes, draws[piece][numbers], sizes, self.size)[:, None]

            bad = self._pictures.render(positions[piece], rows_of, data[piece])
            return {piece.start + number: why for number, why in bad.items()}

        futures = [self._hand_out(render, piece) for piece in self._slices(len(positions))]
        return Work(step, positions, data), futures

    def _hand_out(self, render: Callable[[slice], dict[int, str]], piece: slice) -> Future:
        if not self._all_cached:
            return self._pool.submit(render, piece)
        done: Future = Future()  # a few microseconds a picture: less than another thread costs
        done.set_result(render(piece))
        return done

    def _finish(self, work: Work, failures: list[dict[int, str]]) -> list[tuple[int, Batch, np.ndarray]]:
        """Return [(step, batch, positions)]; [] if every picture of a training batch is damaged."""
        positions, data = work.positions, work.data
        why = {k: text for failed in failures for k, text in sorted(failed.items())}
        bad = list(why)
        self._why.update({int(positions[k]): text for k, text in why.items()})
        label = np.zeros((len(data), *self._labels.shape[1:]), np.float32)
        good = np.delete(np.arange(len(positions)), bad)
        label[: len(good)] = self._labels[positions[good]]
        if bad:
            self._count_bad([int(positions[k]) for k in bad])
            data[: len(good)] = data[good]
        if self.augment is None:
            data[len(good) :] = data[0] if len(good) else 0
        elif bad and not len(good):
            return []
        else:
            data, label = data[: len(good)], label[: len(good)]
        batch = Batch(data.reshape(-1, *data.shape[2:]), label, len(good))
        return [(work.step, batch, positions[good])]

    def _count_bad(self, bad: list[int]) -> None:
        new = [position for position in bad if position not in self._bad]
        self._bad.update(new)
        if len(self._bad) > self.options.max_bad:
            most = self.options.max_bad
            raise BadRecordsError(
                None, None, f'{self._why[bad[0]]}: {len(self._bad)} such records, `max_bad` {most} allowed'
            )
        for position in new:
            self.options.report(f'{self._why[position]}: skipped')

    def close(self) -> None:
        """End the threads and close the files."""
        self._closed = True
        self._pool.shutdown()
        self.records.close()
