"""Decoding a part of a JPEG: the pixels of the whole, or the whole itself where there is any doubt."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibnnet_mx.recordio.pixels import pictures, region
from ibnnet_mx.recordio.pixels.pictures import PictureError
from tests.record_sets import jpeg, scene

SAMPLINGS = {'444': (8, 8), '422': (16, 8), '440': (8, 16), '420': (16, 16)}


def flag(sampling):
    return getattr(cv2, f'IMWRITE_JPEG_SAMPLING_FACTOR_{sampling}')


@st.composite
def boxes(draw, limit):
    first = draw(st.integers(0, limit - 1))
    return first, draw(st.integers(first + 1, limit))


@settings(max_examples=120, deadline=None)
@given(
    data=st.data(),
    sampling=st.sampled_from(sorted(SAMPLINGS)),
    height=st.integers(1, 90),
    width=st.integers(1, 130),
    share=st.sampled_from([1, 2, 3, 100]),
)
def test_a_window_is_that_of_the_whole_picture(data, sampling, height, width, share):
    across = -(-width // SAMPLINGS[sampling][0])
    interval = max(k for k in range(1, across + 1) if across % k == 0 and k <= share)
    payload = jpeg(scene(height * width, height, width), interval, flag(sampling))
    (left, right), (top, bottom) = data.draw(boxes(width)), data.draw(boxes(height))
    picture = region.open_picture(payload)
    assert isinstance(picture, region.Segments)
    assert (picture.width, picture.height) == (width, height)
    np.testing.assert_array_equal(
        picture.window(left, top, right, bottom), pictures.decode(payload)[top:bottom, left:right]
    )


@pytest.mark.parametrize('width', [83, 85])  # the last column of MCUs is narrower than what libjpeg interpolates
@pytest.mark.parametrize('sampling', SAMPLINGS)
def test_every_box_of_corners_and_seams(sampling, width):
    payload = jpeg(scene(5, 53, width), 1, flag(sampling))
    whole, picture = pictures.decode(payload), region.open_picture(payload)
    edges_x, edges_y = (0, 1, 15, 16, 17, 31, 32, 33, 81, 82, width), (0, 1, 15, 16, 17, 32, 52, 53)
    for left, right in ((a, b) for a in edges_x for b in edges_x if a < b):
        for top, bottom in ((a, b) for a in edges_y for b in edges_y if a < b):
            part = picture.window(left, top, right, bottom)
            assert np.array_equal(part, whole[top:bottom, left:right]), (left, top, right, bottom)


def test_only_the_needed_segments_are_decoded():
    payload = pictures.encode_jpeg(scene(1, 480, 640), 90)
    known = region.layout(payload)
    data, x, y = region.cut(payload, known, (200, 100, 300, 200))
    assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape == (112, 112, 3)
    assert (x, y) == (192, 96)


def test_grey_is_cut_too():
    payload = jpeg(scene(2, 40, 48)[..., 0], 3)
    picture = region.open_picture(payload)
    assert isinstance(picture, region.Segments)
    np.testing.assert_array_equal(picture.window(9, 9, 30, 35), pictures.decode(payload)[9:35, 9:30])


def without(payload, start, count):
    return payload[:start] + payload[start + count :]


def segments(payload):
    known = region.layout(payload)
    return region._bounds(payload, known)


def test_what_is_not_cut_is_decoded_whole():
    picture = scene(3, 48, 96)  # 6 MCUs a row
    plain = [
        jpeg(picture),
        jpeg(picture, 4),
        jpeg(picture, 12),
        jpeg(picture, 3, progressive=1),
        jpeg(picture, 3, flag('411')),
        cv2.imencode('.png', picture)[1].tobytes(),
    ]
    for payload in plain:
        assert region.layout(payload) is None
        np.testing.assert_array_equal(
            region.open_picture(payload).window(7, 8, 60, 40), pictures.decode(payload)[8:40, 7:60]
        )


def test_unexpected_markers_mean_no_cut():
    payload = jpeg(scene(3, 48, 96), 3)
    known, bounds = region.layout(payload), segments(payload)
    swapped, doubled = bytearray(payload), bytearray(payload)
    swapped[bounds[1] - 1] = 0xD5
    doubled[bounds[1] + 2 : bounds[1] + 4] = b'\xff\xd1'
    cases = [swapped, doubled, without(payload, bounds[1] - 2, 2), payload[: bounds[3]], payload[: known.scan_at]]
    for case in map(bytes, cases):
        assert region.cut(case, known, (0, 0, 10, 10)) is None
    assert region.cut(payload + b'trailing bytes', known, (0, 0, 10, 10)) is not None


def test_a_truncated_picture_is_an_error_when_its_pixels_are_read():
    payload = jpeg(scene(3, 48, 96), 3)
    with pytest.raises(PictureError, match='truncated'):
        region.open_picture(payload[: len(payload) // 2]).window(0, 0, 5, 5)
    with pytest.raises(PictureError, match='empty'):
        region.open_picture(b'')


@settings(max_examples=400, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), min_size=1, max_size=6),
    keep=st.integers(0, 3000),
)
def test_damage_gives_pixels_or_a_picture_error(changes, keep):
    payload = bytearray(jpeg(scene(4, 40, 64), 2))
    for at, value in changes:
        payload[at % len(payload)] = value
    try:
        picture = region.open_picture(bytes(payload[: max(keep, 100)]))
        if max(picture.width, picture.height) < 2000:
            right, bottom = min(33, picture.width), min(21, picture.height)
            assert picture.window(0, 0, right, bottom).shape == (bottom, right, 3)
    except PictureError:
        pass
