"""Records of face recognition, as insightface packs them: pictures, and tables without a picture.

Record 0 has no picture and two labels (first, last): the pictures are the records 1 to first - 1, and the records first
to last - 1 are identities. An identity has no picture either, and its two labels are the range of its pictures. A
picture has one label, the identity's number, or two, of which the first is that number.
Source: insightface, recognition/arcface_mxnet/image_iter.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ibnnet_mx.recordio.format import Item, RecordError, RecordFile, encode
from ibnnet_mx.recordio.framing import FRAME, HEADER

NUMBERS = 2  # labels of a table
SIDE = 112  # pixels of a face
HEADER_BYTES = FRAME.size + HEADER.size  # before the payload of a record with one label


def table(record_id: int, first: int, last: int) -> bytes:
    """Return a record without a picture that names the records from `first` on, before `last`."""
    return encode(b'', (float(first), float(last)), record_id)


def identity_ranges(numbers: list[int]) -> list[tuple[int, int]]:
    """Return (first, last) of each identity's records; numbers: of the identities of records 1, 2, ..., rising."""
    starts = [at for at, number in enumerate(numbers, 1) if at == 1 or number != numbers[at - 2]]
    return list(zip(starts, [*starts[1:], len(numbers) + 1]))


class PictureRecords:
    """Some records of a file: those that hold pictures. Used as RecordFile.

    notes: lines that say what the other records are.
    """

    def __init__(self, records: RecordFile, positions: np.ndarray, notes: list[str]) -> None:
        self._records, self._positions, self.notes = records, positions, notes
        self.path, self.ids = records.path, records.ids[positions]
        self._labels = records.labels(positions)[:, :1]

    def __len__(self) -> int:
        return len(self._positions)

    def __enter__(self) -> PictureRecords:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._records.close()

    def read(self, i: int) -> Item:
        """Return picture record `i`. Raises RecordError if it is damaged."""
        item = self._records.read(int(self._positions[i]))
        return item._replace(label=item.label[:1])

    def describe(self, i: int) -> str:
        """Return the record's place in the file."""
        return self._records.describe(int(self._positions[i]))

    def labels(self) -> np.ndarray:
        """Return float32 (n, 1), the identities' numbers."""
        return self._labels

    def spans(self, positions: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        """Return the places of the payloads; see RecordFile.spans()."""
        return self._records.spans(self._positions if positions is None else self._positions[positions])

    def announce(self, positions: np.ndarray) -> None:
        """Let the kernel fetch records that will be read soon."""
        self._records.announce(self._positions[positions])


def picture_range(records: RecordFile) -> tuple[int, int] | None:
    """Return (first, last) of record 0 if a file holds tables of faces: the pictures have the ids 1 to first - 1.

    Return None for all other files.
    """
    zero = np.flatnonzero(records.ids == 0)
    if len(zero) != 1 or len(records) < NUMBERS:
        return None
    if records.spans(zero)[3][0]:
        return None
    try:
        item = records.read(int(zero[0]))
    except RecordError:
        return None
    if item.payload or len(item.label) != NUMBERS or not all(float(label).is_integer() for label in item.label):
        return None
    first, last = (int(label) for label in item.label)
    return (first, last) if 1 < first <= last and first <= records.ids.max() + 1 else None


def open_pictures(path: Any) -> RecordFile | PictureRecords:
    """Open a .rec; of a file with tables of faces, its pictures. Raises RecordError as RecordFile does."""
    records = RecordFile(path)
    try:
        spans = picture_range(records)
        if spans is None:
            return records
        first, last = spans
        positions = np.flatnonzero((records.ids >= 1) & (records.ids < first))
        return PictureRecords(records, positions, [describe_faces(records, len(positions), last - first)])
    except BaseException:
        records.close()
        raise


def describe_faces(records: RecordFile, pictures: int, identities: int) -> str:
    """Return a line about a file with tables of faces."""
    return (
        f'{records.path} holds faces: {pictures} pictures, {identities} identities; its '
        f'{len(records) - pictures} tables without a picture are passed over'
    )
