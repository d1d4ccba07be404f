"""Several .rec files read as one."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from ibnnet_mx.recordio.format import Item, RecordError, RecordFile
from ibnnet_mx.recordio.opening.faces import PictureRecords, open_pictures


class Shards:
    """The records of several files, one file behind the other. Used as RecordFile.

    Raises RecordError if a file cannot be opened, or if their labels have different widths.
    """

    def __init__(self, paths: Sequence[Any]) -> None:
        self._files: list[RecordFile | PictureRecords] = []
        try:
            for path in paths:
                self._files.append(open_pictures(path))
            first = self._files[0].labels().shape[1]
            for file in self._files:
                if file.labels().shape[1] != first:
                    width = file.labels().shape[1]
                    raise RecordError(
                        f'{file.path}: its records have {width} labels, {self._files[0].path} has {first}'
                    )
        except BaseException:
            self.close()
            raise
        self.path = ', '.join(file.path for file in self._files)
        self.first = self._files[0].path
        self.notes = [note for file in self._files for note in getattr(file, 'notes', ())]
        self.ids = np.concatenate([file.ids for file in self._files])
        self._starts = np.cumsum([0] + [len(file) for file in self._files])

    def __len__(self) -> int:
        return len(self.ids)

    def __enter__(self) -> Shards:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def _at(self, i: int) -> tuple[RecordFile | PictureRecords, int]:
        number = int(np.searchsorted(self._starts, i, 'right')) - 1
        return self._files[number], i - int(self._starts[number])

    def read(self, i: int) -> Item:
        """Return the record at position `i` of all files. Raises RecordError if it is damaged."""
        file, position = self._at(i)
        return file.read(position)

    def describe(self, i: int) -> str:
        """Return the file and the record's place in it."""
        file, position = self._at(i)
        return file.describe(position)

    def labels(self) -> np.ndarray:
        """Return float32 (n, width)."""
        return np.concatenate([file.labels() for file in self._files])

    def spans(self, positions: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        """Return the places of the payloads at positions, None: of all; see RecordFile.spans()."""
        if positions is None:
            return tuple(np.concatenate(part) for part in zip(*[file.spans() for file in self._files]))
        parts = [np.zeros(len(positions), kind) for kind in (np.int32, np.int64, np.int64, np.int64)]
        for file, start, stop in zip(self._files, self._starts, self._starts[1:]):
            inside = (positions >= start) & (positions < stop)
            for part, values in zip(parts, file.spans(positions[inside] - start)):
                part[inside] = values
        return tuple(parts)

    def announce(self, positions: np.ndarray) -> None:
        """Let the kernel fetch records that will be read soon."""
        for file, start, stop in zip(self._files, self._starts, self._starts[1:]):
            file.announce(positions[(positions >= start) & (positions < stop)] - start)
