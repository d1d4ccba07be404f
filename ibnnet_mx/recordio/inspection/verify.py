"""The verification of a .rec: index, labels, and every picture decoded."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterator, NamedTuple, TextIO

import numpy as np

from ibnnet_mx.recordio import lists
from ibnnet_mx.recordio.fast import native
from ibnnet_mx.recordio.format import RecordError, RecordFile
from ibnnet_mx.recordio.opening import faces
from ibnnet_mx.recordio.packing.restart import PROGRESSIVE
from ibnnet_mx.recordio.pixels import formats
from ibnnet_mx.recordio.pixels.jpeg import FRAMES, SOI, headers
from ibnnet_mx.recordio.pixels.pictures import Complaints, PictureError, decode
from ibnnet_mx.recordio.pixels.region import BASELINE, HUFFMAN_8_BIT, layout

Progress = Callable[[int, int], None]  # records that were looked at now, all of them
CHUNK = 16  # records that a thread is given at a time
NO_LIBRARY = 'the C library is not built (ibnnet build reader), so OpenCV decodes: slower, on one core'


HEADERS_ONLY = 'index, framing, labels and ids were checked; no picture was read'


class Span(NamedTuple):
    """The least, the median and the most of some numbers."""

    least: int
    median: int
    most: int


class Report(NamedTuple):
    """The result for one file. wrong: of the file and its records, in their order; notes: odd, but it can be read.

    formats: {name: pictures}. width, height: in pixels, None if no picture could be read. pieces: JPEGs that are read
    in pieces, thanks to restart markers. labels: of each record, 0: they differ. classes: {label: pictures} of the
    first label.
    """

    path: str
    bytes: int
    records: int
    indexed: bool
    formats: dict[str, int]
    width: Span | None
    height: Span | None
    pieces: int
    labels: int
    classes: dict[int, int]
    wrong: list[str]
    notes: list[str]


class _Seen:
    """The facts about some records: formats, sizes, pieces, ids that differ from the index, and damage."""

    def __init__(self) -> None:
        self.formats: Counter[str] = Counter()
        self.sizes: list[tuple[int, int]] = []
        self.pieces = self.other_ids = 0
        self.wrong: list[str] = []


@contextlib.contextmanager
def hushed() -> Iterator[tuple[Complaints, TextIO]]:
    """Catch what decoders write to standard error. Yield these complaints, and the standard error itself."""
    fd = os.dup(2)
    try:
        complaints = Complaints()
        try:
            with os.fdopen(os.dup(fd), 'w') as screen:
                yield complaints, screen
        finally:
            os.close(complaints.fd)
    finally:
        os.dup2(fd, 2)
        os.close(fd)


def format_of(payload: bytes) -> str:
    """Return the name of an encoded picture's format."""
    if payload[:2] == SOI:
        frame = next((marker for marker, _, _ in headers(payload) if marker in FRAMES), None)
        known = {BASELINE: 'JPEG baseline', HUFFMAN_8_BIT: 'JPEG baseline', PROGRESSIVE: 'JPEG progressive'}
        return known.get(frame or 0, 'JPEG of another kind')
    other = formats.format_of(payload)
    return 'other' if other is None else other.name


class _Checker:
    """A reader of records for any number of threads; with `complaints` for one thread, which decodes by OpenCV."""

    def __init__(self, records: RecordFile, complaints: Complaints | None) -> None:
        self._records, self._complaints = records, complaints
        self._local = threading.local()

    def check_records(self, positions: np.ndarray) -> _Seen:
        """Read and decode the records at positions (n,)."""
        seen = _Seen()
        self._records.announce(positions)
        for position in positions.tolist():
            try:
                self._check_record(position, seen)
            except RecordError as error:
                seen.wrong.append(str(error))
            except PictureError as error:
                seen.wrong.append(f'{self._records.describe(position)} {error}')
        return seen

    def _check_record(self, position: int, seen: _Seen) -> None:
        item = self._records.read(position)
        seen.other_ids += item.id != self._records.ids[position]
        seen.formats[format_of(item.payload)] += 1
        seen.sizes.append(self._size(item.payload))
        seen.pieces += layout(item.payload) is not None

    def _size(self, payload: bytes) -> tuple[int, int]:
        """Return width and height of a picture. Raises PictureError if it cannot be decoded."""
        if self._complaints is None and payload[:2] == SOI:
            return self._jpeg(payload)
        height, width = decode(payload, self._complaints).shape[:2]
        return width, height

    def _jpeg(self, payload: bytes) -> tuple[int, int]:
        if not hasattr(self._local, 'decoder'):
            self._local.decoder = native.Decoder()
        wrong, width, height = native.check_jpeg(self._local.decoder, payload)
        if wrong:
            raise PictureError(wrong)
        return width, height


def _open(path: str, wrong: list[str]) -> RecordFile | None:
    """Return the records; by a scan, if the index does not fit. Mistakes of either are added to `wrong`."""
    try:
        return RecordFile(path, cached=False)
    except RecordError as error:
        wrong.append(str(error))
    try:
        return RecordFile(path, index_path='', cached=False)
    except RecordError as error:
        wrong[:] = [str(error)]  # the scan names the record at which the file ends or breaks
        return None


def _pictures(records: RecordFile, notes: list[str]) -> np.ndarray:
    """Return the positions of the records that must hold pictures: all, unless the file holds tables of faces."""
    spans = faces.picture_range(records)
    if spans is None:
        return np.arange(len(records))
    first, last = spans
    positions = np.flatnonzero((records.ids >= 1) & (records.ids < first))
    notes.append(faces.describe_faces(records, len(positions), last - first))
    return positions


def _classes(
    records: RecordFile, positions: np.ndarray, wrong: list[str], notes: list[str]
) -> tuple[int, dict[int, int]]:
    """Return how many labels the records at positions have, and {class: pictures}."""
    try:
        labels = records.labels(positions)
    except RecordError as error:
        wrong.append(str(error))
        return 0, {}
    first = labels[:, 0]
    bad = lists.no_class(first)
    for number in np.flatnonzero(bad):
        place = records.describe(int(positions[number]))
        wrong.append(f'{place} has label {first[number]:g}, no class number (0, 1, 2, ...)')
    numbers, counts = np.unique(first[~bad].astype(np.int64), return_counts=True)
    classes = dict(zip(numbers.tolist(), counts.tolist()))
    gaps = max(classes, default=-1) + 1 - len(classes)
    if gaps:
        notes.append(f'class numbers from 0 to {max(classes)} without a picture: {gaps}')
    return labels.shape[1], classes


def _span(values: np.ndarray) -> Span | None:
    return Span(int(values.min()), int(np.median(values)), int(values.max())) if len(values) else None


def _look(
    records: RecordFile, positions: np.ndarray, threads: int, complaints: Complaints | None, progress: Progress
) -> list[_Seen]:
    checker = _Checker(records, complaints)
    parts = np.array_split(positions, -(-len(positions) // CHUNK) or 1)
    results_of_chunks: list[_Seen] = []
    with ThreadPoolExecutor(threads) as pool:
        results = pool.map(checker.check_records, parts)
        try:
            for part, result in zip(parts, results):
                results_of_chunks.append(result)
                progress(len(part), len(positions))
        finally:
            results.close()  # type: ignore[attr-defined]  # chunks that have not begun never do
    return results_of_chunks


def _look_at_heads(records: RecordFile, progress: Progress) -> _Seen:
    """Compare the ids in the records' headers with the index. Opening has checked the rest of the headers."""
    seen = _Seen()
    seen.other_ids = int(np.count_nonzero(records.header_ids() != records.ids))
    progress(len(records), len(records))
    return seen


def verify_file(
    path: Any, threads: int, complaints: Complaints, progress: Progress, headers_only: bool = False
) -> Report:
    """Read and decode every record. Mistakes of the file or its index are in the Report, too.

    headers_only: no picture is read, only index, framing, labels and ids, which takes seconds for millions of records.
    """
    path, wrong, notes = os.fspath(path), [], []  # type: ignore[var-annotated]
    size, records = os.path.getsize(path), _open(path, wrong)
    if records is None:
        return Report(path, size, 0, False, {}, None, None, 0, 0, {}, wrong, notes)
    indexed = not wrong and os.path.isfile(os.path.splitext(path)[0] + '.idx')
    with records:
        alone = native.functions() is None
        if headers_only:
            notes.append(HEADERS_ONLY)
        elif alone:
            notes.append(NO_LIBRARY)
        positions = _pictures(records, notes)
        labels, classes = _classes(records, positions, wrong, notes)
        if headers_only:
            seen = [_look_at_heads(records, progress)]
        else:
            seen = _look(records, positions, 1 if alone else threads, complaints if alone else None, progress)
        double = len(records) - len(np.unique(records.ids))
        if double:
            notes.append(f'records with the id of another one, of which mxnet finds only one by it: {double}')
    other = sum(chunk.other_ids for chunk in seen)
    if other:
        notes.append(f'records with another id than the index gives them: {other}')
    formats = sum([chunk.formats for chunk in seen], Counter())
    wide, high = np.array([size for chunk in seen for size in chunk.sizes], np.int64).reshape(-1, 2).T
    pieces = sum(chunk.pieces for chunk in seen)
    wrong += [text for chunk in seen for text in chunk.wrong]
    counted = dict(formats.most_common())
    return Report(
        path, size, len(records), indexed, counted, _span(wide), _span(high), pieces, labels, classes, wrong, notes
    )
