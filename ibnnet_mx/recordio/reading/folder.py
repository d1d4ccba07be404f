"""Pictures in class folders, read like the records of a .rec."""

from __future__ import annotations

import glob
import os
from typing import Any

import numpy as np

from ibnnet_mx.files.regular import read_regular
from ibnnet_mx.recordio import folders
from ibnnet_mx.recordio.format import Item, RecordError, RecordFile
from ibnnet_mx.recordio.opening.faces import PictureRecords, open_pictures
from ibnnet_mx.recordio.pixels.pictures import MAX_BYTES, SUFFIXES
from ibnnet_mx.recordio.reading.shards import Shards


class FolderRecords:
    """The pictures of CLASS/x.jpg, or of the validation side of train/CLASS/x.jpg, val/CLASS/y.jpg. Used as RecordFile.

    Labels are the numbers of `classes`, the sorted names of the classes of both sides. notes: what was left out. Raises
    SourceError for a folder without such pictures.
    """

    def __init__(self, path: Any) -> None:
        self.path = os.fspath(path)
        source = folders.from_folder(self.path, 'none')
        self.classes, self.notes = source.classes, source.notes
        self._samples, self._store = source.val or source.train, source.store
        if source.one_sided:
            self.notes = [*self.notes, 'there is no validation side: the pictures of train/ are read']
        self.ids = np.arange(len(self._samples))

    def __len__(self) -> int:
        return len(self._samples)

    def __enter__(self) -> FolderRecords:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Do nothing, because nothing is held open."""

    def _labels(self, i: int) -> np.ndarray:
        return np.array(self._samples[i].labels, np.float32)

    def read(self, i: int) -> Item:
        """Return the file of picture `i` as a record. Raises RecordError if it cannot be read."""
        try:
            return Item(self._labels(i), i, read_regular(self.describe(i), MAX_BYTES))
        except OSError as error:
            raise RecordError(f'{self.describe(i)} cannot be read: {error.strerror}') from None

    def spans(self, positions: np.ndarray | None = None) -> None:
        """Return None, because each picture is a file of its own."""

    def announce(self, positions: np.ndarray) -> None:
        """Do nothing, because the files are opened one by one."""

    def describe(self, i: int) -> str:
        """Return the picture's path."""
        return os.path.join(self._store.root, self._samples[i].key)

    def labels(self) -> np.ndarray:
        """Return float32 (n, 1)."""
        return np.stack([self._labels(i) for i in range(len(self))])


def open_records(path: Any) -> RecordFile | PictureRecords | Shards | FolderRecords:
    """Open the pictures of a .rec file, of several (a sequence of paths, or a pattern such as train_*.rec), or of a
    folder.

    Raises RecordError if a pattern names no file.
    """
    if isinstance(path, (list, tuple)):
        if not path:
            raise RecordError('no record files: name at least one .rec')
        return open_pictures(path[0]) if len(path) == 1 else Shards(path)
    if os.path.isdir(path):
        return FolderRecords(path)
    name = os.fspath(path)
    if any(sign in name for sign in '*?[') and not os.path.exists(name):
        paths = sorted(glob.glob(name))
        if not paths:
            raise RecordError(f'{name}: no file is named so')
        return open_records(paths)
    if name.endswith('.lst'):
        raise RecordError(f'{name} is a list of pictures: name the .rec beside it')
    if name.lower().endswith(SUFFIXES):
        raise RecordError(f'{name} is a picture: name a folder with a folder for each class')
    return open_pictures(path)
