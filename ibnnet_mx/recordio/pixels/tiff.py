"""The first directory of a TIFF: the tags that tell what its decoder needs, and the orientation."""

from __future__ import annotations

import struct
from typing import Iterator, NamedTuple

BEGINS = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')  # the last two: BigTIFF
WIDTH, HEIGHT, BITS, ORIENTATION, SAMPLES = 256, 257, 258, 274, 277
TILE_WIDTH, TILE_HEIGHT, SAMPLE_FORMAT = 322, 323, 339
FLOATS = 3
SHORT = 3
CODES = {1: 'B', SHORT: 'H', 4: 'I', 16: 'Q'}  # type of a tag: its numbers, for struct
ENTRIES = 1 << 16  # that are looked at


class Tiff(NamedTuple):
    """The size of a TIFF; memory: bytes a pixel of its samples. refused: why it is not decoded."""

    width: int
    height: int
    memory: int
    refused: str


def _entries(payload: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield tag, type, count of values and the byte of the values, of each entry; nothing for a damaged file."""
    order, big = '<' if payload[:1] == b'I' else '>', payload[2:4] in (b'+\0', b'\0+')
    start, count, step = ('Q', 'Q', 20) if big else ('I', 'H', 12)
    try:
        (at,) = struct.unpack_from(order + start, payload, 8 if big else 4)
        (entries,) = struct.unpack_from(order + count, payload, at)
        at += 8 if big else 2
        for place in range(at, at + step * min(entries, ENTRIES), step):
            tag, kind, values = struct.unpack_from(f'{order}HH{start}', payload, place)
            here = place + (12 if big else 8)
            size = struct.calcsize(CODES.get(kind, 'B')) * values
            if size > (8 if big else 4):
                (here,) = struct.unpack_from(order + start, payload, here)
            yield tag, kind, values, here
    except struct.error:  # the file ends before
        return


def _number(payload: bytes, kind: int, at: int) -> int:
    """Return a number of a tag; 0 if the file ends before it."""
    try:
        return struct.unpack_from(('<' if payload[:1] == b'I' else '>') + CODES[kind], payload, at)[0]
    except (struct.error, KeyError):
        return 0


def read_size(payload: bytes) -> Tiff | None:
    """Return what the first directory declares; None without a size. Of a tag that comes twice the larger counts."""
    seen: dict[int, int] = {}
    for tag, kind, _, at in _entries(payload):
        seen[tag] = max(seen.get(tag, 0), _number(payload, kind, at))
    width, height = seen.get(WIDTH, 0), seen.get(HEIGHT, 0)
    if not width or not height:
        return None
    memory = max(seen.get(SAMPLES, 1), 1) * -(-seen.get(BITS, 1) // 8)
    if seen.get(SAMPLE_FORMAT) == FLOATS:
        refused = 'is a TIFF of floating-point numbers, not of 8 or 16 bits: use PNG or JPEG'
        return Tiff(width, height, memory, refused)
    tile = seen.get(TILE_WIDTH, 0) * seen.get(TILE_HEIGHT, 0)  # pixels; a tile is decoded as a whole
    return Tiff(width, height, memory * max(-(-tile // (width * height)), 1), '')


def read_orientation(payload: bytes) -> tuple[int, int]:
    """Return the orientation of a TIFF's first picture, and the byte at which it stands; 1 and 0 if there is none."""
    for tag, kind, values, at in _entries(payload):
        if tag == ORIENTATION:
            value = _number(payload, kind, at)
            return (value, at) if kind == SHORT and values == 1 and 1 < value <= 8 else (1, 0)
    return 1, 0
