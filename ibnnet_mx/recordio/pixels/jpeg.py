"""The headers of encoded pictures: size, segments, and the end of the data.

Decoders fill the missing part of a JPEG with grey and report success.
"""

from __future__ import annotations

import struct
import zlib
from typing import Iterator

PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
ANIMATION = (b'acTL', b'fcTL', b'fdAT')
SOI = b'\xff\xd8'  # how a JPEG begins
FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame, of all kinds
SOS, EOI = 0xDA, 0xD9


def headers(payload: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each header of a JPEG, up to its first scan; nothing for other formats.

    An end may lie behind the payload's.
    """
    at = 2 if payload[:2] == SOI else len(payload)
    while at + 4 <= len(payload) and payload[at] == 0xFF:
        marker, length = payload[at + 1], payload[at + 2] << 8 | payload[at + 3]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == EOI or length < 2:
            return
        yield marker, at, at + 2 + length
        if marker == SOS:
            return
        at += 2 + length


def declared(payload: bytes) -> tuple[int, int] | None:
    """Return width and height from a JPEG's or PNG's header; None for other formats, and if the header does not say."""
    if payload[:8] == PNG_SIGNATURE and len(payload) >= 24:
        return struct.unpack_from('>II', payload, 16)
    for marker, at, end in headers(payload):
        if marker in FRAMES and at + 9 <= min(end, len(payload)):
            height, width = struct.unpack_from('>HH', payload, at + 5)
            return width, height
    return None


def complete(payload: bytes) -> bool:
    """Return True if a JPEG reaches its end marker or a PNG its IEND chunk. Other formats: True.

    Bytes behind the end are ignored. A JPEG's headers are walked by their lengths, so that the end marker of a
    thumbnail in them does not count; behind them 0xffd9 cannot be picture data, which writes 0xff as 0xff00. The
    checksums of a PNG's critical chunks must be right, too.
    """
    if payload[:2] == SOI:
        return _jpeg_complete(payload)
    if payload[:8] == PNG_SIGNATURE:
        return _png_complete(payload)
    return True


def without_animation(payload: bytes) -> bytes:
    """Return a PNG without the chunks of its animation, so that its default picture is left; others as they are.

    OpenCV 4.11 frees memory twice if such a chunk is damaged, and older ones pass over all of them.
    """
    if payload[:8] != PNG_SIGNATURE or not any(name in payload for name in ANIMATION):
        return payload
    parts, at = [payload[:8]], 8
    while at + 8 <= len(payload):
        length, name = struct.unpack_from('>I4s', payload, at)
        end = at + 12 + length
        if name not in ANIMATION:
            parts.append(payload[at:end])
        at = end
    return b''.join(parts)


def _jpeg_complete(payload: bytes) -> bool:
    for marker, _, end in headers(payload):
        if marker == SOS:
            return payload.rfind(b'\xff\xd9', end) >= 0  # from behind: whole files answer at once
    return False


def _png_complete(payload: bytes) -> bool:
    at, data = 8, 0
    while at + 12 <= len(payload):
        length, name = struct.unpack_from('>I4s', payload, at)
        end = at + 12 + length
        if end > len(payload):
            return False
        if not name[0] & 0x20 and zlib.crc32(payload[at + 4 : end - 4]) != int.from_bytes(
            payload[end - 4 : end], 'big'
        ):
            return False
        if name == b'IEND':
            return data > 0
        data += name == b'IDAT'
        at = end
    return False
