"""What is done to one picture: the draws, each change alone, and mxnet's recipe in two steps."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibnnet_mx.recipe import AUGMENT
from ibnnet_mx.recordio.pixels import augment, opencv, view
from ibnnet_mx.recordio.pixels.augment import Augment, uniforms
from ibnnet_mx.recordio.pixels.opencv import pixel_table, planes
from ibnnet_mx.recordio.pixels.region import Decoded, open_picture
from tests.record_sets import jpeg, ramp, scene

LEVEL = {name: Augment(**values) for name, values in AUGMENT.items()}
sides = st.integers(1, 40)


def size_of(picture):
    return np.array([[picture.width, picture.height]])


def train_view(picture, changes, u, size):
    return opencv.views(picture, augment.draw_rows(changes, np.asarray(u)[None], size_of(picture), size))[0]


def val_view(picture, size):
    return opencv.views(picture, view.view_rows(size_of(picture), size, view.View())[0])[0]


def box_of(changes, u, width, height):
    """x, y, width and height of a resized crop."""
    left, top, right, bottom = augment.resized_boxes(changes, u[None], np.array([[width, height]]))[0]
    return left, top, right - left, bottom - top


def draws(count, seed=0, epoch=0):
    return uniforms(seed, epoch, np.arange(count))


def fixed(**values):
    """A row of draws in the middle of each range, without mirror, besides the given ones (u3=0.9)."""
    row = np.full(augment.DRAWS, 0.5)
    for name, value in values.items():
        row[int(name[1:])] = value
    return row


def test_a_draw_depends_on_seed_epoch_and_record_alone():
    table = uniforms(3, 7, np.array([5, 2, 900, 5]))
    np.testing.assert_array_equal(table[0], table[3])
    np.testing.assert_array_equal(uniforms(3, 7, np.array([2]))[0], table[1])
    rows = {uniforms(s, e, np.array([r])).tobytes() for s in range(6) for e in range(6) for r in range(6)}
    assert len(rows) == 6**3  # (seed, epoch, record) are not mixed up, as in a sum


def test_draws_are_uniform():
    table = draws(40_000)
    assert table.shape == (40_000, augment.DRAWS)
    assert table.min() >= 0
    assert table.max() < 1
    n = len(table)
    for power in (1, 2, 3):
        sigma = math.sqrt(1 / (2 * power + 1) - 1 / (power + 1) ** 2)
        np.testing.assert_allclose((table**power).mean(0), 1 / (power + 1), atol=4.5 * sigma / math.sqrt(n))
    counts = np.stack([np.histogram(column, 64, (0, 1))[0] for column in table.T])
    chi2 = ((counts - n / 64) ** 2 / (n / 64)).sum(1)
    assert (np.abs(chi2 - 63) < 4.5 * math.sqrt(2 * 63)).all()


def correlation(a, b):
    return np.abs(np.corrcoef(a.T, b.T)[: a.shape[1], a.shape[1] :]).max()


def test_neighbours_are_independent():
    table = draws(20_000)
    limit = 5 / math.sqrt(len(table))
    assert correlation(table[1:], table[:-1]) < limit
    assert correlation(table, draws(20_000, epoch=1)) < limit
    assert correlation(table, draws(20_000, seed=1)) < limit
    between = np.corrcoef(table.T) - np.eye(augment.DRAWS)
    assert np.abs(between).max() < limit


def two_steps(picture, changes, u, size):
    """mxnet's recipe: warp all of the picture, enlarge it where it is too small, then cut the crop out."""
    height, width = picture.shape[:2]
    scale = changes.scale[0] + u[0] * (changes.scale[1] - changes.scale[0])
    ratio = 1 + changes.aspect * (2 * u[1] - 1)
    shear = changes.shear * (2 * u[2] - 1)
    angle = math.radians(math.floor(-changes.rotate + u[3] * (2 * changes.rotate + 1)))
    hs = 2 * scale / (1 + ratio)
    ws = ratio * hs
    c, s = math.cos(angle), math.sin(angle)
    matrix = np.array([[hs * c - shear * s * ws, hs * s + shear * c * ws, 0], [-s * ws, c * ws, 0]])
    full = np.array([scale * width, scale * height])
    matrix[:, 2] = (full - matrix[:, :2] @ (width, height)) / 2
    view = cv2.warpAffine(picture, matrix, tuple(int(n) for n in full), flags=cv2.INTER_LINEAR, borderValue=(127,) * 3)
    if view.shape[0] < size:
        view = cv2.resize(view, (max(int(view.shape[1] * size / view.shape[0]), 1), size))
    if view.shape[1] < size:
        view = cv2.resize(view, (size, max(int(view.shape[0] * size / view.shape[1]), size)))
    x, y = math.floor(u[4] * (view.shape[1] - size + 1)), math.floor(u[5] * (view.shape[0] - size + 1))
    return view[y : y + size, x : x + size]


@pytest.mark.parametrize('level', [2, 3])
@pytest.mark.parametrize(('height', 'width'), [(120, 150), (130, 64), (50, 90), (40, 40)])
def test_a_warp_is_that_of_mxnet_in_two_steps(level, height, width):
    picture = cv2.GaussianBlur(scene(height, height, width), (0, 0), 1)
    changes = LEVEL[level]._replace(hls=(0, 0, 0), mirror=False)
    for u in draws(40):
        there, here = two_steps(picture, changes, u, 64), train_view(Decoded(picture), changes, u, 64)
        assert here.shape == there.shape == (64, 64, 3)
        difference = np.abs(here.astype(int) - there)
        assert difference.mean() < 0.1, u
        assert np.percentile(difference, 99) <= 1


def test_the_border_of_a_rotated_picture_is_127():
    view = train_view(Decoded(np.zeros((64, 64, 3), np.uint8)), Augment(rotate=10, mirror=False), fixed(u3=0.999), 64)
    assert view[0, 0].tolist() == view[-1, -1].tolist() == [127] * 3
    assert view[32, 32].tolist() == [0] * 3


@pytest.mark.parametrize('level', [1, 2, 3, 'rrc', 'cifar', 'val'])
@pytest.mark.parametrize('shape', [(120, 144), (60, 200), (40, 48)])
def test_a_view_of_segments_is_that_of_the_whole_picture(level, shape):
    payload = jpeg(scene(1, *shape), 3)
    segments = open_picture(payload)
    whole = Decoded(segments.whole())
    for u in draws(25):
        if level == 'val':
            here, there = val_view(segments, 64), val_view(whole, 64)
        else:
            here, there = (train_view(picture, LEVEL[level], u, 64) for picture in (segments, whole))
        np.testing.assert_array_equal(here, there)


class Watched(Decoded):
    def window(self, left, top, right, bottom):
        assert 0 <= left < right <= self.width
        assert 0 <= top < bottom <= self.height
        self.asked = (right - left) * (bottom - top)
        return super().window(left, top, right, bottom)


@pytest.mark.parametrize('level', [1, 2, 3, 'rrc', 'val'])
def test_a_warp_asks_for_little_more_than_it_shows(level):
    picture, asked = Watched(scene(1, 240, 320)), []
    for u in draws(60):
        _ = val_view(picture, 112) if level == 'val' else train_view(picture, LEVEL[level], u, 112)
        asked.append(picture.asked)
    assert np.mean(asked) < {1: 0.17, 2: 0.40, 3: 0.55, 'rrc': 0.6, 'val': 0.17}[level] * 240 * 320


@settings(max_examples=200, deadline=None)
@given(
    width=sides, height=sides, u=st.lists(st.floats(0, 1, exclude_max=True), min_size=13, max_size=13), data=st.data()
)
def test_every_picture_and_draw_gives_a_view(width, height, u, data):
    level = data.draw(st.sampled_from(list(LEVEL)))
    view = train_view(Watched(scene(0, height, width)), LEVEL[level], np.array(u), 24)
    assert view.shape == (24, 24, 3)
    assert view.dtype == np.uint8


def boxes_of(changes, width, height, count=4000):
    boxes = [box_of(changes, u, width, height) for u in draws(count)]
    return np.array(boxes, float)


def test_resized_crops_cover_the_ranges_of_area_and_ratio():
    x, y, w, h = boxes_of(LEVEL['rrc'], 500, 400).T
    area, ratio = w * h / (500 * 400), w / h
    assert 0.079 < area.min() < 0.085
    assert 0.95 < area.max() <= 1
    assert 0.74 < ratio.min() < 0.76
    assert 1.31 < ratio.max() < 1.345
    small = area < 0.5  # these fit at every ratio, so that no try was thrown away for them
    assert abs(np.log(ratio[small]).mean()) < 0.01
    np.testing.assert_allclose(np.histogram(area[small], 4, (0.08, 0.5))[0] / small.sum(), 0.25, atol=0.04)
    assert (x >= 0).all()
    assert (y >= 0).all()
    assert (x + w <= 500).all()
    assert (y + h <= 400).all()
    rooms = 500 - w > 50
    assert abs((x[rooms] / (500 - w[rooms])).mean() - 0.5) < 0.02


@pytest.mark.parametrize(
    ('width', 'height', 'box'), [(1000, 10, (493, 0, 13, 10)), (10, 1000, (0, 493, 10, 13)), (40, 40, (0, 0, 40, 40))]
)
def test_a_resized_crop_that_never_fits_falls_back_to_the_centre(width, height, box):
    never = Augment(area=(1.5, 2.0)) if width == height else LEVEL['rrc']._replace(area=(0.9, 1.0))
    assert (boxes_of(never, width, height, 20) == box).all()


def test_a_resized_crop_is_its_box_at_the_size():
    picture = scene(2, 90, 120)
    for u in draws(10):
        x, y, w, h = box_of(LEVEL['rrc'], u, 120, 90)
        method = cv2.INTER_AREA if min(w, h) > 32 else cv2.INTER_LINEAR
        wanted = cv2.resize(picture[y : y + h, x : x + w], (32, 32), interpolation=method)
        wanted = wanted[:, ::-1] if u[12] < 0.5 else wanted
        np.testing.assert_array_equal(train_view(Decoded(picture), LEVEL['rrc'], u, 32), wanted)


def test_the_pad_is_127_and_every_shift_of_it_occurs():
    picture = Decoded(np.full((32, 32, 3), 9, np.uint8))
    shifts = set()
    for u in draws(1500):
        view = train_view(picture, LEVEL['cifar']._replace(mirror=False), u, 32)
        assert set(np.unique(view)) <= {9, 127}
        inside = view[..., 0] == 9
        rows, columns = inside.any(1), inside.any(0)
        assert (inside == rows[:, None] & columns).all()
        top = np.argmax(rows) or -np.argmax(rows[::-1])
        left = np.argmax(columns) or -np.argmax(columns[::-1])
        shifts.add((int(top), int(left)))
    assert shifts == {(y, x) for y in range(-4, 5) for x in range(-4, 5)}


def test_half_of_the_pictures_are_mirrored():
    picture = ramp(8, 8, 3)
    views = [train_view(Decoded(picture), LEVEL[1], u, 8) for u in draws(2000)]
    turned = [np.array_equal(view, picture[:, ::-1]) for view in views]
    assert all(t or np.array_equal(view, picture) for t, view in zip(turned, views))
    assert abs(np.mean(turned) - 0.5) < 0.04
    assert not any(
        np.array_equal(train_view(Decoded(picture), LEVEL['digits']._replace(pad=0), u, 8), picture[:, ::-1])
        for u in draws(20)
    )


@pytest.mark.parametrize('shape', [(20, 30), (30, 20), (20, 60), (33, 10), (1, 1), (1, 50)])
def test_a_small_picture_is_enlarged_until_it_covers_the_crop(shape):
    picture = Decoded(np.full((*shape, 3), 200, np.uint8))
    for u in draws(20):
        assert (train_view(picture, LEVEL[1], u, 32) == 200).all()
    assert (val_view(picture, 32) == 200).all()


@settings(max_examples=150, deadline=None)
@given(width=st.integers(12, 60), height=st.integers(12, 60), size=st.integers(1, 12))
def test_validation_sees_the_exact_centre(width, height, size):
    picture = ramp(height, width, 4)
    left, top = (width - size) // 2, (height - size) // 2
    np.testing.assert_array_equal(val_view(Decoded(picture), size), picture[top : top + size, left : left + size])


@settings(max_examples=60, deadline=None)
@given(
    mean=st.tuples(*[st.floats(0, 255)] * 3), std=st.tuples(*[st.floats(0.01, 255)] * 3), shape=st.tuples(sides, sides)
)
def test_planes_are_rgb_minus_mean_over_std(mean, std, shape):
    picture = scene(shape[0], *shape)
    out = np.empty((3, *shape), np.float32)
    planes(picture[:, ::-1], pixel_table(mean, std), out)  # a view with strides, as a mirrored one may be
    wanted = (picture[:, ::-1, ::-1].astype(np.float64) - mean) / std
    np.testing.assert_array_equal(out, wanted.transpose(2, 0, 1).astype(np.float32))


@pytest.mark.parametrize('axis', range(3))
def test_colour_moves_along_one_axis_and_is_clipped(axis):
    amounts = [0, 0, 0]
    amounts[axis] = 50
    hls = np.array([90, 128, 128])
    picture = cv2.cvtColor(np.full((4, 4, 3), hls, np.uint8), cv2.COLOR_HLS2BGR)
    moved = []
    for u in draws(300):
        (row,) = augment.draw_rows(Augment(hls=tuple(amounts)), u[None], np.array([[4, 4]]), 4)
        changed = opencv.jitter(picture, row['hls'])
        moved.append(cv2.cvtColor(changed, cv2.COLOR_BGR2HLS)[0, 0].astype(int) - hls)
    moved = np.array(moved)
    assert moved[:, axis].min() < -35
    assert moved[:, axis].max() > 35
    assert np.abs(np.delete(moved, axis, 1)).max() <= 3  # 8-bit rounding
    assert np.abs(moved).max() <= 52
    white = opencv.jitter(np.full((2, 2, 3), 255, np.uint8), np.array([0, 50, 0]))
    assert (white == 255).all()
