"""Pictures with an orientation, and blocks of EXIF, right and damaged."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np

ORIENTATION = 0x112
STORED = {  # orientation -> what a camera stores of an upright picture
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p),
    7: lambda p: np.rot90(p.swapaxes(0, 1), 2),
    8: lambda p: np.rot90(p, -1),
}


def stored(picture, orientation):
    """The picture as a camera stores it that is held so."""
    return np.ascontiguousarray(STORED[orientation](picture))


def block(entries, order='<', magic=42, count=None):
    """An EXIF block. entries: (tag, type, count, value)."""
    data = (b'II' if order == '<' else b'MM') + struct.pack(order + 'HI', magic, 8)
    data += struct.pack(order + 'H', len(entries) if count is None else count)
    for tag, kind, number, value in entries:
        data += struct.pack(order + 'HHI', tag, kind, number)
        data += struct.pack(order + 'HH', value, 0) if kind == 3 else struct.pack(order + 'I', value)
    return data + bytes(8)


def orientation_block(orientation, order='<'):
    return block([(ORIENTATION, 3, 1, orientation)], order)


def app1(body):
    return b'\xff\xe1' + struct.pack('>H', len(body) + 2) + body


def with_segments(jpeg, *segments):
    """The JPEG with segments behind its first marker."""
    return jpeg[:2] + b''.join(segments) + jpeg[2:]


def with_exif(jpeg, orientation):
    return with_segments(jpeg, app1(b'Exif\0\0' + orientation_block(orientation)))


def tiff(picture, orientation, **options):
    """An uncompressed TIFF by Pillow, of the pixels that a camera stores."""
    return pillow(stored(picture, orientation), 'TIFF', tiffinfo={ORIENTATION: orientation}, **options)


def pillow(picture, kind, **options):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture[:, :, ::-1])).save(file, kind, **options)
    return file.getvalue()


def by_opencv(payload):
    """The pixels that OpenCV gives with its own reading of the orientation."""
    return cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR)
