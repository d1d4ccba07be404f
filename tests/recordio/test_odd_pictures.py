"""86 odd picture files, a verdict for each: equal to mxnet's reader, refused by name, or decided (docs/pictures.md)."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from ibnnet_mx.recordio.pixels import exif, formats
from ibnnet_mx.recordio.pixels.jpeg import without_animation
from ibnnet_mx.recordio.pixels.pictures import PictureError, decode
from tests.record_sets import photograph, png, write

EQUAL = [
    'apng.png',
    'big_exif.jpg',
    'bit1.png',
    'bmp1.bmp',
    'bmp24.bmp',
    'bmp32.bmp',
    'bmp565.bmp',
    'bmp8.bmp',
    'bmp_topdown.bmp',
    'cmyk_adobe.jpg',
    'cmyk_plain.jpg',
    'exif6.jpg',
    'gray.jpg',
    'gray16.png',
    'gray16_12bit.png',
    'gray_interlaced.png',
    'icc_srgb.jpg',
    'keep_rgb.jpg',
    'la.png',
    'leading_ff.jpg',
    'mpo.jpg',
    'one.jpg',
    'one.png',
    'pal.png',
    'pal_trans.png',
    'plain.jpg',
    'png_called.jpg',
    'progressive.jpg',
    'rgb16.png',
    'rgba.png',
    'strip.jpg',
    'strip.png',
    'sub411.jpg',
    'sub420.jpg',
    'sub422.jpg',
    'tif_16.tif',
    'tif_1bit.tif',
    'tif_called.jpg',
    'tif_cmyk.tif',
    'tif_lab.tif',
    'tif_lzw.tif',
    'tif_multi.tif',
    'tif_packbits.tif',
    'tif_pal.tif',
    'tif_raw.tif',
    'tif_rgba.tif',
    'trailing.jpg',
]
NO_GIF, NO_AVIF, NO_JP2 = (f'is of the format {name}, which is not decoded' for name in ('GIF', 'AVIF', 'JPEG 2000'))
UNKNOWN, CUT = 'cannot be decoded (it is no picture of a known format)', 'is truncated'
REFUSED = {
    **dict.fromkeys(['anim', 'anim_disposal2', 'cut_gif', 'gif87', 'gif_inter', 'trans'], ('.gif', NO_GIF)),
    'gif_called': ('.jpg', NO_GIF),
    'avif': ('.avif', NO_AVIF),
    'avif_called': ('.jpg', NO_AVIF),
    'jp2': ('.jp2', NO_JP2),
    'jp2_called': ('.jpg', NO_JP2),
    'cut_bmp': ('.bmp', 'cannot be decoded (BMP)'),
    'cut_png': ('.png', CUT),
    'cut_tif': ('.tif', 'cannot be decoded (TIFF)'),
    'cut_webp': ('.webp', 'cannot be decoded (WebP)'),
    'empty': ('.jpg', 'is empty'),
    'html': ('.jpg', UNKNOWN),
    'leading_newline': ('.jpg', UNKNOWN),
    'tif_f32': ('.tif', 'is a TIFF of floating-point numbers'),
    'tif_f32_255': ('.tif', 'is a TIFF of floating-point numbers'),
    # mxnet's reader takes these, and fills up with grey
    'half': ('.jpg', CUT),
    'no_eoi': ('.jpg', CUT),
    'no_eoi_zeros': ('.jpg', CUT),
}
TURNED = ['exif3.png', 'exif6.tif', 'exif6.webp']  # mxnet's reader turns JPEGs alone
OURS = [
    'pgm.pgm',
    'pgm16.pgm',
    'ppm.ppm',
    'ppm_ascii.ppm',
    'ppm_comment.ppm',
    'tif_deflate.tif',
    'tif_jpeg.tif',
    'webp_alpha.webp',
    'webp_anim.webp',
    'webp_called.jpg',
    'webp_lossless.webp',
    'webp_lossy.webp',
]  # mxnet's reads none of them


@pytest.fixture(scope='module')
def folder(shared):
    return shared / 'cases' / 'pictures'


def test_every_file_has_one_verdict(folder):
    verdicts = [*EQUAL, *(name + suffix for name, (suffix, _) in REFUSED.items()), *TURNED, *OURS]
    assert sorted(verdicts) == sorted(path.name for path in folder.iterdir() if path.name != 'README')


def test_most_are_those_of_mxnets_reader(folder, tmp_path):
    mx = pytest.importorskip('mxnet')

    by_size = {}
    for name in EQUAL:
        payload = (folder / name).read_bytes()
        picture = decode(payload)
        by_size.setdefault(picture.shape, []).append((name, payload, picture))
    for number, ((height, width, _), group) in enumerate(by_size.items()):
        path = write(tmp_path / f'{number}.rec', [payload for _, payload, _ in group])
        common = dict(preprocess_threads=1, dtype='uint8', verbose=False)
        theirs = mx.io.ImageRecordIter(
            path_imgrec=str(path), data_shape=(3, height, width), batch_size=len(group), **common
        )
        data = next(theirs).data[0].asnumpy()
        for (name, _, picture), other in zip(group, data):
            np.testing.assert_array_equal(picture[..., ::-1].transpose(2, 0, 1), other, err_msg=name)


@pytest.mark.parametrize('name', REFUSED)
def test_a_file_that_is_refused_is_told_why(folder, name):
    suffix, why = REFUSED[name]
    payload = (folder / f'{name}{suffix}').read_bytes()
    known = formats.format_of(payload)
    if known is not None and known.name in ('GIF', 'AVIF') and not formats._refused_format(known):
        pytest.skip(f'this OpenCV decodes {known.name}')
    with pytest.raises(PictureError) as caught:
        decode(payload)
    assert str(caught.value).startswith(why)


def by_pillow(payload):
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(payload))).convert('RGB'))[..., ::-1].astype(int)


@pytest.mark.parametrize('name', [*TURNED, *OURS])
def test_what_mxnets_reader_lacks_is_the_picture_that_others_show(folder, name):
    payload = (folder / name.replace('pgm16', 'pgm')).read_bytes()
    limit = 12 if name == 'tif_jpeg.tif' else 4
    assert np.abs(decode((folder / name).read_bytes()) - by_pillow(payload)).mean() < limit


@pytest.mark.parametrize('name', ['exif6.jpg', *TURNED])
def test_ignored_orientations_leave_the_pixels_as_stored(folder, name):
    payload = (folder / name).read_bytes()
    upright, as_stored = decode(payload), decode(payload, exif='ignore')
    np.testing.assert_array_equal(exif.upright(as_stored, exif.orientation(payload)), upright)
    assert as_stored.shape[:2] == (48, 64)


def test_the_page_names_every_format_and_verdict():
    page = (Path(__file__).resolve().parents[2] / 'docs' / 'pictures.md').read_text()
    for known in formats.FORMATS:
        assert f'| {known.name} |' in page, known.name
    assert str(formats.MAX_PIXELS) in page.replace(',', '')


def test_a_decoder_that_opencv_lacks_is_named(monkeypatch):
    monkeypatch.setattr(cv2, 'getBuildInformation', lambda: '    WEBP:   NO\n    TIFF:  build (ver 42)\n')
    formats._has_decoder.cache_clear()
    try:
        assert not formats._has_decoder('WEBP')
        assert formats._has_decoder('TIFF')
        assert not formats._has_decoder('AVIF')
    finally:
        formats._has_decoder.cache_clear()


def chunk(name, data, wrong=0):
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data) ^ wrong)


def test_damaged_animation_chunks_never_reach_the_decoder():
    """OpenCV 4.11 freed memory twice, which ended the process."""
    picture = photograph(0, 20, 30)
    plain = png(picture)
    for wrong in (0, 1):
        control = chunk(b'fcTL', struct.pack('>IIIIIHHBB', 0, 30, 20, 0, 0, 1, 10, 0, 0), wrong)
        more = chunk(b'acTL', struct.pack('>II', 2, 0), wrong) + control
        payload = plain[:33] + more + plain[33:-12] + control + chunk(b'fdAT', bytes(50), wrong) + plain[-12:]
        assert without_animation(payload) == plain
        np.testing.assert_array_equal(decode(payload), picture)
        for length in range(len(payload)):
            without_animation(payload[:length])
