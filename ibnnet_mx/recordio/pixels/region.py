"""Pictures whose pixels are decoded when they are asked for.

A JPEG with restart markers falls into segments that decode alone. The segments that a box touches, behind the JPEG's
own header with another size in it, are a small valid JPEG: its decoder never sees the rest of the picture.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import cv2
import numpy as np

from ibnnet_mx.recordio.pixels.exif import APPLY, IGNORE, UPRIGHT, orientation
from ibnnet_mx.recordio.pixels.formats import MAX_PIXELS
from ibnnet_mx.recordio.pixels.jpeg import EOI, FRAMES, SOS, headers
from ibnnet_mx.recordio.pixels.pictures import FLAGS, decode

BASELINE, HUFFMAN_8_BIT = 0xC0, 0xC1
DRI, RST0 = 0xDD, 0xD0
LUMA = ((1, 1), (2, 1), (1, 2), (2, 2))  # sampling factors whose chroma is interpolated over one neighbour at most
NARROW = 6  # pixels; libjpeg interpolates the chroma of wider pictures only
MARGIN = 1  # pixels at the cut that the interpolation of chroma makes other than in the whole picture


class Layout(NamedTuple):
    """The facts of a JPEG's header. mcu: width and height in pixels; interval: MCUs of a segment; offsets in bytes."""

    width: int
    height: int
    mcu: tuple[int, int]
    interval: int
    size_at: int
    scan_at: int

    @property
    def columns(self) -> int:
        """Return the segments of a row of MCUs; 0 if an MCU row does not end with a segment."""
        across = -(-self.width // self.mcu[0])
        return 0 if across % self.interval else across // self.interval

    @property
    def rows(self) -> int:
        """Return how many rows of MCUs the JPEG has."""
        return -(-self.height // self.mcu[1])


def layout(payload: bytes) -> Layout | None:
    """Return the Layout of a baseline JPEG in one scan with restart markers; None for all others, and in doubt."""
    segments: dict[int, int] = {}
    for marker, at, end in headers(payload):
        kind = BASELINE if marker in FRAMES else marker
        if end > len(payload) or (kind in segments and kind in (BASELINE, DRI)):
            return None
        segments[kind] = at
    known = {BASELINE, DRI, SOS} <= set(segments)
    return _layout(payload, segments[BASELINE], segments[DRI], segments[SOS]) if known else None


def _layout(payload: bytes, frame: int, dri: int, scan: int) -> Layout | None:
    precision, height, width, parts = struct.unpack_from('>BHHB', payload, frame + 4)
    length, interval = struct.unpack_from('>HH', payload, dri + 2)
    lengths = [8 + 3 * parts, 4, 6 + 2 * parts]
    if [payload[at + 2] << 8 | payload[at + 3] for at in (frame, dri, scan)] != lengths or length != 4:
        return None
    sampling = [divmod(payload[frame + 11 + 3 * part], 16) for part in range(parts)]
    usual = parts == 1 and sampling == [(1, 1)] or parts == 3 and sampling[0] in LUMA and sampling[1:] == [(1, 1)] * 2
    huffman = payload[frame + 1] in (BASELINE, HUFFMAN_8_BIT) and precision == 8
    if not (usual and huffman and width and height and interval and payload[scan + 4] == parts):
        return None
    mcu = 8 * sampling[0][0], 8 * sampling[0][1]
    known = Layout(width, height, mcu, interval, frame + 5, scan + 6 + 2 * parts + 2)
    return known if known.columns else None


def _bounds(payload: bytes, known: Layout) -> np.ndarray | None:
    """Return the start of each segment, and the end of the last, markers included; None if a marker is unexpected."""
    data = np.frombuffer(payload, np.uint8)[known.scan_at :]
    count = known.rows * known.columns
    at = np.flatnonzero(data[:-1] == 0xFF)
    code = data[at + 1]
    marker = np.flatnonzero(code)[:count]  # 0xff00 is a byte of data
    wanted = RST0 + np.arange(count) % 8
    wanted[-1] = EOI
    if not np.array_equal(code[marker], wanted):
        return None
    return known.scan_at + np.append(0, at[marker] + 2)


def cut(payload: bytes, known: Layout, box: tuple[int, int, int, int]) -> tuple[np.ndarray, int, int] | None:
    """Return uint8 (n,): a JPEG of the segments that box = left, top, right, bottom needs; and x and y of its first
    pixel.
    """
    bounds = _bounds(payload, known)
    if bounds is None:
        return None
    left, top, right, bottom = box
    wide, high = known.mcu[0] * known.interval, known.mcu[1]
    first, last = max(left - MARGIN, 0) // wide, min((right + MARGIN - 1) // wide + 1, known.columns)
    if min(last * wide, known.width) - first * wide < NARROW:
        first = max(first - 1, 0)
    rows = np.arange(max(top - MARGIN, 0) // high, min((bottom + MARGIN - 1) // high + 1, known.rows))
    x, y = first * wide, int(rows[0]) * high
    size = struct.pack('>HH', min((int(rows[-1]) + 1) * high, known.height) - y, min(last * wide, known.width) - x)
    head = payload[: known.size_at] + size + payload[known.size_at + 4 : known.scan_at]
    begin, end = bounds[rows * known.columns + first], bounds[rows * known.columns + last]
    body = b''.join([payload[a:b] for a, b in zip(begin.tolist(), end.tolist())])
    data = np.frombuffer(bytearray(head + body), np.uint8)
    moved = len(head) + np.cumsum(end - begin) - end
    ends = bounds[rows[:, None] * known.columns + np.arange(first + 1, last + 1)] + moved[:, None] - 1
    data[ends.ravel()] = RST0 + np.arange(ends.size) % 8
    data[-1] = EOI
    return data, x, y


class Decoded:
    """A decoded picture, 8-bit BGR (height, width, 3)."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels
        self.height, self.width = pixels.shape[:2]

    def window(self, left: int, top: int, right: int, bottom: int) -> np.ndarray:
        """Return the pixels of a box within the picture."""
        return self._pixels[top:bottom, left:right]

    def whole(self) -> np.ndarray:
        """Return all pixels, BGR uint8 (H, W, 3)."""
        return self.window(0, 0, self.width, self.height)


class Segments(Decoded):
    """A JPEG in restart segments; its pixels are those of the whole JPEG's decoding."""

    def __init__(self, payload: bytes, known: Layout) -> None:
        self._payload, self._layout = payload, known
        self.height, self.width = known.height, known.width

    def window(self, left: int, top: int, right: int, bottom: int) -> np.ndarray:
        """Return the pixels of a box within the picture. Raises PictureError if they cannot be decoded."""
        small = cut(self._payload, self._layout, (left, top, right, bottom))
        if small is None:
            return self._whole()[top:bottom, left:right]
        data, x, y = small
        part = cv2.imdecode(data, FLAGS)
        if part is None or part.shape[0] < bottom - y or part.shape[1] < right - x:
            return self._whole()[top:bottom, left:right]
        return part[top - y : bottom - y, left - x : right - x]

    def _whole(self) -> np.ndarray:
        return decode(self._payload, exif=IGNORE)


def open_picture(payload: bytes, exif: str = APPLY) -> Decoded:
    """Return the picture of a record, upright by its orientation; exif 'ignore': as it is stored.

    Raises PictureError if it is empty, cut off or damaged, at once or when pixels are read.
    """
    known = layout(payload)
    if known is None or known.width * known.height > MAX_PIXELS:  # then decode() refuses it
        return Decoded(decode(payload, exif=exif))
    in_place = exif == IGNORE or orientation(payload) == UPRIGHT
    return Segments(payload, known) if in_place else Decoded(decode(payload, exif=exif))
