"""RecordIO files as a whole: the records of a .rec by position, and mxnet's text index beside it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ibnnet_mx.recordio.framing import FRAME, HEAD, HEADER, Frames, Item, RecordError, encode
from ibnnet_mx.recordio.opening import head_cache
from ibnnet_mx.recordio.opening.heads import PARTS, Heads, check_lengths, ends_of, read_blocks
from ibnnet_mx.recordio.opening.index import read_columns, read_index, write_index

__all__ = ['Item', 'RecordError', 'RecordFile', 'encode', 'read_index', 'scan_records', 'write_index']


def _scan(frames: Frames) -> np.ndarray:
    offsets, at = [], 0
    while at < frames.size:
        offsets.append(at)
        at = frames.end(len(offsets) - 1, at)
    return np.array(offsets, np.int64)


def _follows(offsets: np.ndarray, end: int) -> np.ndarray:
    """Return int64 (n,): the offset that follows each one in the file."""
    order = np.argsort(offsets, kind='stable')
    follows = np.empty_like(offsets)
    follows[order] = np.append(offsets[order[1:]], end)
    return follows


def scan_records(path: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return offsets and ids, int64 (n,), of all records of a file, which needs no index. Raises RecordError for
    damage.
    """
    with RecordFile(path, index_path='') as records:
        return records.offsets, records.ids


class RecordFile:
    """The records of a .rec by position in its index, from any number of threads (os.pread shares no file position).

    If index_path is None, the .idx file beside `path` is the index. Without one, and for '', the records are found by a
    scan. Opening reads the head of every record. So truncation, and an index of another file, raise RecordError before
    anything is read. A file of many records gets a FILE.rec.heads beside it, which holds what was read. While records
    and index keep their sizes and times, the next opening takes that and looks at a few heads only. cached: False reads
    all heads in any case.

    ids (int32 or int64) and offsets (int64, bytes of the file): (n,).
    """

    def __init__(self, path: Any, index_path: Any = None, cached: bool = True) -> None:
        self.path = os.fspath(path)
        if index_path is None:
            beside = os.path.splitext(self.path)[0] + '.idx'
            index_path = beside if os.path.isfile(beside) else ''
        self._labels: np.ndarray | None = None
        self._sizes: np.ndarray | None = None
        self._frames = Frames(self.path)
        try:
            before = head_cache.load(self._frames, os.fspath(index_path)) if cached else None
            self.ids, self._heads = before or self._read_heads(os.fspath(index_path))
            self.offsets = self._heads.offsets
            if cached and before is None:
                head_cache.save(self._frames, os.fspath(index_path), self.ids, self._heads)
        except BaseException:
            self.close()
            raise
        self._labels = self._heads.plain_labels()

    def _read_heads(self, index: str) -> tuple[np.ndarray, Heads]:
        """Return ids and heads of all records, by the index, or '' by a scan."""
        if index:
            ids, offsets = read_columns(index)
            return ids, self._fit(index, offsets)
        self.offsets = _scan(self._frames)
        self._heads = Heads(self.offsets, self._frames.size)
        for first, words in read_blocks(self._frames, self.offsets):
            self._heads.put(first, words)
            for number in check_lengths(first, words)[:1]:
                self.read(int(number))
        return self.header_ids(), self._heads

    def header_ids(self) -> np.ndarray:
        """Return int64 (n,): the ids in the records' own headers, which are read anew. Raises RecordError."""
        ids = np.zeros(len(self), np.int64)
        for first, words in read_blocks(self._frames, self.offsets):
            ids[first : first + len(words)] = words[:, 4:6].copy().view('<i8')[:, 0]
        for number in np.flatnonzero(self._heads.rests == PARTS):
            ids[number] = self.read(int(number)).id
        return ids

    def _fit(self, index: str, offsets: np.ndarray) -> Heads:
        """Return the heads of the records. Raises RecordError unless the index names each record of the file once."""
        frames = self._frames
        way_out = f'{index} does not fit: delete it (a scan replaces it), or the file is truncated: pack it again'
        for number in np.flatnonzero((offsets < 0) | (offsets > frames.size - HEAD))[:1]:
            frames.fail(number, offsets[number], f'is not within the {frames.size} bytes of the file; {way_out}')
        in_order = bool((offsets[1:] >= offsets[:-1]).all())
        heads = Heads(offsets, frames.size, None if in_order else _follows(offsets, frames.size))
        short: list[int] = []
        wrong: dict[int, int] = {}  # number: where it ends
        try:
            for first, words in read_blocks(frames, offsets):
                numbers = np.arange(first, first + len(words))
                ends = ends_of(frames, offsets, first, words)
                differs = ends != heads.ends(numbers)
                wrong.update(zip(numbers[differs].tolist(), ends[differs].tolist()))
                heads.put(first, words)
                short += check_lengths(first, words).tolist()
        except RecordError as error:
            raise RecordError(f'{error}; {way_out}') from None
        if wrong:
            number = min(wrong, key=offsets.__getitem__)
            self._refuse_place(heads, number, wrong[number], way_out)
        start = 0 if in_order else int(np.argmin(offsets))
        if offsets[start] != 0:
            frames.fail(start, offsets[start], f'is the first of the index, but not of the file; {way_out}')
        for number in short[:1]:
            frames.item(number, int(offsets[number]), int(heads.sizes(np.array([number]))[0]))
        return heads

    def _refuse_place(self, heads: Heads, number: int, end: int, way_out: str) -> None:
        """Raise RecordError for a record that does not end where the next one starts."""
        (follow,), start = heads.ends(np.array([number])), int(heads.offsets[number])
        behind = 'the file ends' if start == heads.offsets.max() else 'the next record of the index starts'
        self._frames.fail(number, start, f'reaches to byte {end}, but {behind} at {follow}; {way_out}')

    @property
    def sizes(self) -> np.ndarray:
        """Return int64 (n,): the bytes that each record takes in the file."""
        if self._sizes is None:
            self._sizes = self._heads.sizes(np.arange(len(self)))
        return self._sizes

    def __len__(self) -> int:
        return len(self.offsets)

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._frames.close()

    def read(self, i: int) -> Item:
        """Return the record at position `i` of the index. Raises RecordError if it is damaged."""
        (size,) = self._heads.sizes(np.array([i if i >= 0 else i + len(self)]))
        return self._frames.item(i, int(self.offsets[i]), int(size))

    def spans(self, positions: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        """Return the places of the payloads at positions (n,), None: of all, for reading without Python.

        File descriptors, offsets of the records, the payload's start in its record, and its length. Start 0: the
        payload is in parts, which only read() puts together.
        """
        numbers = np.arange(len(self)) if positions is None else positions
        starts = HEAD + 4 * self._heads.flags_of(numbers).astype(np.int64)
        lengths = self._heads.lengths(numbers) - (starts - FRAME.size)
        whole = (self._heads.rests[numbers] != PARTS) & (lengths >= 0)
        fds = np.full(len(numbers), self._frames.fd, np.int32)
        return fds, self.offsets[numbers], np.where(whole, starts, 0), np.where(whole, lengths, 0)

    def announce(self, positions: np.ndarray) -> None:
        """Let the kernel fetch records that will be read soon: a cold disk answers many at once."""
        self._frames.announce(self.offsets[positions], self._heads.sizes(positions))

    def describe(self, i: int) -> str:
        """Return the place of the record at position `i`, for errors."""
        return f'{self.path}: record {i} (id {self.ids[i]}, byte {self.offsets[i]})'

    def labels(self, positions: np.ndarray | None = None) -> np.ndarray:
        """Return float32 (n, width), of the records at `positions` (None: of all), without reading payloads.

        Raises RecordError if the widths differ.
        """
        if positions is not None:
            return self._labels_of(positions)
        if self._labels is None:
            self._labels = self._labels_of(np.arange(len(self)))
        return self._labels

    def _labels_of(self, positions: np.ndarray) -> np.ndarray:
        heads = self._heads[positions]
        plain = (heads[:, 1] >> 29 == 0) & (heads[:, 2] == 0)
        labels = heads[:, 3:4].copy().view('<f4').astype(np.float32)
        return labels if plain.all() else self._wide_labels(positions, list(labels), plain)

    def _wide_labels(self, positions: np.ndarray, rows: list[np.ndarray], plain: np.ndarray) -> np.ndarray:
        counts, offsets = self._heads.flags_of(positions), self.offsets[positions]
        whole = (self._heads.rests[positions] != PARTS) & (
            HEADER.size + 4 * counts.astype(np.int64) <= self._heads.lengths(positions)
        )
        if whole.all() and counts.min() == counts.max():
            return self._frames.numbers(offsets + HEAD, int(counts[0]))
        for row in np.flatnonzero(~plain):
            number, start = int(positions[row]), int(offsets[row])
            if whole[row]:
                rows[row] = np.frombuffer(self._frames.take(4 * int(counts[row]), start + HEAD, number, start), '<f4')
            else:
                rows[row] = self.read(number).label
        for row in [row for row, labels in enumerate(rows) if len(labels) != len(rows[0])][:1]:
            number, wrong = int(positions[row]), f'has {len(rows[row])} labels, the first record has {len(rows[0])}'
            self._frames.fail(number, int(self.offsets[number]), wrong)
        return np.stack(rows).astype(np.float32)
