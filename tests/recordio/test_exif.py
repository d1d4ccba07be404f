"""Pictures come upright by their EXIF, by each way that reads them, unless exif='ignore' asks for the stored pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ibnnet_mx.errors import OptionError
from ibnnet_mx.recordio.fast import native
from ibnnet_mx.recordio.pixels import exif
from ibnnet_mx.recordio.pixels.pictures import decode
from ibnnet_mx.recordio.pixels.region import open_picture
from tests.exif_pictures import (
    app1,
    block,
    by_opencv,
    orientation_block,
    pillow,
    stored,
    tiff,
    with_exif,
    with_segments,
)
from tests.record_sets import jpeg, photograph

ALL = range(1, 9)
UPRIGHT = photograph(3, 42, 59)  # odd and even sides
WITH = b'Exif\0\0'
SIX = (0x112, 3, 1, 6)


@pytest.mark.parametrize('orientation', ALL)
def test_what_is_stored_turned_becomes_upright(orientation):
    np.testing.assert_array_equal(exif.upright(stored(UPRIGHT, orientation), orientation), UPRIGHT)


@pytest.mark.parametrize('orientation', ALL)
@pytest.mark.parametrize('options', [{}, {'progressive': 1}, {'interval': 4}])
def test_a_jpeg_is_what_opencv_gives_by_itself(orientation, options):
    plain = jpeg(stored(UPRIGHT, orientation), **options)
    payload = with_exif(plain, orientation)
    np.testing.assert_array_equal(decode(payload), by_opencv(payload))
    np.testing.assert_array_equal(open_picture(payload).whole(), by_opencv(payload))
    np.testing.assert_array_equal(decode(payload, exif='ignore'), by_opencv(plain))
    np.testing.assert_array_equal(open_picture(payload, 'ignore').whole(), by_opencv(plain))
    assert np.abs(decode(payload).astype(int) - UPRIGHT).mean() < 5


def png_with_exif(picture, orientation):
    return pillow(picture, 'PNG', exif=WITH + orientation_block(orientation))


def webp(picture, orientation):
    return pillow(picture, 'WEBP', lossless=True, exif=WITH + orientation_block(orientation))


@pytest.mark.parametrize('orientation', ALL)
@pytest.mark.parametrize('encode', [png_with_exif, webp])
def test_png_and_webp_are_turned_as_jpegs_are(encode, orientation):
    payload = encode(stored(UPRIGHT, orientation), orientation)
    np.testing.assert_array_equal(decode(payload), UPRIGHT)
    np.testing.assert_array_equal(decode(payload, exif='ignore'), stored(UPRIGHT, orientation))


@pytest.mark.parametrize('orientation', ALL)
@pytest.mark.parametrize('options', [{}, {'compression': 'tiff_lzw'}, {'compression': 'jpeg', 'quality': 100}])
def test_a_tiff_is_turned_once(orientation, options):
    payload = tiff(UPRIGHT, orientation, **options)
    lossy = options.get('compression') == 'jpeg'
    assert np.abs(decode(payload).astype(int) - UPRIGHT).max() <= 40 * lossy
    assert np.abs(decode(payload, exif='ignore').astype(int) - stored(UPRIGHT, orientation)).max() <= 40 * lossy


ODD = {  # segments -> the orientation that OpenCV, or we in its place, read from them
    'big-endian': ([app1(WITH + orientation_block(6, '>'))], 6),
    'the first of two': ([app1(WITH + orientation_block(6)), app1(WITH + orientation_block(3))], 6),
    'the first entry': ([app1(WITH + block([SIX, (0x112, 3, 1, 3)]))], 6),
    'value 0': ([app1(WITH + orientation_block(0))], 1),
    'value 9': ([app1(WITH + orientation_block(9))], 1),
    'another name': ([app1(b'abcdef' + orientation_block(6))], 6),
    'no TIFF': ([app1(WITH + block([SIX], magic=43))], 1),
    'cut within the value': ([app1(WITH + block([SIX])[:-11])], 1),
    'cut behind the value': ([app1(WITH + block([SIX])[:-10])], 6),
    'a text before that lies outside': ([app1(WITH + block([(0x10F, 2, 100, 60000), SIX]))], 1),
    'a fraction behind that lies outside': ([app1(WITH + block([SIX, (0x11A, 5, 1, 60000)]))], 6),
    'more entries than there are': ([app1(WITH + block([SIX], count=60000))], 6),
    'empty': ([app1(b'')], 1),
    'a name alone': ([app1(WITH)], 1),
    'behind a comment': ([b'\xff\xfe\0\x06abcd', app1(WITH + orientation_block(6))], 6),
    'fill bytes': ([b'\xff' + app1(WITH + orientation_block(6))], 6),
}


@pytest.mark.parametrize('kind', ODD)
def test_odd_and_damaged_exif_is_read_as_opencv_does(kind):
    segments, wanted = ODD[kind]
    payload = with_segments(jpeg(UPRIGHT), *segments)
    assert exif.orientation(payload) == wanted
    if kind == 'another name' and cv2.__version__ >= '5':
        pytest.skip('OpenCV 5 reads orientations only from segments that are named Exif')
    np.testing.assert_array_equal(decode(payload), by_opencv(payload))


def test_xmp_before_exif_is_passed_over():
    xmp = app1(b'http://ns.adobe.com/xap/1.0/\0<x/>')
    payload = with_segments(jpeg(UPRIGHT), xmp, app1(WITH + orientation_block(6)))
    assert exif.orientation(payload) == 6  # OpenCV and mxnet's reader: 1
    if native.functions() is not None:
        assert native.look(payload).payload['width'] == UPRIGHT.shape[0]


def mutated(random):
    entries = [(0x10E, 2, 4, 0), (0x10F, 2, 20, 120), (0x110, 2, 5, 126), SIX, (0x11A, 5, 1, 130), (0x131, 2, 9, 1)]
    data = bytearray(WITH + block(entries) + bytes(60))
    for _ in range(random.randint(1, 4)):
        data[random.randint(6, len(data) - 60)] = random.choice([0, 1, 255, random.randint(256)])
    return bytes(data[: random.randint(0, len(data))] if random.rand() < 0.3 else data)


def test_mutated_exif_is_read_alike_by_opencv_python_and_c():
    random, plain, seen = np.random.RandomState(0), jpeg(photograph(0, 8, 24)), set()
    for _ in range(400):
        payload = with_segments(plain, app1(mutated(random)))
        value = exif.orientation(payload)
        seen.add(value)
        np.testing.assert_array_equal(exif.upright(by_opencv(plain), value), by_opencv(payload))
        if native.functions() is not None:
            look = native.look(payload)
            assert look.why == ''
            assert int(look.payload['width'][0]) == (8 if value > 4 else 24)
    assert {1, 6} <= seen


def test_cut_off_files_of_every_format_have_an_orientation():
    """The parsers stay within what there is."""
    for payload in (
        with_exif(jpeg(UPRIGHT), 6),
        png_with_exif(UPRIGHT[:9, :9], 6),
        webp(UPRIGHT[:9, :9], 6),
        tiff(UPRIGHT[:9, :9], 6),
    ):
        assert exif.orientation(payload) == 6
        assert {exif.orientation(payload[:length]) for length in range(len(payload))} <= {1, 6}


def test_a_wrong_choice_is_named():
    with pytest.raises(OptionError, match='must be apply'):
        exif.check_exif('yes')


def test_the_phone_picture_of_the_report(shared):
    upright, turned = (
        decode((shared / 'cases' / 'exif_phone' / name).read_bytes()) for name in ('upright.jpg', 'exif6.jpg')
    )
    assert np.abs(upright.astype(int) - turned).mean() < 2
    assert np.abs(cv2.rotate(upright, cv2.ROTATE_90_CLOCKWISE).astype(int) - turned).mean() > 20
