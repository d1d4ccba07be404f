"""Restart markers for JPEGs that are packed already: without loss, picture by picture or a .rec file at a time."""

from __future__ import annotations

import ctypes
from typing import Any, Iterator

import numpy as np

from ibnnet_mx.recordio import native
from ibnnet_mx.recordio.pictures import PictureError
from ibnnet_mx.recordio.region import DRI, FRAMES, SOS

NOT_BUILT = 'restart markers are written in C, which is not built here: python -m ibnnet_mx.recordio.build'


def _library() -> Any:
    """ValueError where the C library is not built."""
    found = native.library()
    if found is None:
        raise ValueError(NOT_BUILT)
    return found


def headers(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and contents of each header of a JPEG, up to that of its first scan; nothing of what is no JPEG."""
    at = 2 if payload[:2] == b'\xff\xd8' else len(payload)
    while at + 4 <= len(payload) and payload[at] == 0xFF:
        marker, length = payload[at + 1], payload[at + 2] << 8 | payload[at + 3]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        yield marker, payload[at + 4 : at + 2 + length]
        if marker == SOS or length < 2:
            return
        at += 2 + length


def interval_of(payload: bytes) -> int:
    """MCUs between the restart markers of a JPEG; 0: it has none, or is no JPEG."""
    found = [int.from_bytes(data, 'big') for marker, data in headers(payload) if marker == DRI and len(data) == 2]
    return found[-1] if found else 0


def best_interval(payload: bytes) -> int:
    """The largest of 3, 2, 1 that divides the row of MCUs; these are 8 pixels wide times the sampling of brightness.

    A reader then decodes only the pieces that a crop needs. PictureError for what has no size: it is no JPEG.
    """
    for marker, data in headers(payload):
        if marker in FRAMES and len(data) >= 9:
            width, parts = int.from_bytes(data[3:5], 'big'), data[5]
            across = max(data[7 : 6 + 3 * parts : 3], default=0) >> 4 if parts > 1 else 1  # one part: 8x8 always
            if width and across:
                columns = -(-width // (8 * across))
                return next(k for k in (3, 2, 1) if columns % k == 0)
    raise PictureError('is no JPEG with a size')


def rewrite(payload: bytes, interval: int) -> bytes:
    """The JPEG with a restart marker after every `interval` MCUs, 0: without any; its coefficients are the same.

    Progressive ones become sequential; EXIF, ICC profiles and comments stay. PictureError: why it cannot be done (no
    JPEG, damaged). ValueError where the C library is not built.
    """
    library = _library()
    if not 0 <= interval <= 0xFFFF:
        raise ValueError(f'a restart interval of {interval} MCUs: JPEG has room for 0 to {0xFFFF}')
    if payload[:2] != b'\xff\xd8':
        raise PictureError('is no JPEG' if payload else 'is empty')
    why, length = np.zeros((1, native.WHY), np.uint8), ctypes.c_int64()
    held = np.frombuffer(payload, np.uint8)
    source = np.zeros(1, native.SOURCE)
    source['data'], source['length'] = native.address(held), len(payload)
    native.heads(source, why)  # refuses what is cut off, and sizes that would fill the memory
    at = None
    if not why.any():
        at = library.fast_restart(payload, len(payload), interval, ctypes.addressof(length), native.address(why))
    if not at:
        raise PictureError(native.failures(why).get(0, 'is damaged'))
    try:
        return ctypes.string_at(at, length.value)
    finally:
        library.fast_release(at)
