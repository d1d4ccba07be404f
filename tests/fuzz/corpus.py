"""Whole pictures to start from: JPEGs of all kinds that the C reader knows apart, built JPEGs at its limits, a PNG."""

from __future__ import annotations

import functools
import io
import itertools

import cv2
from PIL import Image

from tests.record_sets import jpeg, png, scene

SAMPLING = {name: getattr(cv2, f'IMWRITE_JPEG_SAMPLING_FACTOR_{name}') for name in ('420', '422', '440', '444', '411')}
WIDE, HIGH = 130, 100
TINY = [(1, 1), (1, 20), (20, 1), (2, 3), (5, 4), (7, 9), (8, 8), (16, 17), (20, 20)]  # height, width
ZEROS = bytes([1] + [0] * 15)  # code lengths of a Huffman table: its only code is a zero bit
DC, AC = 0x00, 0x10


def _pil(picture, **options):
    file = io.BytesIO()
    picture.save(file, 'JPEG', quality=80, **options)
    return file.getvalue()


def part(marker, body):
    """A marker with its length and contents."""
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, 'big') + body


def bits(text):
    """Of zeros and ones the bytes of a scan: filled up with ones, a zero byte behind each 0xff."""
    text += '1' * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, 'big').replace(b'\xff', b'\xff\x00') if text else b''


def head(marker, width, height, factors, symbols=(0, 0), interval=0):
    """A JPEG up to its first scan. factors: sampling of each component, 0x11; symbols: all that DC and AC can say."""
    parts = [bytes([number + 1, factor, 0]) for number, factor in enumerate(factors)]
    frame = bytes([8]) + height.to_bytes(2, 'big') + width.to_bytes(2, 'big') + bytes([len(parts)]) + b''.join(parts)
    tables = [part(0xC4, bytes([kind]) + ZEROS + bytes([symbol])) for kind, symbol in zip((DC, AC), symbols)]
    restart = [part(0xDD, interval.to_bytes(2, 'big'))] if interval else []
    return b'\xff\xd8' + b''.join([part(0xDB, bytes([0] + [1] * 64)), part(marker, frame), *tables, *restart])


def scan(components, first=0, last=63, high=0, low=0):
    """A scan's header; components count from 1."""
    named = b''.join(bytes([component, 0]) for component in components)
    return part(0xDA, bytes([len(components)]) + named + bytes([first, last, high << 4 | low]))


def flat(width, height, factors, scans=None):
    """A sequential JPEG without any detail; scans: the components of each, () for one of all."""
    h, v = [[f >> 4 for f in factors], [f & 15 for f in factors]]
    body = b''
    for components in scans or [tuple(range(1, len(factors) + 1))]:
        if len(components) == 1:
            k = components[0] - 1
            blocks = -(-width * h[k] // (8 * max(h))) * -(-height * v[k] // (8 * max(v)))
        else:
            units = -(-width // (8 * max(h))) * -(-height // (8 * max(v)))
            blocks = units * sum(h[k - 1] * v[k - 1] for k in components)
        body += scan(components) + bits('00' * blocks)
    return head(0xC0, width, height, factors) + body + b'\xff\xd9'


def progressive(width, height, scans):
    """Of three components, flat: after the first each scan is a code for 32,767 blocks at a time."""
    blocks = -(-width // 8) * -(-height // 8)
    body = scan([1, 2, 3], 0, 0) + bytes(3 * blocks // 8 + 1)
    for number in range(scans - 1):
        place = 1 + number // 3 % 60
        body += scan([1 + number % 3], place, place) + bits(('0' + '1' * 14) * -(-blocks // 32767))
    return head(0xC2, width, height, (0x11,) * 3, (0, 0xE0)) + body + b'\xff\xd9'


def arithmetic(width, height, scans):
    """Progressive and arithmetically coded: at a marker libjpeg goes on with zeros, so no scan needs a byte of data."""
    body = scan([1, 2, 3], 0, 0)
    body += b''.join(scan([1 + n % 3], 1 + n // 3 % 60, 1 + n // 3 % 60) for n in range(scans - 1))
    return head(0xCA, width, height, (0x11,) * 3) + body + b'\xff\xd9'


def two_headers():
    """One header for readers that take the marker 0xff01 to have a length, another for those that know it has none."""
    seen_by_libjpeg, seen_by_us = jpeg(scene(0, 64, 1600), quality=30), jpeg(scene(0, 16, 16))
    body = b'\xff\xd8\xff\x01' + seen_by_libjpeg[2:]
    return body + bytes(4 + int.from_bytes(seen_by_libjpeg[2:4], 'big') - len(body)) + seen_by_us[2:]


def loud():
    """A coefficient that can be read, not written, behind markers larger than a compressor's first buffer."""
    start = head(0xC0, 16, 16, (0x11,), (15, 0))
    markers = part(0xEC, bytes(60000)) * 2
    return start[:2] + markers + start[2:] + scan([1]) + bits('0' + '1' * 14 + '00' + ('0' * 17) * 3) + b'\xff\xd9'


@functools.lru_cache(maxsize=None)
def limits():
    """JPEGs that ask for much, or say two things."""
    empty = {
        f'empty {side} {marker:x}': head(marker, side, side, (0x11,) * 3)
        + scan([1, 2, 3], 0, 0 if marker == 0xC2 else 63)
        + b'\x00\xff\xd9'
        for marker, side in itertools.product((0xC0, 0xC2), (11000, 60000))
    }
    return {
        **empty,
        'two headers': two_headers(),
        'loud': loud(),
        'many scans': progressive(2000, 1500, 101),
        'scans of a large picture': progressive(6000, 6000, 40),
        'arithmetic scans': arithmetic(800, 600, 60),
        'arithmetic scans of a large picture': arithmetic(9000, 9000, 100),
        'no height': head(0xC0, 16, 0, (0x11,)) + scan([1]) + bits('0' * 16) + part(0xDC, b'\0\x10') + b'\xff\xd9',
    }


def _encoded():
    """By the usual encoders."""
    found = {'png': png(scene(1, 40, 50)), 'png cifar': png(scene(2, 32, 32))}
    for (name, sampling), interval in itertools.product(SAMPLING.items(), (0, 1, 3, 9, 7)):
        found[f'{name} {interval}'] = jpeg(scene(3, HIGH, WIDE), interval, sampling)
    for name, sampling in SAMPLING.items():
        found[f'{name} progressive'] = jpeg(scene(4, HIGH, WIDE), 0, sampling, 1)
        found[f'{name} progressive 4'] = jpeg(scene(4, HIGH, WIDE), 4, sampling, 1)
        for height, width in TINY:
            found[f'{name} {height}x{width}'] = jpeg(scene(5, height, width), height % 2, sampling)
    for kind in (0, 1):
        found[f'grey {kind}'] = jpeg(scene(6, HIGH, WIDE)[..., 0], kind, progressive=kind)
    picture = Image.fromarray(scene(7, HIGH, WIDE))
    found['cmyk'] = _pil(picture.convert('CMYK'))
    found['ycck'] = found['cmyk'].replace(b'Adobe\0\x64\0\0\0\0\0', b'Adobe\0\x64\0\0\0\0\x02')
    found['cmyk progressive'] = _pil(picture.convert('CMYK'), progressive=True)
    found['rgb'] = _pil(picture, keep_rgb=True, subsampling=0)
    square = Image.fromarray(scene(8, 96, 128))
    found['rgb in segments'] = _pil(square, keep_rgb=True, subsampling=0, restart_marker_blocks=4)
    exif = Image.Exif()
    exif[274] = 6
    found['exif'] = _pil(picture, exif=exif.tobytes())
    return found


def _built():
    """What encoders seldom write: each of these is right, and says nothing but grey."""
    three, odd = (0x22, 0x11, 0x11), (0x11, 0x22, 0x12)
    return {
        'scans': flat(60, 50, three, [(1,), (2,), (3,)]),
        'two scans': flat(60, 50, three, [(2, 3), (1,)]),
        'a component is missing': flat(60, 50, three, [(1,), (2,)]),
        'only the second': flat(60, 50, three, [(2,)]),
        'a scan twice': flat(60, 50, three, [(1, 2, 3), (1,), (1,)]),
        'two components': flat(40, 30, (0x11, 0x11)),
        'five components': flat(40, 30, (0x11,) * 5, [(1, 2, 3, 4), (5,)]),
        'grey 2x2': flat(40, 30, (0x22,)),
        'grey 4x4': flat(40, 30, (0x44,)),
        'colour is larger': flat(40, 30, odd),
        'all 2x2': flat(40, 30, (0x22,) * 3, [(1,), (2,), (3,)]),
        'thirds': flat(40, 30, (0x31, 0x11, 0x11)),
        '4x2': flat(70, 30, (0x42, 0x11, 0x11)),
        'four components': flat(40, 30, (0x21, 0x11, 0x11, 0x21)),
        'eob runs': progressive(90, 70, 9),
        'arithmetic': arithmetic(90, 70, 9),
        'long': flat(4000, 3, three),
        'high': flat(3, 4000, three),
    }


@functools.lru_cache(maxsize=None)
def pictures():
    """name: encoded picture; the same in every process."""
    return {**_encoded(), **_built()}
