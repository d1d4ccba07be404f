"""RecordIO files as a whole: the records of a .rec by position, and mxnet's text index beside it."""

from __future__ import annotations

import os
from typing import Any, Iterable

import numpy as np

from ibnnet_mx.files import atomic
from ibnnet_mx.recordio.framing import FRAME, HEAD, HEADER, Frames, Item, RecordError, encode

__all__ = ['Item', 'RecordError', 'RecordFile', 'encode', 'read_index', 'scan_records', 'write_index']


def _scan(frames: Frames) -> np.ndarray:
    offsets, at = [], 0
    while at < frames.size:
        offsets.append(at)
        at = frames.end(len(offsets) - 1, at)
    return np.array(offsets, np.int64)


def scan_records(path: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return offsets and ids, int64 (n,), of all records of a file, which needs no index. Raises RecordError for
    damage.
    """
    with RecordFile(path, index_path='') as records:
        return records.offsets, records.ids


def write_index(path: Any, ids: Iterable[int], offsets: Iterable[int]) -> None:
    """Write mxnet's text index, a line `id<tab>offset` for each record, whole or not at all."""
    atomic.write_file(path, (f'{int(key)}\t{int(at)}\n'.encode() for key, at in zip(ids, offsets)))


def read_index(path: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and offsets, int64 (n,), in the order of the index's lines."""
    try:
        with open(path, 'rb') as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise RecordError(f'{path}: cannot open the index: {error.strerror}') from None
    pairs = np.empty((len(lines), 2), np.int64)
    for number, line in enumerate(lines):
        try:
            key, at = line.split()
            pairs[number] = int(key), int(at)
        except (ValueError, OverflowError):
            text = line[:40].decode('utf-8', 'replace')
            raise RecordError(f'{path}: line {number + 1} is {text!r}, not "id<tab>offset": delete the index') from None
    if not lines:
        raise RecordError(f'{path}: the index is empty: delete it, then the records are found by a scan')
    return pairs[:, 0].copy(), pairs[:, 1].copy()


class RecordFile:
    """The records of a .rec by position in its index, from any number of threads (os.pread shares no file position).

    If index_path is None, the .idx file beside `path` is the index. Without one, and for '', the records are found by a
    scan. Opening reads the head of every record (about 0.1 s for 50,000). So truncation, and an index of another file,
    raise RecordError before anything is read. ids, offsets, sizes: int64 (n,), of the records; the last two in bytes of
    the file.
    """

    def __init__(self, path: Any, index_path: Any = None) -> None:
        self.path = os.fspath(path)
        if index_path is None:
            beside = os.path.splitext(self.path)[0] + '.idx'
            index_path = beside if os.path.isfile(beside) else ''
        self._labels: np.ndarray | None = None
        self._frames = Frames(self.path)
        try:
            if index_path:
                self.ids, self.offsets = read_index(index_path)
                self._heads, self.sizes = self._fit(os.fspath(index_path))
            else:
                self.offsets = _scan(self._frames)
                self._heads = self._frames.heads(self.offsets)
                self.sizes = np.diff(self.offsets, append=self._frames.size)
            short = (self._heads[:, 1] >> 29 == 0) & (self._heads[:, 1] < HEADER.size)
            for number in np.flatnonzero(short)[:1]:
                self.read(number)
            if not index_path:
                self.ids = self._header_ids()
        except BaseException:
            self.close()
            raise

    def _fit(self, index: str) -> tuple[np.ndarray, np.ndarray]:
        """Return heads and sizes of the records. Raises RecordError unless the index names each record of the file
        once.
        """
        frames, offsets = self._frames, self.offsets
        way_out = f'{index} does not fit: delete it (a scan replaces it), or the file is truncated: pack it again'
        for number in np.flatnonzero((offsets < 0) | (offsets > frames.size - HEAD))[:1]:
            frames.fail(number, offsets[number], f'is not within the {frames.size} bytes of the file; {way_out}')
        try:
            heads = frames.heads(offsets)
            ends = offsets + 8 + (heads[:, 1].astype(np.int64) + 3 & ~3)
            for number in np.flatnonzero(heads[:, 1] >> 29):
                ends[number] = frames.end(int(number), int(offsets[number]))
        except RecordError as error:
            raise RecordError(f'{error}; {way_out}') from None
        order = np.argsort(offsets, kind='stable')
        follows = np.append(offsets[order[1:]], frames.size)
        for at in np.flatnonzero(ends[order] != follows)[:1]:
            number, follow = order[at], follows[at]
            behind = 'the file ends' if at == len(order) - 1 else 'the next record of the index starts'
            frames.fail(number, offsets[number], f'reaches to byte {ends[number]}, but {behind} at {follow}; {way_out}')
        if offsets[order[0]] != 0:
            frames.fail(order[0], offsets[order[0]], f'is the first of the index, but not of the file; {way_out}')
        return heads, ends - offsets

    def _header_ids(self) -> np.ndarray:
        ids = self._heads[:, 4:6].copy().view('<i8').reshape(-1).astype(np.int64)
        for number in np.flatnonzero(self._heads[:, 1] >> 29):
            ids[number] = self.read(number).id
        return ids

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
        return self._frames.item(i, int(self.offsets[i]), int(self.sizes[i]))

    def spans(self) -> tuple[np.ndarray, ...]:
        """Return the place of each payload, for reading without Python, by position (n,).

        File descriptors, offsets of the records, the payload's start in its record, and its length. Start 0: the
        payload is in parts, which only read() puts together.
        """
        starts = HEAD + 4 * self._heads[:, 2].astype(np.int64)
        lengths = self._heads[:, 1].astype(np.int64) - (starts - FRAME.size)
        whole = (self._heads[:, 1] >> 29 == 0) & (lengths >= 0)
        fds = np.full(len(self.offsets), self._frames.fd, np.int32)
        return fds, self.offsets, np.where(whole, starts, 0), np.where(whole, lengths, 0)

    def announce(self, positions: np.ndarray) -> None:
        """Let the kernel fetch records that will be read soon: a cold disk answers many at once."""
        self._frames.announce(self.offsets[positions], self.sizes[positions])

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
        for row in np.flatnonzero(~plain):
            number = int(positions[row])
            flag, start = int(self._heads[number, 2]), int(self.offsets[number])
            whole = self._heads[number, 1] >> 29 == 0
            if whole and HEADER.size + 4 * flag <= self._heads[number, 1]:
                rows[row] = np.frombuffer(self._frames.take(4 * flag, start + HEAD, number, start), '<f4')
            else:
                rows[row] = self.read(number).label
        for row in [row for row, labels in enumerate(rows) if len(labels) != len(rows[0])][:1]:
            number, wrong = int(positions[row]), f'has {len(rows[row])} labels, the first record has {len(rows[0])}'
            self._frames.fail(number, int(self.offsets[number]), wrong)
        return np.stack(rows).astype(np.float32)
