"""The formats of pictures: their names, and the sizes that their headers declare, read before any decoder runs.

A decoder takes memory for the size that a file declares, whatever else is in the file. So each format that is decoded
has a parser here. What has none is refused.
"""

from __future__ import annotations

import functools
import re
import struct
from typing import Callable, NamedTuple

import cv2

from ibnnet_mx.recordio.pixels import tiff
from ibnnet_mx.recordio.pixels.jpeg import PNG_SIGNATURE, SOI, declared

MAX_PIXELS = 1 << 27  # of a picture as it is declared; the C reader has the same limit
MAX_MEMORY = 1 << 30  # bytes that a decoder may need besides the picture of 3 bytes a pixel
GAP = rb'(?:\s|#[^\n]*\n)+'  # between the numbers of a PNM
PNM = re.compile(rb'P[1-6]' + GAP + rb'(\d{1,9})' + GAP + rb'(\d{1,9})[\s#]')
PAM = {name: re.compile(rb'^' + name + rb'[ \t]+(\d{1,9})\s', re.MULTILINE) for name in (b'WIDTH', b'HEIGHT', b'DEPTH')}
PFM = re.compile(rb'P[Ff]\s+(\d{1,9})\s+(\d{1,9})\s')
HDR = re.compile(rb'^[-+][YX] (\d{1,9}) [-+][YX] (\d{1,9})\s', re.MULTILINE)
TEXT_HEAD = 1 << 16  # bytes in which the sizes of formats with a header of text must stand


class Size(NamedTuple):
    """The size that a header declares. memory: bytes a pixel that the decoder needs; refused: why it is not decoded."""

    width: int
    height: int
    memory: int = 0
    refused: str = ''


def _of_jpeg_or_png(payload: bytes) -> Size | None:
    size = declared(payload)
    return Size(*size) if size else None


def _of_gif(payload: bytes) -> Size:
    width, height = struct.unpack_from('<HH', payload, 6)
    return Size(width, height, 8)


def _of_bmp(payload: bytes) -> Size:
    if struct.unpack_from('<I', payload, 14)[0] == 12:  # OS/2
        return Size(*struct.unpack_from('<HH', payload, 18))
    width, height = struct.unpack_from('<ii', payload, 18)
    return Size(abs(width), abs(height))


def _of_webp(payload: bytes) -> Size | None:
    kind = payload[12:16]
    if kind == b'VP8X':
        width, height = (int.from_bytes(payload[at : at + 3], 'little') + 1 for at in (24, 27))
        return Size(width, height, 12 if payload[20] & 2 else 4)  # animated: two canvases more
    if kind == b'VP8L':
        (bits,) = struct.unpack_from('<I', payload, 21)
        return Size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, 4)
    if kind == b'VP8 ':
        width, height = struct.unpack_from('<HH', payload, 26)
        return Size(width & 0x3FFF, height & 0x3FFF, 4)
    return None


def _of_pnm(payload: bytes) -> Size | None:
    seen = PNM.match(payload[:TEXT_HEAD])
    return Size(int(seen[1]), int(seen[2]), 2) if seen else None


def _of_pam(payload: bytes) -> Size | None:
    seen = [pattern.search(payload[:TEXT_HEAD]) for pattern in PAM.values()]
    width, height, depth = (int(number[1]) if number else 0 for number in seen)
    return Size(width, height, 2 * depth) if depth else None


def _of_pfm(payload: bytes) -> Size | None:
    seen = PFM.match(payload[:TEXT_HEAD])
    return Size(int(seen[1]), int(seen[2]), 12) if seen else None


def _of_sun(payload: bytes) -> Size:
    return Size(*struct.unpack_from('>II', payload, 4))


def _of_hdr(payload: bytes) -> Size | None:
    seen = HDR.search(payload[:TEXT_HEAD])
    return Size(int(seen[2]), int(seen[1]), 12) if seen else None


def _of_tiff(payload: bytes) -> Size | None:
    seen = tiff.read_size(payload)
    return Size(seen.width, seen.height, seen.memory, seen.refused) if seen else None


def _of_avif(payload: bytes) -> Size | None:
    """Return the largest of the sizes that the boxes `ispe` declare."""
    sizes = [
        struct.unpack_from('>II', payload, match.start() + 8) for match in re.finditer(b'ispe', payload[:TEXT_HEAD])
    ]
    return Size(max(width for width, _ in sizes), max(height for _, height in sizes), 8) if sizes else None


class Format(NamedTuple):
    """A format: its name, its first bytes, the parser of its size (None: it is never decoded), OpenCV's name for it."""

    name: str
    begins: tuple[bytes, ...]
    size: Callable[[bytes], Size | None] | None
    opencv: str = ''


FORMATS = (
    Format('JPEG', (SOI,), _of_jpeg_or_png),
    Format('PNG', (PNG_SIGNATURE,), _of_jpeg_or_png),
    Format('GIF', (b'GIF87a', b'GIF89a'), _of_gif, 'GIF'),
    Format('BMP', (b'BM',), _of_bmp),
    Format('TIFF', tiff.BEGINS, _of_tiff, 'TIFF'),
    Format('WebP', (b'RIFF',), _of_webp, 'WEBP'),
    # OpenCV 4.11's decoder of JPEG 2000 ends the process on some damaged files.
    Format('JPEG 2000', (b'\0\0\0\x0cjP  \r\n\x87\n', b'\xff\x4f\xff\x51'), None),
    Format('PNM', tuple(b'P%d' % kind for kind in range(1, 7)), _of_pnm),
    Format('PAM', (b'P7\n',), _of_pam),
    Format('PFM', (b'PF', b'Pf'), _of_pfm),
    Format('Sun raster', (b'\x59\xa6\x6a\x95',), _of_sun),
    Format('Radiance HDR', (b'#?RADIANCE', b'#?RGBE'), _of_hdr),
    Format('OpenEXR', (b'\x76\x2f\x31\x01',), None),
    Format('JPEG XL', (b'\xff\x0a', b'\0\0\0\x0cJXL '), None),
    Format('Photoshop', (b'8BPS',), None),
    Format('AVIF', (), _of_avif, 'AVIF'),
    Format('HEIF', (), None),
)
BRANDS = {b'avif': 'AVIF', b'avis': 'AVIF', b'heic': 'HEIF', b'heix': 'HEIF', b'mif1': 'HEIF', b'msf1': 'HEIF'}


def format_of(payload: bytes) -> Format | None:
    """Return the format of an encoded picture by its first bytes, None if it is none that is known."""
    name = BRANDS.get(payload[8:12]) if payload[4:8] == b'ftyp' else None
    return next((one for one in FORMATS if one.name == name or payload.startswith(one.begins or (b'\0none',))), None)


def size_of(payload: bytes) -> Size | None:
    """Return the size that a picture declares, None if it is of no known format, or if its header is damaged."""
    known = format_of(payload)
    try:
        return known.size(payload) if known is not None and known.size is not None else None
    except (struct.error, ValueError, IndexError):  # the header is cut off
        return None


@functools.lru_cache(maxsize=None)
def _has_decoder(name: str) -> bool:
    """Return True if the installed OpenCV was built with a decoder, by its name in cv2.getBuildInformation()."""
    line = re.search(rf'^ +{re.escape(name)}: +(\S.*)$', cv2.getBuildInformation(), re.MULTILINE)
    return line is not None and not line[1].startswith('NO')


def _refused_format(known: Format) -> bool:
    """Return True if no picture of a format can be decoded."""
    return known.size is None or bool(known.opencv and not _has_decoder(known.opencv))


def refusal(payload: bytes) -> str:
    """Return why an encoded picture must not be decoded; '' if nothing speaks against it."""
    known = format_of(payload)
    if known is None:
        return 'cannot be decoded (it is no picture of a known format)'
    if _refused_format(known):
        return f'is of the format {known.name}, which is not decoded here (OpenCV {cv2.__version__}): use PNG or JPEG'
    size = size_of(payload)
    if size is None:
        return f'cannot be decoded ({known.name}: its header tells no size)'
    if size.width * size.height > MAX_PIXELS:
        return f'has {size.width}x{size.height} pixels, more than {MAX_PIXELS} are refused'
    if size.width * size.height * size.memory > MAX_MEMORY:
        need = size.width * size.height * size.memory
        return f'needs {need} bytes to be decoded ({known.name}, {size.width}x{size.height}), {MAX_MEMORY} are allowed'
    return size.refused
