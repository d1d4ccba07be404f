"""The augmentations have the statistics of mxnet's ImageRecordIter: place, scale, aspect, rotation, shear, colour."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ibnnet_mx.recipe import AUGMENT
from ibnnet_mx.recordio.pixels.augment import Augment
from ibnnet_mx.recordio.reading.options import Options
from ibnnet_mx.recordio.reading.reader import Reader
from tests.record_sets import png, ramp, write

mx = pytest.importorskip('mxnet')

SIZE = 32
SIZES = [(SIZE, SIZE), (24, 40), (40, 24)]
RECORDS, EPOCHS = 64, 20
WARP = dict(min_random_scale=0.533, max_aspect_ratio=0.25)
THEIRS = {
    1: {},
    2: WARP,
    3: dict(WARP, max_rotate_angle=10, max_shear_ratio=0.1),
    'cifar': dict(pad=4),
}


def their_views(path, size, **options):
    """(n, 3, *size) of ImageRecordIter, which knows no seed for the crops and repeats them in each run."""
    iterator = mx.io.ImageRecordIter(
        path_imgrec=str(path),
        data_shape=(3, *size),
        batch_size=RECORDS,
        rand_crop=True,
        rand_mirror=True,
        fill_value=127,
        preprocess_threads=1,
        verbose=False,
        **options,
    )
    views = []
    for _ in range(EPOCHS):
        views += [batch.data[0].asnumpy() for batch in iterator]
        iterator.reset()
    return np.concatenate(views)


def our_views(path, size, changes):
    reader = Reader(path, size, RECORDS, changes, options=Options(threads=1, seed=1))
    views = np.concatenate([batch.data for epoch in range(EPOCHS) for batch in reader.epoch(epoch)])
    reader.close()
    return views


def assert_same_distribution(ours, theirs):
    """Two-sample Kolmogorov-Smirnov test of each column at one in a hundred thousand."""
    assert ours.shape == theirs.shape
    limit = math.sqrt(-math.log(1e-5 / 2) / len(ours))
    for a, b in zip(ours.T, theirs.T):
        values = np.unique(np.concatenate([a, b]))
        distance = np.abs(
            np.searchsorted(np.sort(a), values, 'right') / len(a)
            - np.searchsorted(np.sort(b), values, 'right') / len(b)
        )
        assert distance.max() < limit
        assert abs(a.mean() - b.mean()) < 5 * math.hypot(a.std(), b.std()) / math.sqrt(len(a)) + 1e-9
        assert abs(a.std() - b.std()) < 0.08 * b.std() + 1e-9


def changes_of(views, step):
    """(n, 7) of views of a ramp: scale, aspect, shear, degrees, the centre's two coordinates, whether mirrored."""
    height, width = views.shape[2:]
    y, x = np.mgrid[:height, :width]
    rows = []
    for view in views:
        seen = view[2] > 254.5  # blue is full where there is picture
        places = np.stack([x[seen] - (width - 1) / 2, y[seen] - (height - 1) / 2, np.ones(seen.sum())], 1)
        found = np.linalg.lstsq(places, view[:2][:, seen].T / step, rcond=None)[0].T.copy()
        mirrored = found[0, 0] < 0
        found[:, 0] *= -1 if mirrored else 1
        (m00, m01), (m10, m11) = np.linalg.inv(found[:, :2])
        ws, angle = math.hypot(m10, m11), math.atan2(-m10, m11)
        a, b = math.cos(angle), math.sin(angle)
        hs, shear = m00 * a + m01 * b, (m01 * a - m00 * b) / ws
        rows.append([hs * (1 + ws / hs) / 2, ws / hs, shear, math.degrees(angle), *found[:, 2], mirrored])
    return np.round(np.array(rows), 2)


@pytest.fixture(scope='module')
def ramps(tmp_path_factory):
    folder = tmp_path_factory.mktemp('ramps')
    small = {size: write(folder / f'{size}.rec', [png(ramp(*size, 6))] * RECORDS) for size in SIZES}
    return small, write(folder / 'large.rec', [png(ramp(84, 100, 2.5))] * RECORDS)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('level', THEIRS)
def test_place_and_shape_are_distributed_as_mxnet_does(ramps, level, size):
    small, large = ramps
    path, step = (small[size], 6) if level == 'cifar' else (large, 2.5)
    changes = Augment(**AUGMENT[level])._replace(hls=(0, 0, 0))
    both = our_views(path, size, changes), their_views(path, size, **THEIRS[level])
    ours, theirs = (changes_of(views, step) for views in both)
    assert_same_distribution(ours, theirs)
    if level == 1:
        for views in (ours, theirs):
            left, top = (np.round(views[:, column] - (side - 1) / 2) for column, side in zip((4, 5), size[::-1]))
            assert (left.min(), left.max(), top.min(), top.max()) == (0, 100 - size[1], 0, 84 - size[0])
    if level == 3:
        for views in (ours, theirs):
            assert set(np.round(views[:, 3]).astype(int)) == set(range(-10, 11))
            assert abs(views[:, 2]).max() > 0.09


@pytest.mark.parametrize('colour', [(60, 120, 180), (200, 90, 80), (30, 30, 35)])
def test_colour_is_distributed_as_mxnet_does(tmp_path, colour):
    path = write(tmp_path / 'a.rec', [png(np.full((SIZE, SIZE, 3), colour, np.uint8))] * RECORDS)
    ours = our_views(path, SIZE, Augment(hls=AUGMENT[2]['hls']))[:, :, 0, 0]
    theirs = their_views(path, (SIZE, SIZE), random_h=36, random_l=50, random_s=50)[:, :, 0, 0]
    assert_same_distribution(ours, theirs)
    assert ours.std(0).min() > 8
