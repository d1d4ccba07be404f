"""The public Loader: batches of numpy arrays from .rec files, for any framework."""

from __future__ import annotations

import os
import warnings
from typing import Any, Iterator, NamedTuple

import numpy as np

from ibnnet_mx.recordio import lists
from ibnnet_mx.recordio.fast import native
from ibnnet_mx.recordio.pixels.augment import Augment
from ibnnet_mx.recordio.pixels.view import View, choose_view
from ibnnet_mx.recordio.reading import checks
from ibnnet_mx.recordio.reading.folder import FolderRecords
from ibnnet_mx.recordio.reading.options import Options
from ibnnet_mx.recordio.reading.reader import RAW, Batch, Reader
from ibnnet_mx.recordio.reading.shards import Shards
from ibnnet_mx.size import MAX_SIDE, Pixels, Size

BLOCK = 1 << 20  # labels that are looked at together, which saves memory


class Place(NamedTuple):
    """The place of a Loader: its next batch is number `step` of `epoch`."""

    epoch: int
    step: int


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=2)


def _are_classes(labels: np.ndarray) -> bool:
    """Return True if all labels are whole numbers."""
    return bool((labels == np.floor(labels)).all()) and bool(np.isfinite(labels).all())


def _again(made_of: dict[str, Any], place: Place) -> Loader:
    loader = Loader(**made_of)
    loader.place = place
    return loader


class Loader:
    """An iterable of batches: for images, labels in Loader('train.rec', 256, augment=Augment()) is one epoch.

    images: (n, 3, height, width), RGB; float32 (value - mean) / std, or uint8 as they are. labels: int64 (n,) if all of
    them are class numbers, else float32, (n, label_width) for more than one. path: a .rec, several, a pattern such as
    'train_*.rec', or a folder of class folders. size: of the images, a side such as 224, or (height, width).

    augment: random changes of the pictures, and a new order each epoch. None: the central crop, in the order of the
    file; `resize` brings the short side to a size first. The files of a folder are brought to size in any case, as
    ibnnet evaluate does it. The last batch is smaller.

    The stream depends on seed and epoch alone. `place` may be stored and set, so that a run goes on inside an epoch.
    share=(rank, workers) does the work of torch's DistributedSampler, with batch_size for all workers together.
    sampler: decides which records a batch holds (recordio.reading.sampler).

    `classes` are the names of the classes, in the order of their numbers: of the folder, or of synset.txt beside the
    records; [] if there are none. Other arguments of Loader(...) are the fields of Options:
    help(ibnnet_mx.recordio.Options).

    An array that was handed out is never written to again. Raises ValueError, which names the argument, and
    RecordError, which names file and record.
    """

    def __init__(
        self,
        path: Any,
        batch_size: int,
        size: Pixels = 224,
        augment: Augment | None = None,
        normalise: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
        dtype: str = 'float32',
        resize: int | None = None,
        **options: Any,
    ) -> None:
        """Open the records. normalise: mean and std of each plane in 0..255; options: fields of recordio.Options."""
        given = dict(path=path, batch_size=batch_size, size=size, augment=augment, normalise=normalise, dtype=dtype)
        self._made_of = dict(given, resize=resize, **options)
        if dtype not in ('float32', 'uint8'):
            raise ValueError(f"dtype {dtype!r} must be 'float32' or 'uint8'")
        if dtype == 'uint8' and normalise is not None:
            raise ValueError('normalise gives numbers that uint8 cannot hold: normalise later, or take float32')
        unknown = sorted(set(options) - set(Options._fields))
        if unknown:
            raise ValueError(f'no such option: {", ".join(unknown)}; there are {", ".join(Options._fields)}')
        if resize is not None:
            checks.check_whole('resize', resize, max(Size.of(size, 'size')), MAX_SIDE)
            if augment is not None:
                raise ValueError(f'resize {resize} is for augment=None: training takes the records as they are')
        packed = not (isinstance(path, (str, os.PathLike)) and os.path.isdir(path))
        view = choose_view(size, resize, 1, packed) if augment is None else View()
        if native.functions() is None and os.environ.get('IBNNET_MX_NATIVE') != '0':
            warnings.warn(native.about(), stacklevel=2)
        normalisation = None if dtype == 'uint8' else RAW if normalise is None else normalise
        wanted = Options(**{'report': _warn, **options})
        self._reader = Reader(path, size, batch_size, augment, normalisation, wanted, view)
        if wanted.limit is not None:
            checks.check_whole('limit', wanted.limit, 1, len(self._reader.records))
        labels = self._reader.labels()
        self._whole = labels.ndim == 1 and all(map(_are_classes, np.array_split(labels, -(-len(labels) // BLOCK))))
        self.place = Place(0, 0)

    def __len__(self) -> int:
        """Return the batches of an epoch."""
        return self._reader.steps

    @property
    def count(self) -> int:
        """Return the pictures of an epoch, over all shares."""
        return self._reader.count

    @property
    def classes(self) -> list[str]:
        """Return the names of the classes; [] if the records come without them."""
        records = self._reader.records
        if isinstance(records, FolderRecords):
            return list(records.classes)
        return lists.read_synset(os.path.dirname(records.first if isinstance(records, Shards) else records.path))

    def labels(self) -> np.ndarray:
        """Return float32 (n,) or (n, label_width), in the order of the records."""
        return self._reader.labels()

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the rest of the epoch in which the loader stands. Behind it the place is the start of the next
        epoch.
        """
        epoch, step = self.place
        checks.check_whole('place: epoch', epoch, 0)
        checks.check_whole('place: step', step, 0, len(self))
        for number, batch in self._reader.numbered(epoch, step):
            self.place = Place(epoch, number + 1)
            yield self._pair(batch)
        self.place = Place(epoch + 1, 0)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the batches of an epoch from step `start` on, whatever came before."""
        for _, batch in self._reader.numbered(epoch, start):
            yield self._pair(batch)

    def _pair(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        labels = batch.label[: batch.real]
        return batch.data[: batch.real], labels.astype(np.int64) if self._whole else labels

    def close(self) -> None:
        """End the threads and close the files."""
        self._reader.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how another process makes the same Loader: it opens the files anew, and stands at the same place."""
        return _again, (self._made_of, self.place)

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
