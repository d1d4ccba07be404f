"""Pictures on their way into a record: decoded, brought to size, encoded. They are 8-bit BGR arrays (H, W, 3)."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import cv2
import numpy as np

from ibnnet_mx.files.regular import read_regular
from ibnnet_mx.recordio.pixels import formats
from ibnnet_mx.recordio.pixels.exif import APPLY, orientation, upright, without_orientation
from ibnnet_mx.recordio.pixels.jpeg import complete, without_animation
from ibnnet_mx.size import MAX_SIDE, Size

SUFFIXES = ('.jpg', '.jpeg', '.jpe', '.png', '.bmp', '.gif', '.webp', '.tif', '.tiff', '.ppm', '.pgm')
# MCUs between restart markers: a reader then decodes only the pieces that a crop needs, with the same pixels. With 1 a
# JPEG of 480 pixels is 5 % larger than without and takes 6 % less time than with 3, which make it 2.5 % larger.
RESTART_INTERVAL = 1
MAX_BYTES = 1 << 29  # of a picture file; a record has no room for more
CIFAR_SIDE = 32
FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # exif.py turns pictures, of every format and OpenCV alike
DAMAGE = ('corrupt jpeg data', 'premature end', 'crc error')


class PictureError(ValueError):
    """A picture that cannot be packed; the text is the reason."""


class Complaints:
    """The decoders' output on standard error, caught, because libjpeg reports damaged data nowhere else.

    It takes the process's file descriptor 2, so it is for worker processes only.
    """

    def __init__(self) -> None:
        self.fd, path = tempfile.mkstemp(prefix='ibnnet_mx-')
        os.unlink(path)
        os.dup2(self.fd, 2)

    def take(self) -> str:
        """Return the complaints since the last call."""
        size = os.fstat(self.fd).st_size
        if not size:
            return ''
        text = os.pread(self.fd, min(size, 1000), 0).decode('utf-8', 'replace')
        os.lseek(self.fd, 0, os.SEEK_SET)  # descriptor 2 shares this position
        os.ftruncate(self.fd, 0)
        return text


def decode(payload: bytes, complaints: Complaints | None = None, exif: str = APPLY) -> np.ndarray:
    """Return 8-bit BGR of an encoded picture, as mxnet's im2rec sees it, upright by its orientation.

    Grey, palette, CMYK and 16-bit pictures are converted by OpenCV, and alpha is dropped. exif 'ignore': the pixels are
    as stored. Raises PictureError if the picture is empty, cut off or damaged.
    """
    if not payload:
        raise PictureError('is empty')
    if not complete(payload):
        raise PictureError('is truncated')
    refused = formats.refusal(payload)
    if refused:
        raise PictureError(refused)
    if complaints is not None:
        complaints.take()
    try:
        stored = without_animation(without_orientation(payload))
        picture = cv2.imdecode(np.frombuffer(stored, np.uint8), FLAGS)
    except cv2.error as error:
        raise PictureError(f'cannot be decoded ({_name(payload)}: {error.err or "OpenCV error"})') from None
    text = complaints.take() if complaints is not None else ''
    if picture is None:
        raise PictureError(f'cannot be decoded ({_name(payload)})')
    damage = [line for line in text.splitlines() if any(word in line.lower() for word in DAMAGE)]
    if damage:
        raise PictureError(f'is damaged ({damage[0].strip()})')
    return upright(picture, orientation(payload)) if exif == APPLY else picture


def _name(payload: bytes) -> str:
    known = formats.format_of(payload)
    return known.name if known else 'unknown format'


def read_picture(path: Any, complaints: Complaints | None = None, exif: str = APPLY) -> np.ndarray:
    """Return 8-bit BGR of a picture file; see decode(). Raises PictureError, with the reason, if it cannot be read."""
    try:
        payload = read_regular(path, MAX_BYTES)
    except OSError as error:
        raise PictureError(f'cannot be read: {error.strerror}') from None
    return decode(payload, complaints, exif)


def scaled_size(height: int, width: int, short: int) -> tuple[int, int]:
    """Return height and width with the short side at `short` pixels, the other rounded down as im2rec does."""
    return (short * height // width, short) if height > width else (short, short * width // height)


def to_short_side(picture: np.ndarray, short: int) -> np.ndarray:
    """The picture with its short side at `short` pixels, enlarged or shrunk bilinearly as im2rec does."""
    height, width = scaled_size(picture.shape[0], picture.shape[1], short)
    if picture.shape[:2] == (height, width):
        return picture
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)


def check_sides(shape: tuple[int, ...], short: int) -> None:
    """Raise PictureError for a strip (height, width, ...) whose long side exceeds MAX_SIDE with the short one at
    `short`.
    """
    height, width = shape[:2]
    longest = max(scaled_size(height, width, short))
    if longest > MAX_SIDE:
        raise PictureError(f'is a strip of {width}x{height}: {longest} pixels long at a short side of {short}')


def encode_jpeg(picture: np.ndarray, quality: int) -> bytes:
    """Return a JPEG with restart markers of a BGR picture."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_RST_INTERVAL, RESTART_INTERVAL]
    return cv2.imencode('.jpg', picture, options)[1].tobytes()


def to_size(picture: np.ndarray, size: Size) -> np.ndarray:
    """Return all of the picture at a size, whatever its aspect."""
    if picture.shape[:2] == size:
        return picture
    shrinks = picture.shape[0] > size.height and picture.shape[1] > size.width
    return cv2.resize(picture, size.wide_high, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def encode_png(picture: np.ndarray) -> bytes:
    """Return a lossless PNG of a BGR picture."""
    return cv2.imencode('.png', picture)[1].tobytes()


def encode_cifar(picture: np.ndarray) -> bytes:
    """Return a lossless PNG of 32x32 pixels. A picture of another size is brought to it, whatever its aspect."""
    return encode_png(to_size(picture, Size.of(CIFAR_SIDE)))
