"""The C reader: the very pictures of the OpenCV path, whatever the JPEG, the processor and the number of threads."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ibnnet_mx.recipe import AUGMENT
from ibnnet_mx.recordio.fast import native
from ibnnet_mx.recordio.pixels import augment, geometry, opencv, view
from ibnnet_mx.recordio.pixels.augment import Augment
from ibnnet_mx.recordio.pixels.pictures import PictureError, decode
from ibnnet_mx.recordio.pixels.region import Decoded
from ibnnet_mx.size import Size
from tests.record_sets import jpeg, photograph

pytestmark = pytest.mark.skipif(native.functions() is None, reason='the C reader is not built')

SAMPLING = {
    '420': cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    '422': cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    '440': cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    '444': cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    '411': cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
}
KINDS = {
    'plain': {},
    'segments': {'interval': 3},
    'a marker in each row': {'interval': 12},
    'progressive': {'progressive': 1},
}
LEVEL = {name: Augment(**values) for name, values in AUGMENT.items()}


def rendered(payloads, plan, size, level=2):
    """float32 (n, views, 3, size, size) by C."""
    held = [np.frombuffer(payload, np.uint8) for payload in payloads]
    sources, why = np.zeros(len(held), native.PAYLOAD), np.zeros((len(held), native.WHY), np.uint8)
    sources['data'], sources['length'] = [native.address(h) for h in held], [len(h) for h in held]
    native.heads(sources, why)
    rows = plan(np.stack([sources['width'], sources['height']], axis=1).astype(np.int64))
    rows = np.ascontiguousarray(rows.reshape(len(held), -1))
    pixels = np.zeros(1, native.PIXELS)
    pixels['factor'], pixels['floats'] = 1, 1
    out = np.full((*rows.shape, 3, size, size), np.nan, np.float32)
    native.Decoder(level).render(sources, rows, pixels, out, why)
    assert native.failures(why) == {}
    return out, rows


def by_opencv(payloads, rows, size):
    out = np.empty((*rows.shape, 3, size, size), np.float32)
    table = opencv.pixel_table((0,) * 3, (1,) * 3)
    for payload, planned, one in zip(payloads, rows, out):
        for seen, planes in zip(opencv.views(Decoded(decode(payload)), planned), one):
            opencv.planes(seen, table, planes)
    return out


def drawn(level, count, size, **changes):
    u = augment.uniforms(1, 2, np.arange(count))
    return lambda sizes: augment.draw_rows(LEVEL[level]._replace(**changes), u, sizes, size)


def payloads_of(sampling, kind, count=6):
    return [
        jpeg(photograph(i, 132 + 9 * i, 192 + 16 * (i % 2)), sampling=SAMPLING[sampling], **KINDS[kind])
        for i in range(count)
    ]


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('sampling', SAMPLING)
def test_what_is_only_cut_out_is_the_decoders_own(sampling, kind):
    payloads = payloads_of(sampling, kind)
    for plan in (
        lambda sizes: view.view_rows(sizes, 112, view.View()),
        lambda sizes: view.view_rows(sizes, 112, view.View(crops=10)),
        drawn(1, len(payloads), 112),
        drawn('cifar', len(payloads), 112),
    ):
        found, rows = rendered(payloads, plan, 112)
        np.testing.assert_array_equal(found, by_opencv(payloads, rows, 112))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('sampling', SAMPLING)
@pytest.mark.parametrize('level', [2, 3, 'rrc'])
def test_what_is_resampled_is_opencvs_to_half_a_unit(level, sampling, kind):
    payloads = payloads_of(sampling, kind)
    found, rows = rendered(payloads, drawn(level, len(payloads), 96, hls=(0, 0, 0)), 96)
    assert np.abs(found - by_opencv(payloads, rows, 96)).mean() < 0.5
    found, rows = rendered(payloads, drawn(level, len(payloads), 96, hls=(36, 50, 50)), 96)
    assert np.abs(found - by_opencv(payloads, rows, 96)).mean() < 1.0


@pytest.mark.parametrize('level', [1, 2, 3, 'rrc', 'cifar'])
@pytest.mark.parametrize('shape', [(40, 50), (20, 300), (300, 20), (63, 64), (1, 1), (5, 4)])
def test_small_pictures_are_enlarged_alike(level, shape):
    payloads = [jpeg(photograph(i, *shape)) for i in range(4)]
    found, rows = rendered(payloads, drawn(level, 4, 64, hls=(0, 0, 0)), 64)
    limit = 2.5 if LEVEL[level].warps else 0.5  # of a few pixels every value hangs on OpenCV's weights of 1/32
    assert np.abs(found - by_opencv(payloads, rows, 64)).mean() < limit


@pytest.mark.parametrize('level', [2, 3, 'rrc', 'cifar'])
def test_every_processor_makes_the_same_bits(level):
    payloads = [payload for kind in KINDS for payload in payloads_of('420', kind)]
    first, _ = rendered(payloads, drawn(level, len(payloads), 93), 93, level=0)
    for other in (1, 2):
        np.testing.assert_array_equal(first, rendered(payloads, drawn(level, len(payloads), 93), 93, level=other)[0])


def cmyk(picture):
    """As printers' programs write it: inverted, with Adobe's marker."""
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture[..., ::-1]).convert('CMYK').save(file, 'JPEG', quality=95)
    return file.getvalue()


def rgb(picture):
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture[..., ::-1]).save(file, 'JPEG', quality=95, keep_rgb=True, subsampling=0)
    return file.getvalue()


@pytest.mark.parametrize('encode', [cmyk, rgb, lambda p: jpeg(cv2.cvtColor(p, cv2.COLOR_BGR2GRAY)), jpeg])
@pytest.mark.parametrize('level', [1, 2, 3, 'rrc'])
def test_rarer_colours(encode, level):
    payloads = [encode(photograph(i, 120, 150)) for i in range(4)]
    found, rows = rendered(payloads, drawn(level, 4, 80, hls=(0, 0, 0)), 80)
    wanted = by_opencv(payloads, rows, 80)
    assert np.abs(found - wanted).mean() < 0.5
    if level == 1:
        np.testing.assert_array_equal(found, wanted)


def with_one_wrong_view(change):
    """Pixels and texts of two pictures with two views each, of which change(step) has made the last one wrong."""
    held = [np.frombuffer(jpeg(photograph(i, 40, 50)), np.uint8) for i in range(2)]
    sources, why = np.zeros(2, native.PAYLOAD), np.zeros((2, native.WHY), np.uint8)
    sources['data'], sources['length'] = [native.address(one) for one in held], [len(one) for one in held]
    native.heads(sources, why)
    rows = np.zeros((2, 2), geometry.ROW)
    for steps in rows['last'].reshape(-1, 1):
        geometry.resize(steps, np.array([[5, 5, 37, 37]]), np.array([[32, 32]]), geometry.LINEAR)
    change(rows['last'][1, 1:])
    out = np.full((2, 2, 3, 32, 32), 7, np.uint8)
    native.Decoder().render(sources, rows, np.zeros(1, native.PIXELS), out, why)
    return out, native.failures(why)


def box(*sides):
    return lambda steps: geometry.resize(steps, np.array([sides]), np.array([[32, 32]]), geometry.AREA)


@pytest.mark.parametrize(
    'change',
    [box(19, 0, 51, 32), box(0, 9, 32, 41), box(-1, 0, 31, 32), box(0, -1, 32, 31), box(9, 9, 9, 41)]
    + [lambda steps: geometry.cut(steps, Size(32, 32), np.array([1]), np.array([0]))]
    + [lambda steps: geometry.cut(steps, Size(32, 32), np.array([0]), np.array([-1]))],
)
def test_a_view_outside_of_its_picture_is_refused(change):
    out, texts = with_one_wrong_view(change)
    assert texts == {1: 'has a view outside of the picture'}
    assert (out[1] == 7).all()  # the first view of that picture, which is right, is not written either
    assert (out[0] != 7).any()


@pytest.mark.parametrize(('width', 'height'), [(33, 32), (32, 31), (0, 32), (-1, 32)])
def test_views_of_another_size_are_refused(width, height):
    def change(steps):
        steps['width'], steps['height'] = width, height

    out, texts = with_one_wrong_view(change)
    assert texts == {1: 'has views of different sizes'}
    assert (out[1] == 7).all()
    assert (out[0] != 7).any()


def told(payload):
    return native.check_jpeg(native.Decoder(), payload)[0]


def patched(payload, marker, at, new):
    """With other bytes behind a marker."""
    place = payload.index(marker) + at
    return payload[:place] + new + payload[place + len(new) :]


def test_damage_is_named():
    good = jpeg(photograph(0, 100, 120))
    assert told(good) == ''
    assert told(good[: len(good) // 2]) == 'is truncated'
    huge = patched(good, b'\xff\xc0', 5, (60000).to_bytes(2, 'big') * 2)
    assert told(huge) == 'has 60000x60000 pixels, more than 134217728 are refused'
    with pytest.raises(PictureError, match='has 60000x60000 pixels, more than 134217728 are refused'):
        decode(huge)
    assert told(patched(good, b'\xff\xc0', 11, b'\x00')) != ''  # a sampling factor of zero
    middle = len(good) * 2 // 3
    assert told(good[:middle] + b'\xff\xd9' + good[middle:]).startswith('is damaged (')
    assert told(patched(good, b'\xff\xc0', 5, (4000).to_bytes(2, 'big'))).startswith(
        'is damaged ('
    )  # rows that are not there


def test_a_cut_sees_damage_within_it_alone():
    """Only what a view needs is decoded, so damage elsewhere stays unseen, as in every reader of regions."""
    payload = jpeg(photograph(1, 256, 256), 4)
    scan = payload.index(b'\xff\xda')
    ends = [i for i in range(scan, len(payload) - 1) if payload[i] == 0xFF and 0xD0 <= payload[i + 1] <= 0xD7]
    last = ends[-1] + 2
    damaged = payload[:last] + b'\xff\xd9'  # the last segment is empty
    assert told(damaged).startswith('is damaged (')
    top = view.view_rows(np.array([[256, 256]]), 64, view.View(crops=10))[:, :1]  # the upper left corner
    found, rows = rendered([damaged], lambda sizes: top, 64)
    np.testing.assert_array_equal(found, by_opencv([payload], rows, 64))
