"""FILE.rec.heads: ids, offsets, labels and lengths of a file of many records, as opening found them.

It is only a copy of what records and index say. It is taken while both have the sizes and times that it names, its sum
is right, and a few heads are those of the file; else it is ignored and written anew. Where it cannot be written (a
folder that is read-only, a full disk), opening does without.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
import zlib
from typing import Any

import numpy as np

from ibnnet_mx.files import atomic
from ibnnet_mx.files.regular import open_regular
from ibnnet_mx.recordio.framing import HEAD, Frames
from ibnnet_mx.recordio.opening.heads import Heads, match_file

SUFFIX = '.heads'
LEAST = 200_000  # records; fewer are read in less than a second
SETTLED = 2.0  # seconds; a younger file may change once more without another time
MAGIC = b'ibnnet_mx heads 1\n'
# sizes and times of records and index; the records' number; bytes of an id; 1 if there are flags, 1 if follows; sum
HEADER = struct.Struct('<18s4qq3iI')


def _stamps(frames: Frames, index: str) -> tuple[int, int, int, int]:
    """Return size and time of the records and of the index, 0 and 0 without one."""
    records, other = os.fstat(frames.fd), os.stat(index) if index else None
    return records.st_size, records.st_mtime_ns, *((other.st_size, other.st_mtime_ns) if other else (0, 0))


def _bytes_of(array: np.ndarray) -> Any:
    """Return the bytes of an array without a copy."""
    return memoryview(array).cast('B')  # type: ignore[arg-type]


def _sum(header: bytes, arrays: list[np.ndarray]) -> int:
    value = zlib.crc32(header)
    for array in arrays:
        value = zlib.crc32(_bytes_of(array), value)
    return value


def _header(stamps: tuple[int, ...], ids: np.ndarray, heads: Heads, checksum: int) -> bytes:
    kinds = ids.itemsize, int(heads.flags is not None), int(heads.follows is not None)
    return HEADER.pack(MAGIC, *stamps, len(ids), *kinds, checksum)


def save(frames: Frames, index: str, ids: np.ndarray, heads: Heads) -> None:
    """Write the file beside the records, if these are many. Nothing happens if it cannot be written."""
    if len(ids) < LEAST:
        return
    path = frames.path + SUFFIX
    unfinished = f'{path}.{os.getpid()}'  # several processes may open the same records
    with contextlib.suppress(OSError):
        stamps = _stamps(frames, index)
        if time.time() - max(stamps[1], stamps[3]) / 1e9 < SETTLED:
            return
        arrays = [part for part in (ids, heads.offsets, heads.rests, heads.labels) if part is not None]
        arrays += [part for part in (heads.flags, heads.follows) if part is not None]
        checksum = _sum(_header(stamps, ids, heads, 0), arrays)
        atomic.write_file(unfinished, [_header(stamps, ids, heads, checksum), *map(_bytes_of, arrays)])
        try:
            atomic.rename(unfinished, path)
        except OSError:
            os.unlink(unfinished)


def _is_sound(heads: Heads) -> bool:
    """Return True if all records lie within the file, one behind the other. A sum can be right by intent."""
    offsets = heads.offsets
    if heads.follows is None:
        return bool(offsets[0] == 0 and offsets[-1] <= heads.end - HEAD and (np.diff(offsets) >= HEAD).all())
    return bool((offsets >= 0).all() and (heads.follows <= heads.end).all() and (heads.follows - offsets >= HEAD).all())


def load(frames: Frames, index: str) -> tuple[np.ndarray, Heads] | None:
    """Return ids and heads of the records, None if there is no file that fits them."""
    with contextlib.suppress(OSError, ValueError):
        with open(open_regular(frames.path + SUFFIX), 'rb') as file:
            header = file.read(HEADER.size)
            if len(header) < HEADER.size:
                return None
            magic, *stamps, count, id_bytes, flags, follows, checksum = HEADER.unpack(header)
            if id_bytes not in (4, 8) or {flags, follows} - {0, 1}:
                return None
            types = [np.dtype(f'i{id_bytes}'), np.dtype('i8'), np.dtype('u1'), np.dtype('f4')]
            types += [np.dtype('u4')] * flags + [np.dtype('i8')] * follows
            size = HEADER.size + count * sum(kind.itemsize for kind in types)
            if magic != MAGIC or tuple(stamps) != _stamps(frames, index) or size != os.fstat(file.fileno()).st_size:
                return None
            arrays = [np.fromfile(file, kind, count) for kind in types]
        if _sum(header[:-4] + bytes(4), arrays) != checksum:
            return None
        heads = Heads(arrays[1], frames.size, arrays[-1] if follows else None)
        heads.rests, heads.labels = arrays[2], arrays[3]
        heads.flags = arrays[4] if flags else None
        return (arrays[0], heads) if _is_sound(heads) and match_file(heads, frames) else None
    return None
