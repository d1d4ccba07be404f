"""Is an encoded picture whole? Decoders fill the missing part of a JPEG with grey and report success."""

from __future__ import annotations

import struct
import zlib

PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG's start of frame, of all kinds


def declared(payload: bytes) -> tuple[int, int] | None:
    """Width and height that a JPEG's or PNG's header claims; None for other formats, and where it does not say."""
    if payload[:8] == PNG_SIGNATURE and len(payload) >= 24:
        return struct.unpack_from('>II', payload, 16)
    at = 2 if payload[:2] == b'\xff\xd8' else len(payload)
    while at + 9 <= len(payload) and payload[at] == 0xFF:
        marker, length = payload[at + 1], payload[at + 2] << 8 | payload[at + 3]
        if marker in FRAMES:
            height, width = struct.unpack_from('>HH', payload, at + 5)
            return width, height
        at += 1 if marker == 0xFF else 2 + length
    return None


def complete(payload: bytes) -> bool:
    """Whether a JPEG reaches its end marker and a PNG its IEND chunk; other formats: True.

    What follows the end is ignored. A JPEG's headers are walked by their lengths, so that the end marker of a
    thumbnail in them does not count; behind them 0xffd9 cannot be picture data, which writes 0xff as 0xff00.
    The checksums of a PNG's critical chunks must be right, too.
    """
    if payload[:2] == b'\xff\xd8':
        return _jpeg_complete(payload)
    if payload[:8] == PNG_SIGNATURE:
        return _png_complete(payload)
    return True


def _jpeg_complete(payload: bytes) -> bool:
    at = 2
    while at + 4 <= len(payload):
        if payload[at] != 0xFF:
            return False
        marker = payload[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        length = payload[at + 2] << 8 | payload[at + 3]
        if marker == 0xD9 or length < 2:
            return False
        at += 2 + length
        if marker == 0xDA:
            return payload.rfind(b'\xff\xd9', at) >= 0  # from behind: whole files answer at once
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
