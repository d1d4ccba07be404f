"""Sizes that a header declares are held against the bounds before a decoder runs, in every format; odd files too."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest

from ibnnet_mx.data import load_crop
from ibnnet_mx.recordio.format import RecordError
from ibnnet_mx.recordio.packing import worker
from ibnnet_mx.recordio.packing.worker import Output, Task
from ibnnet_mx.recordio.pixels import formats
from ibnnet_mx.recordio.pixels.pictures import PictureError, decode
from ibnnet_mx.recordio.pixels.region import open_picture
from ibnnet_mx.recordio.reading.options import Options
from ibnnet_mx.recordio.reading.reader import Reader
from tests.exif_pictures import pillow
from tests.record_sets import jpeg, photograph

PICTURE = photograph(0, 20, 30)
LARGE = 30000


def chunk(name, data):
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


def png(width, height):
    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(10))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', data) + chunk(b'IEND', b'')


def tiff(width, height, order='<', big=False, **more):
    """A TIFF of tags alone. more: tile, samples, bits, floats."""
    tags = {256: width, 257: height, 258: more.get('bits', 8), 277: more.get('samples', 3)}
    tags.update({322: more['tile'], 323: more['tile']} if 'tile' in more else {})
    tags.update({339: 3} if more.get('floats') else {})
    start, count, mark = ('Q', 'Q', 43) if big else ('I', 'H', 42)
    head = (b'II' if order == '<' else b'MM') + struct.pack(order + 'H', mark)
    head += struct.pack(order + 'HHQ', 8, 0, 16) if big else struct.pack(order + 'I', 8)
    entries = [struct.pack(f'{order}HH{start}{start}', tag, 4, 1, value) for tag, value in sorted(tags.items())]
    if order == '>' and not big:
        entries = [struct.pack('>HHII', tag, 4, 1, value) for tag, value in sorted(tags.items())]
    return head + struct.pack(order + count, len(tags)) + b''.join(entries) + bytes(8)


def bmp(width, height):
    return b'BM' + bytes(12) + struct.pack('<IiiHHI', 40, width, -height, 1, 24, 0) + bytes(20)


def webp(width, height, animated):
    body = b'VP8X' + struct.pack('<I', 10) + bytes([2 * animated, 0, 0, 0])
    body += (width - 1).to_bytes(3, 'little') + (height - 1).to_bytes(3, 'little')
    return b'RIFF' + struct.pack('<I', len(body) + 4) + b'WEBP' + body


def jpeg_of(width, height):
    data = jpeg(PICTURE)
    at = data.index(b'\xff\xc0')
    return data[: at + 5] + struct.pack('>HH', height, width) + data[at + 9 :]


MAKERS = {
    'JPEG': jpeg_of,
    'PNG': png,
    'GIF': lambda w, h: b'GIF89a' + struct.pack('<HH', w, h),
    'BMP': bmp,
    'BMP of OS/2': lambda w, h: b'BM' + bytes(12) + struct.pack('<IHHHH', 12, w, h, 1, 24),
    'TIFF': tiff,
    'TIFF, big-endian': lambda w, h: tiff(w, h, '>'),
    'BigTIFF': lambda w, h: tiff(w, h, big=True),
    'WebP': lambda w, h: webp(w, h, False),
    'PNM': lambda w, h: b'P6\n# a comment\n%d\n#another\n %d\n255\n' % (w, h),
    'PAM': lambda w, h: b'P7\nWIDTH %d\nHEIGHT %d\nDEPTH 3\nMAXVAL 255\nENDHDR\n' % (w, h),
    'PFM': lambda w, h: b'PF\n%d %d\n-1.0\n' % (w, h),
    'Sun raster': lambda w, h: b'\x59\xa6\x6a\x95' + struct.pack('>II', w, h) + bytes(20),
    'Radiance HDR': lambda w, h: b'#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y %d +X %d\n' % (h, w),
    'AVIF': lambda w, h: b'\0\0\0\x1cftypavif' + bytes(16) + b'\0\0\0\x14ispe\0\0\0\0' + struct.pack('>II', w, h),
}


@pytest.mark.parametrize('kind', MAKERS)
def test_the_declared_size_is_read_in_every_format(kind):
    payload = MAKERS[kind](LARGE, LARGE + 1)
    size = formats.size_of(payload)
    assert (size.width, size.height) == (LARGE, LARGE + 1)
    assert kind.startswith((formats.format_of(payload).name, 'Big'))
    with pytest.raises(PictureError, match=f'has {LARGE}x{LARGE + 1} pixels, more than|which is not decoded here'):
        decode(payload)


@pytest.mark.parametrize('kind', MAKERS)
def test_a_header_that_is_cut_off_is_never_an_accident(kind):
    payload = MAKERS[kind](7, 5)
    for length in range(len(payload)):
        formats.refusal(payload[:length])
        formats.size_of(payload[:length])


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.bmp', '.tiff', '.webp', '.ppm', '.pgm', '.ras', '.hdr', '.pfm'])
def test_sizes_are_those_of_what_opencv_writes(suffix):
    picture = PICTURE.astype(np.float32) / 255 if suffix in ('.hdr', '.pfm') else PICTURE
    picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if suffix == '.pgm' else picture
    picture = cv2.resize(picture, (90, 60))
    payload = cv2.imencode(suffix, picture)[1].tobytes()
    assert formats.size_of(payload)[:2] == (90, 60)
    assert decode(payload).shape == (60, 90, 3)


@pytest.mark.parametrize('options', [{'lossless': True}, {'quality': 50}, {'exif': b'Exif\0\0MM\0*\0\0\0\x08\0\0'}])
def test_every_kind_of_webp_tells_its_size(options):
    assert formats.size_of(pillow(PICTURE, 'WEBP', **options))[:2] == (30, 20)


@pytest.mark.parametrize(
    ('payload', 'why'),
    [
        (tiff(10000, 10000, bits=32, samples=4), 'needs 1600000000 bytes to be decoded'),
        (tiff(10, 10, tile=60000), 'bytes to be decoded'),
        (tiff(10, 10, floats=True), 'is a TIFF of floating-point numbers'),
        (webp(10000, 10000, True), 'needs 1200000000 bytes to be decoded'),
        (b'\xff\x4f\xff\x51', 'is of the format JPEG 2000, which is not decoded here'),
        (b'8BPS', 'is of the format Photoshop, which is not decoded here'),
        (b'\0\0\0\x18ftypheic', 'is of the format HEIF, which is not decoded here'),
        (b'BM', r'cannot be decoded \(BMP: its header tells no size\)'),
        (b'P5\n1000000000000 1\n', r'cannot be decoded \(PNM: its header tells no size\)'),
    ],
)
def test_what_a_decoder_would_need_is_bounded(payload, why):
    with pytest.raises(PictureError, match=why):
        decode(payload)


def test_a_jpeg_of_segments_is_bounded_as_others_are():
    """65,000 x 64,000 pixels in 130 kB: one segment a row of MCUs."""
    data = jpeg(np.zeros((16, 64, 3), np.uint8), interval=4)
    at, scan = data.index(b'\xff\xc0'), data.index(b'\xff\xda')
    data = data[: at + 5] + struct.pack('>HH', 64000, 64) + data[at + 9 : scan + 14]
    rows = b''.join(b'\0\xff' + bytes([0xD0 + n % 8]) for n in range(4000 - 1))
    assert open_picture(data + rows + b'\0\xff\xd9').height == 64000  # within the bound
    data = data.replace(struct.pack('>HH', 64000, 64), struct.pack('>HH', 64000, 65000))
    dri = data.index(b'\xff\xdd')
    data = data[: dri + 4] + struct.pack('>H', -(-65000 // 16)) + data[dri + 6 :]
    with pytest.raises(PictureError, match='has 65000x64000 pixels'):
        open_picture(data + rows + b'\0\xff\xd9')


def test_the_bomb_of_the_report_costs_no_memory(shared):
    """112 kB, which took 5.2 GB."""
    code = 'import sys; from ibnnet_mx.recordio.pixels.pictures import read_picture; read_picture(sys.argv[1])'
    for path in (shared / 'cases' / 'big_pictures' / 'bomb_30000.tif', shared / 'cases' / 'faults' / 'e.tif'):
        done = subprocess.run(
            [sys.executable, '-c', code, str(path)],
            capture_output=True,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30)),
            env={**os.environ, 'OPENBLAS_NUM_THREADS': '1'},
        )
        assert 'PictureError: has 30000x30000 pixels, more than 134217728 are refused' in done.stderr
    assert decode((shared / 'cases' / 'big_pictures' / 'ok_8000.tif').read_bytes()).shape == (8000, 8000, 3)


@pytest.fixture
def odd_folder(tmp_path):
    """Class folders with a picture, a FIFO, a device and a file of 200 GB that holds nothing."""
    folder = tmp_path / 'in' / 'a'
    folder.mkdir(parents=True)
    (folder / '0.png').write_bytes(cv2.imencode('.png', PICTURE)[1].tobytes())
    os.mkfifo(folder / '1.png')
    os.symlink('/dev/zero', folder / '2.png')
    with open(folder / '3.png', 'wb') as file:
        file.truncate(200 << 30)
    return folder


WHY = ['it is a FIFO, not a regular file', 'it is a device, not a regular file', 'it has 214748364800 bytes']


def test_odd_files_are_told_when_a_folder_is_read(odd_folder):
    said = []
    reader = Reader(odd_folder.parent, 16, 4, None, options=Options(max_bad=3, report=said.append, threads=1))
    assert [batch.real for batch in reader.epoch()] == [1]
    (line,) = said
    assert WHY[2] in line
    assert reader.records.notes == ['2 entries that are no regular files are left out']
    odd_folder.joinpath('0.png').unlink()
    os.mkfifo(odd_folder / '0.png')  # it became one after the folder was listed
    with pytest.raises(RecordError, match='0.png cannot be read: it is a FIFO'):
        reader.records.read(0)


def test_odd_files_are_told_by_packing_and_predicting(odd_folder):
    for number, why in enumerate(WHY, 1):
        path = str(odd_folder / f'{number}.png')
        (packed,) = worker.pack_tasks([Task(0, (0.0,), path)], [Output('a', 8, 90)], 8)
        assert packed.startswith(f'cannot be read: {why}')
        with pytest.raises(ValueError, match=f'{number}.png cannot be read: {why}'):
            load_crop(path, 16)
