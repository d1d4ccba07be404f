"""Views that are not square: their places, C and OpenCV, mxnet's own reader, whole epochs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibnnet_mx.errors import OptionError
from ibnnet_mx.recipe import AUGMENT
from ibnnet_mx.recordio import Loader
from ibnnet_mx.recordio.fast import native
from ibnnet_mx.recordio.inspection import sheet
from ibnnet_mx.recordio.pixels import augment, geometry, opencv, view
from ibnnet_mx.recordio.pixels.augment import Augment
from ibnnet_mx.recordio.pixels.region import Decoded
from ibnnet_mx.recordio.pixels.view import View
from ibnnet_mx.recordio.reading.options import Options
from ibnnet_mx.recordio.reading.reader import Reader
from ibnnet_mx.size import Size
from tests.record_sets import jpeg, photograph, ramp, scene, write

LEVEL = {name: Augment(**values) for name, values in AUGMENT.items()}
SHAPES = [(24, 40), (40, 24), (64, 32), (256, 128), (1, 7)]
WAYS = [*LEVEL, 'val']


def rows_of(way, sizes, size, seed=0):
    if way == 'val':
        return view.view_rows(sizes, size, View())[:, 0]
    return augment.draw_rows(LEVEL[way], augment.uniforms(seed, 0, np.arange(len(sizes))), sizes, size)


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=4),
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    way=st.sampled_from(WAYS),
)
def test_a_turned_world_gives_turned_windows(sizes, size, way):
    """Every view has the asked size and lies within its picture; a window takes its room on each axis."""
    wanted = Size(*size)
    for row, (width, height) in zip(rows_of(way, np.array(sizes), size), sizes):
        step = row['last']
        assert (step['height'], step['width']) == wanted
        if step['kind'] == geometry.WARP:
            continue
        left, top, right, bottom = step['box']
        assert 0 <= left < right <= (width if row['first']['kind'] == geometry.NONE else right)
        assert 0 <= top < bottom <= (height if row['first']['kind'] == geometry.NONE else bottom)
        assert 0 <= step['x'] <= step['full_width'] - wanted.width
        assert 0 <= step['y'] <= step['full_height'] - wanted.height


@settings(max_examples=100, deadline=None)
@given(width=st.integers(1, 90), height=st.integers(1, 90), size=st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_a_picture_is_enlarged_no_more_than_it_must_be(width, height, size):
    (full,) = geometry.enlarged(np.array([[width, height]]), Size(*size))
    assert full[0] >= size[1]
    assert full[1] >= size[0]
    if width >= size[1] and height >= size[0]:
        assert full.tolist() == [width, height]
    else:
        assert full[0] == size[1] or full[1] == size[0]


@pytest.mark.parametrize('size', SHAPES)
def test_validation_cuts_the_centre(size):
    high, wide = size
    picture = ramp(high + 21, wide + 30, 1)
    (seen,) = opencv.windows(Decoded(picture), size, View())
    np.testing.assert_array_equal(seen, picture[10 : 10 + high, 15 : 15 + wide])


@pytest.mark.parametrize('size', [(24, 40), (256, 128)])
@pytest.mark.parametrize('shape', [(300, 200), (100, 400), (256, 128), (20, 10)])
def test_a_file_is_brought_whole_to_a_size_that_is_not_square(size, shape):
    picture, (high, wide) = scene(0, *shape), size
    (seen,) = opencv.windows(Decoded(picture), size, view.choose_view(size, None, 1, packed=False))
    method = cv2.INTER_AREA if shape[0] > high and shape[1] > wide else cv2.INTER_LINEAR
    np.testing.assert_array_equal(seen, cv2.resize(picture, (wide, high), interpolation=method))


@pytest.mark.parametrize('packed', [True, False])
def test_ten_crops_are_corners_centre_and_mirrors(packed):
    chosen = view.choose_view((32, 16), None, 10, packed)
    windows = opencv.windows(Decoded(ramp(60, 50, 3)), (32, 16), chosen)
    assert {window.shape for window in windows} == {(32, 16, 3)}
    assert len({window.tobytes() for window in windows}) == 10
    for plain, mirror in zip(windows[:5], windows[5:]):
        np.testing.assert_array_equal(mirror, plain[:, ::-1])


def test_the_short_side_must_hold_both_sides_of_a_crop():
    assert view.choose_view((40, 24), 40, 1, True) == View(40)
    with pytest.raises(OptionError, match='resize=39 is not from `size` 40 to'):
        view.choose_view((40, 24), 39, 1, True)


@pytest.mark.skipif(native.functions() is None, reason='the C reader is not built')
@pytest.mark.parametrize('size', [(24, 40), (40, 24), (64, 32), (100, 50)])
@pytest.mark.parametrize('level', WAYS)
def test_c_and_opencv_give_the_same_epochs(tmp_path, level, size):
    path = write(
        tmp_path / 'a.rec', [jpeg(photograph(i, 80 + 9 * i, 60 + 13 * (i % 3)), 3 * (i % 2)) for i in range(9)]
    )
    changes = None if level == 'val' else LEVEL[level]._replace(hls=(0, 0, 0))
    streams = []
    for use in (True, False):
        reader = Reader(path, size, 4, changes, options=Options(threads=2, native=use))
        streams.append([batch.data for batch in reader.epoch(1)])
        reader.close()
    for one, other in zip(*streams):
        assert one.shape[1:] == (3, *size)
        assert np.abs(one - other).mean() < (2.5 if changes and changes.warps else 0.5)


@pytest.mark.parametrize('size', [(24, 40), (48, 20)])
@pytest.mark.parametrize('level', [2, 'rrc', 'cifar'])
def test_threads_and_a_start_in_the_middle_change_nothing(tmp_path, level, size):
    path = write(tmp_path / 'a.rec', [jpeg(scene(i, 80 + i, 96)) for i in range(9)])
    streams = []
    for threads, start in ((1, 0), (3, 0), (2, 1)):
        reader = Reader(path, size, 4, LEVEL[level], options=Options(threads=threads, seed=5))
        streams.append([batch.data.copy() for batch in reader.epoch(2, start)])
        reader.close()
    whole, threaded, later = streams
    for one, other in [*zip(whole, threaded), *zip(whole[1:], later)]:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('shape', [(70, 90), (30, 120), (20, 18)])
@pytest.mark.parametrize('size', [(24, 40), (56, 28)])
def test_the_central_crop_is_that_of_mxnet(tmp_path, shape, size):
    mx = pytest.importorskip('mxnet')

    from ibnnet_mx.record_iter import ImageRecordIter

    path = write(tmp_path / 'a.rec', [jpeg(photograph(i, *shape)) for i in range(4)])
    common = dict(path_imgrec=str(path), data_shape=(3, *size), batch_size=4)
    ours, theirs = ImageRecordIter(**common), mx.io.ImageRecordIter(preprocess_threads=1, verbose=False, **common)
    assert ours.provide_data[0].shape == theirs.provide_data[0].shape == (4, 3, *size)
    one, other = next(ours).data[0].asnumpy(), theirs.next().data[0].asnumpy()
    ours.close()
    enlarged = shape[0] < size[0] or shape[1] < size[1]
    assert np.abs(one - other).mean() < (1 if enlarged else 1e-4)  # mxnet enlarges in two steps


def test_a_loader_gives_pictures_that_are_not_square(tmp_path):
    path = write(tmp_path / 'a.rec', [jpeg(ramp(64, 32, 3), quality=100)] * 3)
    with Loader(path, 2, size=(64, 32), dtype='uint8') as loader:
        images, _ = next(iter(loader))
    assert images.shape == (2, 3, 64, 32)
    assert np.abs(images[0, 0, 5].astype(int) - 3 * np.arange(32)).max() <= 4  # red counts the columns
    with pytest.raises(ValueError, match='resize 63: a whole number from 64'):
        Loader(path, 2, size=(64, 32), resize=63)


def test_a_sheet_has_tiles_that_are_not_square(tmp_path):
    from ibnnet_mx.recordio.format import RecordFile

    path = write(tmp_path / 'a.rec', [jpeg(photograph(i, 256, 128)) for i in range(4)])
    with RecordFile(path) as records:
        cell = sheet._cell(records, 0, Size(256, 128), [], sheet.Draws(LEVEL[1], 2))
        paper = sheet.draw_sheet(records, 4, (256, 128), [], sheet.Draws(LEVEL[1], 2))
    assert [tile.shape for tile in cell.tiles] == [(256, 128, 3)] * 3
    assert np.abs(cell.tiles[0].astype(int) - photograph(0, 256, 128)).mean() < 4
    assert paper.shape[0] > 256
