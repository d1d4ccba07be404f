"""The heads of a file's records, 32 bytes each: read in blocks, checked, and kept in few bytes a record.

14 million records have 450 MB of heads. What a reader needs of them is 19 bytes a record: the offset, the label, and
how many zeros fill the record up to a multiple of 4. The length follows from the next record's offset.
"""

from __future__ import annotations

import os
from typing import Any, Iterator

import numpy as np

from ibnnet_mx.recordio.fast import native
from ibnnet_mx.recordio.framing import FRAME, HEAD, HEADER, MAGIC, READ_AHEAD, Frames, padded

BLOCK = 1 << 14  # records whose heads are in memory at once
NEAR = 1 << 12  # bytes from a record to the next; nearer ones are read together
TOGETHER = 1 << 20  # bytes
PARTS = 255  # in place of the zeros' number: the record is in parts
PART_FLAG = 1 << 29
FEW = 64  # records that match_file() looks at


class Heads:
    """The heads of the records at `offsets` int64 (n,), of a file of `end` bytes.

    rests: uint8 (n,), the zeros behind each record, or PARTS. labels: float32 (n,), those in the headers. flags: uint32
    (n,), counts of labels behind the headers; None if all are 0. follows: int64 (n,), where each record ends; None if
    it is the next one's offset. heads[positions] is uint32 (k, 4): magic number, length and kind, flag, label.
    """

    def __init__(self, offsets: np.ndarray, end: int, follows: np.ndarray | None = None) -> None:
        self.offsets, self.end, self.follows = offsets, end, follows
        self.rests = np.zeros(len(offsets), np.uint8)
        self.labels = np.zeros(len(offsets), np.float32)
        self.flags: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.offsets)

    def put(self, first: int, words: np.ndarray) -> None:
        """Keep heads uint32 (k, 8) of the records from `first` on."""
        place = slice(first, first + len(words))
        self.rests[place] = np.where(words[:, 1] < PART_FLAG, -words[:, 1].astype(np.int64) & 3, PARTS)
        self.labels[place] = words[:, 3].copy().view('<f4')
        if self.flags is None and words[:, 2].any():
            self.flags = np.zeros(len(self), np.uint32)
        if self.flags is not None:
            self.flags[place] = words[:, 2]

    def ends(self, positions: np.ndarray) -> np.ndarray:
        """Return int64 (k,): where the records at positions end."""
        if self.follows is not None:
            return self.follows[positions]
        behind = np.minimum(positions + 1, len(self) - 1)
        return np.where(positions + 1 == len(self), self.end, self.offsets[behind])

    def sizes(self, positions: np.ndarray) -> np.ndarray:
        """Return int64 (k,): the bytes that the records at positions take in the file."""
        return self.ends(positions) - self.offsets[positions]

    def flags_of(self, positions: np.ndarray) -> np.ndarray:
        """Return uint32 (k,): how many labels stand behind the headers at positions."""
        return np.zeros(len(positions), np.uint32) if self.flags is None else self.flags[positions]

    def lengths(self, positions: np.ndarray) -> np.ndarray:
        """Return int64 (k,): the bytes of data of whole records; of records in parts a number that means nothing."""
        return self.sizes(positions) - FRAME.size - (self.rests[positions] & 3)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple):
            number, column = key
            return self[np.array([number])][0, column]
        words = np.empty((len(key), 4), np.uint32)
        words[:, 0], words[:, 2] = MAGIC, self.flags_of(key)
        words[:, 1] = np.where(self.rests[key] == PARTS, PART_FLAG, self.lengths(key) & (PART_FLAG - 1))
        words[:, 3] = self.labels[key].view(np.uint32)
        return words

    def plain_labels(self) -> np.ndarray | None:
        """Return float32 (n, 1) if every record is whole and has the one label of its header; else None."""
        return self.labels[:, None] if self.flags is None and not (self.rests == PARTS).any() else None


def read_blocks(frames: Frames, offsets: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the number of a block's first record, and uint32 (k, 8): the first 32 bytes of each record of the block.

    Raises RecordError for a record without the magic number, or with a kind that no record begins with.
    """
    for first in range(0, len(offsets), BLOCK):
        some_offsets = np.ascontiguousarray(offsets[first : first + BLOCK])
        words = _read(frames, some_offsets)
        if words is None:
            for number, at in enumerate(some_offsets.tolist(), first):
                frames.take(HEAD, at, number, at)
            frames.fail(first, int(some_offsets[0]), 'cannot be read: the file changes while it is read')
        for number in np.flatnonzero((words[:, 0] != MAGIC) | (words[:, 1] >> 29 > 1))[:1]:
            frames.frame(words[number].tobytes(), first + int(number), int(some_offsets[number]), True)
        yield first, words


def _read(frames: Frames, offsets: np.ndarray) -> np.ndarray | None:
    """Return uint32 (k, 8) of the heads at offsets, None if one of them cannot be read."""
    gap = int(offsets[-1] - offsets[0]) // len(offsets)
    if 0 <= gap <= NEAR and (offsets[1:] > offsets[:-1]).all() and not (offsets & 3).any():
        return _read_together(frames, offsets, max(TOGETHER // (gap + HEAD), 1))
    words = np.empty((len(offsets), HEAD // 4), '<u4')
    if native.functions() is not None:
        return words if native.read_heads(frames.fd, offsets, words) else None
    for first in range(0, len(offsets), READ_AHEAD):
        starts = offsets[first : first + READ_AHEAD].tolist()
        frames.announce(starts, [HEAD] * len(starts))
        try:
            data = b''.join([os.pread(frames.fd, HEAD, at) for at in starts])
        except OSError:
            return None
        if len(data) != HEAD * len(starts):
            return None
        words[first : first + len(starts)] = np.frombuffer(data, '<u4').reshape(-1, HEAD // 4)
    return words


def _read_together(frames: Frames, offsets: np.ndarray, step: int) -> np.ndarray | None:
    """Return the heads of records that lie near each other, `step` at a time. The bytes between them are read, too."""
    words = np.empty((len(offsets), HEAD // 4), '<u4')
    for first in range(0, len(offsets), step):
        places = offsets[first : first + step]
        start, size = int(places[0]), int(places[-1] - places[0]) + HEAD
        try:
            data = os.pread(frames.fd, size, start)
        except OSError:
            return None
        if len(data) < size:
            return None
        at = (places - start) // 4
        whole = np.frombuffer(data, '<u4')
        for column in range(HEAD // 4):
            words[first : first + step, column] = whole[at + column]
    return words


def match_file(heads: Heads, frames: Frames) -> bool:
    """Return True if the heads are those of the file, by FEW records of it, the first and the last among them."""
    if heads.end != frames.size or not len(heads):
        return False
    last = int(np.argmax(heads.offsets)) if heads.follows is not None else len(heads) - 1
    numbers = np.unique(np.append(np.linspace(0, len(heads) - 1, FEW).astype(np.int64), last))
    for number in numbers.tolist():
        known = heads[np.array([number])][0]
        data = os.pread(frames.fd, HEAD, int(heads.offsets[number]))
        words = np.frombuffer(data, '<u4') if len(data) == HEAD else np.zeros(HEAD // 4, '<u4')
        in_parts = known[1] == PART_FLAG
        if words[0] != MAGIC or words[1] >> 29 != known[1] >> 29 or words[2] != known[2] or words[3] != known[3]:
            return False
        if not in_parts and words[1] != known[1]:
            return False
    return True


def check_lengths(first: int, words: np.ndarray) -> np.ndarray:
    """Return the numbers of records of a block that are too short for the header of a picture."""
    return first + np.flatnonzero((words[:, 1] < PART_FLAG) & (words[:, 1] < HEADER.size))


def ends_of(frames: Frames, offsets: np.ndarray, first: int, words: np.ndarray) -> np.ndarray:
    """Return int64 (k,): where the records of a block end, by their own lengths. Raises RecordError for damage."""
    lengths = (words[:, 1] & (PART_FLAG - 1)).astype(np.int64)
    ends = offsets[first : first + len(words)] + FRAME.size + padded(lengths)  # type: ignore[arg-type]
    for number in np.flatnonzero(words[:, 1] >= PART_FLAG):
        ends[number] = frames.end(first + int(number), int(offsets[first + number]))
    return ends
