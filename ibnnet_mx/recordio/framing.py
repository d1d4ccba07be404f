"""RecordIO files of labelled payloads, byte for byte as dmlc-core and mxnet write them.

Framing (dmlc-core `recordio.h`), little endian: magic 0xced7230a, a word of 3 bits continuation flag and 29 bits
length, the data, zeros up to a multiple of 4. Flag 0 is a whole record. Data that holds the magic at a multiple of 4
is cut there into parts with the flags 1, 2 ... 2, 3, and the magic itself is left out.
The data of an image record (mxnet `recordio.py`) start with uint32 flag, float32 label, uint64 id, uint64 id2;
flag > 0 means that many float32 labels follow, in place of the one in the header.
"""

from __future__ import annotations

import os
import struct
from typing import Any, Iterable, NamedTuple, NoReturn

import numpy as np

from ibnnet_mx.files.regular import open_regular

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack('<I', MAGIC)
FRAME = struct.Struct('<II')
HEADER = struct.Struct('<IfQQ')
HEAD = FRAME.size + HEADER.size  # bytes before the labels or the payload of a whole record; no record is smaller
MAX_PART = 1 << 29
READ_AHEAD = 512  # records that are announced to the kernel before they are read: cold disks answer them together


class RecordError(ValueError):
    """A RecordIO file or its index is missing, damaged or of another file; the text names file and record."""


class Item(NamedTuple):
    """A record: its labels, float32 (width,), its id, and its payload, an encoded picture."""

    label: np.ndarray  # float32 (width,)
    id: int
    payload: bytes


def padded(length: int) -> int:
    """Return a length rounded up to a multiple of 4."""
    return (length + 3) & ~3


def encode(payload: bytes, label: Any, record_id: int) -> bytes:
    """Return the framed record. label: a number or a sequence of numbers. Raises ValueError for what the format cannot
    hold.
    """
    labels = np.asarray(label, '<f4').reshape(-1)
    if not labels.size:
        raise ValueError(f'record {record_id} has no label')
    if not 0 <= record_id < 1 << 64:
        raise ValueError(f'record id {record_id} does not fit 64 bits')
    if labels.size == 1:
        data = HEADER.pack(0, labels[0], record_id, 0) + payload
    else:
        data = HEADER.pack(labels.size, 0, record_id, 0) + labels.tobytes() + payload
    if len(data) >= MAX_PART:
        raise ValueError(f'record {record_id} has {len(data)} bytes, the format ends at {MAX_PART - 1}')
    return frame(data)


def frame(data: bytes) -> bytes:
    """Return a record of less than MAX_PART bytes, in parts if it holds the magic at a multiple of 4."""
    cuts = _aligned_magics(data)
    if not cuts:
        return FRAME.pack(MAGIC, len(data)) + data + bytes(padded(len(data)) - len(data))
    parts, start = [], 0
    for stop in cuts + [len(data)]:
        flag = 1 if start == 0 else 3 if stop == len(data) else 2
        parts += [FRAME.pack(MAGIC, flag << 29 | stop - start), data[start:stop]]
        start = stop + 4
    return b''.join(parts) + bytes(padded(len(data)) - len(data))


def _aligned_magics(data: bytes) -> list[int]:
    cuts, at = [], data.find(MAGIC_BYTES)
    while at >= 0:
        if at % 4 == 0:
            cuts.append(at)
        at = data.find(MAGIC_BYTES, at + 1)
    return cuts


class Frames:
    """An open .rec: frames and records by byte offset. `number` in the methods is for the text of an error."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.fd = open_regular(path)
        except OSError as error:
            raise RecordError(f'{path}: cannot open the records: {error.strerror}') from None
        try:
            self.size = os.fstat(self.fd).st_size
            if self.size == 0:
                raise RecordError(f'{path} is empty: pack it again')
            os.pread(self.fd, 1, 0)
        except OSError as error:
            self.close()
            raise RecordError(f'{path}: cannot read the records: {error.strerror}') from None
        except RecordError:
            self.close()
            raise

    def __del__(self) -> None:
        if hasattr(self, 'fd'):
            self.close()

    def close(self) -> None:
        """Close the file."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def fail(self, number: int, at: int, text: str) -> NoReturn:
        """Raise RecordError for a record, with the name of the file."""
        raise RecordError(f'{self.path}: record {number} at byte {at}: {text}')

    def take(self, count: int, at: int, number: int, start: int) -> bytes:
        """Return `count` bytes at an offset. Raises RecordError if they cannot be read, or the file ends before."""
        try:
            data = os.pread(self.fd, count, at)
        except OSError as error:
            self.fail(number, start, f'cannot be read: {error.strerror}')
        if len(data) < count:
            self.fail(number, start, f'is cut off by the end of the file at byte {self.size}: the file is truncated')
        return data

    def frame(self, head: bytes, number: int, start: int, first: bool) -> tuple[int, int]:
        """Return flag and length of the part whose first 8 bytes are `head`."""
        magic, word = FRAME.unpack_from(head)
        if magic != MAGIC:
            self.fail(number, start, f'has 0x{magic:08x} where the magic number 0x{MAGIC:08x} must be')
        flag = word >> 29
        if (flag not in (0, 1)) if first else (flag not in (2, 3)):
            self.fail(number, start, f'has continuation flag {flag} in its {"first" if first else "next"} part')
        return flag, word & (MAX_PART - 1)

    def end(self, number: int, start: int) -> int:
        """Return the offset behind the record at `start`. It follows the parts and reads only their heads."""
        at, first = start, True
        while True:
            flag, length = self.frame(self.take(8, at, number, start), number, start, first)
            at += 8 + padded(length)
            if at > self.size:
                self.fail(number, start, f'is cut off by the end of the file at byte {self.size}: it reaches to {at}')
            if flag in (0, 3):
                return at
            first = False

    def data(self, number: int, start: int, size: int) -> bytes:
        """Return the joined parts of the record that takes `size` bytes of the file."""
        raw = self.take(size, start, number, start)
        flag, length = self.frame(raw, number, start, True)
        if flag == 0:
            if 8 + length > size:
                self.fail(number, start, f'has length {length} where the file has room for {size - 8}')
            return raw[8 : 8 + length]
        parts, at = [raw[8 : 8 + length]], 8 + padded(length)
        while flag != 3:
            if at + 8 > size:
                self.fail(number, start, 'ends before its last part')
            flag, length = self.frame(raw[at : at + 8], number, start, False)
            parts.append(raw[at + 8 : at + 8 + length])
            at += 8 + padded(length)
        if at > size:
            self.fail(number, start, f'has parts of {at} bytes where the file has room for {size}')
        return MAGIC_BYTES.join(parts)

    def item(self, number: int, start: int, size: int) -> Item:
        """Return the record that takes `size` bytes of the file. Raises RecordError if its labels do not fit."""
        data = self.data(number, start, size)
        if len(data) < HEADER.size:
            self.fail(number, start, f'has {len(data)} bytes, less than the {HEADER.size} of an image record header')
        flag, label, record_id, _ = HEADER.unpack_from(data)
        begin = HEADER.size + 4 * flag
        if begin > len(data):
            self.fail(number, start, f'has {len(data)} bytes, too few for the {flag} labels that its header promises')
        labels = np.frombuffer(data, '<f4', flag, HEADER.size).astype(np.float32) if flag else np.array([label], 'f4')
        return Item(labels, record_id, data[begin:])

    def numbers(self, offsets: np.ndarray, width: int) -> np.ndarray:
        """Return float32 (n, width): the numbers at offsets. Raises RecordError if the file has become shorter."""
        size, fd = 4 * width, self.fd
        data = b''.join([os.pread(fd, size, at) for at in offsets.tolist()])
        if len(data) != size * len(offsets):
            raise RecordError(f'{self.path} has become shorter while it was read')
        return np.frombuffer(data, '<f4').reshape(-1, width).astype(np.float32)

    def announce(self, offsets: Iterable[int], sizes: Iterable[int]) -> None:
        """Tell the kernel which records will be read."""
        if hasattr(os, 'posix_fadvise'):
            for at, size in zip(offsets, sizes):
                os.posix_fadvise(self.fd, int(at), int(size), os.POSIX_FADV_WILLNEED)
