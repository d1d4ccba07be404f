"""The orientation of a picture: how the stored pixels must be turned until they are upright.

Telephones and cameras store the sensor's rows, and write into the EXIF how they were held. A JPEG's EXIF is read as
OpenCV reads it, damaged ones too (exif.c does the same in C), with one exception: XMP data before the EXIF is passed
over. mxnet 1.9.1's reader turns JPEGs alone. Here TIFF, PNG and WebP are turned like them.
"""

from __future__ import annotations

import struct

import numpy as np

from ibnnet_mx.errors import OptionError
from ibnnet_mx.recordio.pixels.jpeg import PNG_SIGNATURE, SOI, headers
from ibnnet_mx.recordio.pixels.tiff import BEGINS, read_orientation

APPLY, IGNORE = 'apply', 'ignore'
CHOICES = (APPLY, IGNORE)
UPRIGHT = 1
APP1 = 0xE1
XMP = b'http://ns.adobe.com/x'
ORIENTATION = 0x112
ENTRY = 12  # bytes of an entry: tag, type, count (4), value or place (4)
TEXTS = (0x10E, 0x10F, 0x110, 0x131, 0x132, 0x8298)  # OpenCV stops at one that reaches behind the end,
RATIONALS = (0x11A, 0x11B, 0x13E, 0x13F, 0x211, 0x214)  # and at one of these
BLOCK_AT = len(b'Exif\0\0')


def check_exif(exif: str) -> None:
    """Raise OptionError unless `exif` is one of CHOICES."""
    if exif not in CHOICES:
        raise OptionError('exif', exif, f'must be {APPLY} (pictures are turned upright) or {IGNORE} (pixels as stored)')


def orientation(payload: bytes) -> int:
    """Return the orientation that an encoded picture declares: 1 (upright, or none is declared) to 8."""
    if payload[:2] == SOI:
        value = _of_jpeg(payload)
    elif payload[:8] == PNG_SIGNATURE:
        value = _of_block(_png_block(payload))
    elif payload[:4] == b'RIFF' and payload[8:12] == b'WEBP':
        block = _webp_block(payload)
        value = _of_block(block[BLOCK_AT:] if block[:BLOCK_AT] == b'Exif\0\0' else block)
    elif payload[:4] in BEGINS:
        value = read_orientation(payload)[0]
    else:
        return UPRIGHT
    return value if UPRIGHT < value <= 8 else UPRIGHT


def upright(picture: np.ndarray, value: int) -> np.ndarray:
    """Return the pixels (H, W, ...) of a stored picture turned upright by its orientation, in order in memory."""
    if value > 4:
        picture = picture.swapaxes(0, 1)
    if value in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    if value in (3, 4, 7, 8):
        picture = picture[::-1]
    return np.ascontiguousarray(picture)


def without_orientation(payload: bytes) -> bytes:
    """Return a picture of the same stored pixels that OpenCV does not turn. OpenCV turns TIFFs, whatever its flags."""
    if payload[:4] not in BEGINS:
        return payload
    value, at = read_orientation(payload)
    if value == UPRIGHT or not at:
        return payload
    return payload[:at] + struct.pack('<H' if payload[:1] == b'I' else '>H', UPRIGHT) + payload[at + 2 :]


def _of_jpeg(payload: bytes) -> int:
    for marker, at, end in headers(payload):
        if marker == APP1 and end <= len(payload) and payload[at + 4 : at + 4 + len(XMP)] != XMP:
            return _of_block(payload[at + 4 + BLOCK_AT : end])
    return UPRIGHT


def _png_block(payload: bytes) -> bytes:
    at = 8
    while at + 12 <= len(payload):
        length, name = struct.unpack_from('>I4s', payload, at)
        if name == b'eXIf':
            return payload[at + 8 : at + 8 + length]
        at += 12 + length
    return b''


def _webp_block(payload: bytes) -> bytes:
    at = 12
    while at + 8 <= len(payload):
        name, length = struct.unpack_from('<4sI', payload, at)
        if name == b'EXIF':
            return payload[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    return b''


def _of_block(block: bytes) -> int:
    """Return the orientation in an EXIF block, which begins with its byte order, as OpenCV reads it."""
    order = '<' if block[:2] == b'II' else '>'
    if len(block) < 8 or struct.unpack_from(f'{order}H', block, 2)[0] != 42:
        return UPRIGHT
    at = struct.unpack_from(f'{order}I', block, 4)[0]
    if at + 2 > len(block):
        return UPRIGHT
    count = struct.unpack_from(f'{order}H', block, at)[0]
    for place in range(at + 2, at + 2 + ENTRY * count, ENTRY):
        if place + 10 > len(block):
            break
        tag, _, size, value = struct.unpack_from(f'{order}HHIH', block, place)
        if tag == ORIENTATION:
            return value
        if tag in TEXTS + RATIONALS and not _fits(block, order, tag, size, place):
            break
    return UPRIGHT


def _fits(block: bytes, order: str, tag: int, size: int, place: int) -> bool:
    """Return True if the value of a text or of fractions lies within the block."""
    if place + ENTRY > len(block):
        return False
    (start,) = struct.unpack_from(f'{order}I', block, place + 8)
    if tag in TEXTS:
        return (start if size > 4 else 8) + size <= len(block)
    return start + 8 <= len(block)
