"""What evaluation shows a network of a picture, and where it finds the pictures."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from ibnnet_mx import data
from ibnnet_mx.metrics import classification
from ibnnet_mx.recordio.format import RecordFile
from ibnnet_mx.recordio.pixels import opencv, view
from ibnnet_mx.recordio.pixels.pictures import PictureError, decode, to_short_side
from ibnnet_mx.recordio.pixels.region import Decoded, open_picture
from ibnnet_mx.recordio.pixels.view import View
from ibnnet_mx.recordio.reading.options import Options
from ibnnet_mx.recordio.reading.reader import Reader
from ibnnet_mx.size import Size
from tests.picture_sets import NAMES, class_folders, run, tree
from tests.record_sets import jpeg, png, ramp, scene, write

RAW = data.Input(32, (0.0,) * 3, (1.0,) * 3)


def shrunk(picture, short):
    """The central square of the picture with its short side at `short` pixels."""
    (window,) = opencv.windows(Decoded(picture), short, View(short))
    return window


def corners(windows):
    """Column and row of each window's first pixel on a ramp; from the right for mirrors."""
    return [(int(window[0, 0, 2]), int(window[0, 0, 1])) for window in windows]


def test_ten_crops_are_corners_centre_and_mirrors():
    windows = opencv.windows(Decoded(ramp(21, 30, 1)), 16, View(crops=10))
    assert corners(windows[:5]) == [(0, 0), (14, 0), (0, 5), (14, 5), (7, 2)]
    for plain, mirror in zip(windows[:5], windows[5:]):
        np.testing.assert_array_equal(mirror, plain[:, ::-1])
    np.testing.assert_array_equal(windows[4], opencv.windows(Decoded(ramp(21, 30, 1)), 16, View())[0])


@pytest.mark.parametrize('shape', [(16, 16), (9, 30), (40, 11), (3, 3)])
def test_ten_crops_of_a_picture_without_room(shape):
    windows = opencv.windows(Decoded(ramp(*shape, 1)), 16, View(crops=10))
    assert {window.shape for window in windows} == {(16, 16, 3)}
    np.testing.assert_array_equal(windows[4], opencv.windows(Decoded(ramp(*shape, 1)), 16, View())[0])


def test_ten_crops_of_a_picture_in_segments_are_those_of_the_whole():
    payload = jpeg(scene(0, 100, 144), 3)
    for one, other in zip(
        opencv.windows(open_picture(payload), 48, View(crops=10)),
        opencv.windows(Decoded(decode(payload)), 48, View(crops=10)),
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('crops', view.CROPS)
def test_the_short_side_is_brought_to_size_as_the_packer_does(crops):
    picture = scene(1, 90, 130)
    small = Decoded(to_short_side(picture, 64))
    for one, other in zip(
        opencv.windows(Decoded(picture), 48, View(64, crops=crops)), opencv.windows(small, 48, View(crops=crops))
    ):
        np.testing.assert_array_equal(one, other)


def test_large_pictures_are_averaged_over_areas():
    """Bilinear sampling leaves out pixels below half the size, which makes stripes of what is grey."""
    stripes = np.zeros((200, 300, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.ptp(shrunk(stripes, 40)) < 60
    assert np.ptp(to_short_side(stripes, 40)) == 200


@pytest.mark.parametrize('shape', [(32, 32), (60, 40), (20, 50), (8, 8)])
def test_small_pictures_are_seen_whole(shape):
    from ibnnet_mx.recordio.pixels.pictures import encode_cifar

    picture = scene(2, *shape)
    (seen,) = opencv.windows(Decoded(picture), 32, view.choose_view(32, None, 1, packed=False))
    np.testing.assert_array_equal(seen, decode(encode_cifar(picture)))


def test_a_strip_is_refused():
    with pytest.raises(PictureError, match='is a strip of 3000x5: 19200 pixels long at a short side of 32'):
        opencv.windows(Decoded(np.zeros((5, 3000, 3), np.uint8)), 32, View(32))


@pytest.mark.parametrize(
    ('size', 'resize', 'packed', 'wanted'),
    [
        (224, None, True, View()),
        (224, 256, True, View(256)),
        (224, None, False, View(256)),
        (320, None, False, View(366)),
        (224, 320, False, View(320)),
        (224, 224, False, View(224)),
        (32, None, False, View(None, Size.of(32))),
        (28, None, False, View(None, Size.of(32))),
        (64, None, False, View(None, Size.of(64))),
        (32, None, True, View()),
        (32, 36, False, View(36)),
    ],
)
def test_how_a_picture_is_cut_follows_from_the_options(size, resize, packed, wanted):
    for crops in view.CROPS:
        assert view.choose_view(size, resize, crops, packed) == wanted._replace(crops=crops)


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        ((224, 200, 1), 'resize=200 is not from `size` 224 to 16000: the crop must fit'),
        ((224, 16001, 1), 'resize=16001 is not from'),
        ((0, None, 1), 'size=0 must be a side, or height x width, of 1'),
        ((224, None, 5), 'crops=5 must be 1 (the centre) or 10'),
    ],
)
def test_options_that_cannot_be_are_refused(words, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        view.choose_view(*words, packed=True)


def evaluated(path, batch=100, size=32, said=None, **options):
    """The Evaluation's data float32 (n, crops, 3, S, S), labels and itself, padding left out."""
    reading = Options(threads=2, report=(said if said is not None else []).append)
    pictures = data.evaluation_iter(path, RAW._replace(size=size), batch, options=reading, **options)
    rows, labels = [], []
    for values, label, real in pictures.epoch():
        values = values.asnumpy().reshape(len(label), -1, 3, size, size)
        rows.append(values[:real])
        labels.append(label[:real])
    pictures.close()
    return np.concatenate(rows), np.concatenate(labels), pictures


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    """Class folders of 32x32 PNGs, validation of another count of pictures than a batch, and the records of them."""
    from ibnnet_mx.recordio.pixels.pictures import encode_cifar

    folder = tmp_path_factory.mktemp('small')
    files = {
        f'{side}/{name}/{i}.png': encode_cifar(scene(17 * i + ord(name[0]) + len(side), 32, 32))
        for side, count in (('train', 2), ('val', 5))
        for name in NAMES
        for i in range(count)
    }
    assert run(tree(folder / 'pictures', files), folder / 'records') == 0
    return folder


@pytest.mark.parametrize('options', [{}, {'crops': 10}, {'resize': 40}, {'resize': 40, 'crops': 10}])
def test_a_folder_and_the_records_packed_from_it_agree(small, options):
    for size in (32, 24):
        one, labels, pictures = evaluated(small / 'pictures', size=size, **options)
        other, known, records = evaluated(small / 'records', size=size, **options)
        assert (pictures.names, pictures.classes, pictures.count) == (records.names, records.classes, records.count)
        assert one.shape == (15, options.get('crops', 1), 3, size, size)
        np.testing.assert_array_equal(labels, known)
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('crops', view.CROPS)
@pytest.mark.parametrize('batch', [1, 7, 100])
def test_the_numbers_do_not_depend_on_batches_or_threads(small, batch, crops):
    def predict(values):
        return values.asnumpy().mean(axis=(2, 3), dtype=np.float64) / 20

    def result(rows, threads):
        options = Options(threads=threads)
        pictures = data.evaluation_iter(small / 'records', RAW._replace(size=24), rows, crops=crops, options=options)
        found = classification.evaluate(predict, pictures.epoch(), classification.Tally(), crops).result()
        pictures.close()
        return found

    one, other = result(15 * crops, 1), result(batch, 3)
    np.testing.assert_array_equal(one.predicted, other.predicted)
    assert (one.count, one.top1, one.per_class()) == (15, other.top1, other.per_class())
    assert one.cross_entropy == pytest.approx(other.cross_entropy, rel=1e-12)


def test_a_batch_holds_no_more_rows_than_whole_pictures_need(small):
    for batch, rows in ((1, 10), (30, 30), (31, 40)):
        pictures = data.evaluation_iter(small / 'records', RAW, batch, crops=10, options=Options(threads=1))
        assert {values.shape[0] for values, _, _ in pictures.epoch()} == {rows}
        pictures.close()


def test_records_are_seen_as_validation_sees_them(tmp_path):
    path = write(tmp_path / 'val_256_q90.rec', [jpeg(scene(i, 60 + i, 96), 3) for i in range(7)])
    (tmp_path / 'synset.txt').write_text('\n'.join('abcdefg'))
    for found in (path, tmp_path):
        rows, labels, pictures = evaluated(found, 4, size=48)
        reader = Reader(path, 48, 7, None, options=Options(threads=1))
        (batch,) = reader.epoch()
        reader.close()
        np.testing.assert_array_equal(rows[:, 0], batch.data)
        np.testing.assert_array_equal(labels, batch.label)
        assert (pictures.path, pictures.view, pictures.names) == (str(path), View(), list('abcdefg'))


@pytest.mark.parametrize('shape', [(300, 400), (700, 620), (100, 90)])
def test_a_picture_is_seen_as_predict_sees_it(tmp_path, shape):
    folder = tree(tmp_path / 'in', {'cat/a.png': png(scene(0, *shape))})
    rows, _, _ = evaluated(folder, 1, size=224)
    np.testing.assert_array_equal(rows[0, 0], data.load_image(folder / 'cat' / 'a.png', RAW._replace(size=224)))


def test_what_is_left_out_is_told(tmp_path):
    said = []
    folder = tree(tmp_path / 'in', {**class_folders(), 'readme.txt': b'x'})
    assert evaluated(folder, said=said)[2].count == 12
    assert said == [f'{folder}: files that cannot be packed are left out: 1 .txt']


def test_mistakes_are_named(tmp_path, small):
    (tmp_path / 'empty').mkdir()
    bad = write(tmp_path / 'bad.rec', [png(scene(0, 32, 32))], [0.5])
    for path, options, text in (
        (tmp_path / 'empty', {}, 'empty: no pictures in class folders (CLASS/x.jpg, '),
        (tmp_path / 'empty', {}, '; and no validation records (cifar10_val.rec or val_256_q90.rec)'),
        (tmp_path / 'none.rec', {}, 'none.rec'),
        (bad, {}, 'bad.rec: record 0 has label 0.5, no class number'),
        (small / 'records', {'batch': 0}, 'batch_size=0 must be at least 1'),
        (small / 'records', {'resize': 20}, 'resize=20 is not from `size` 32'),
    ):
        with pytest.raises(ValueError, match=re.escape(text)):
            evaluated(path, **options)


def test_shrinking_agrees_with_pillow_better_than_bilinear_sampling():
    """torch's networks were trained on PIL's filter, which averages over what a pixel covers."""
    from PIL import Image

    for seed in range(3):
        picture = scene(seed, 600, 800)
        wanted = np.asarray(Image.fromarray(picture).resize((266, 200), Image.Resampling.BILINEAR)).astype(float)
        errors = [
            np.abs(seen - wanted[:, 33:233]).mean()
            for seen in (shrunk(picture, 200), to_short_side(picture, 200)[:, 33:233])
        ]
        assert errors[0] < 0.6 * errors[1]


def test_packed_records_of_large_pictures_hold_what_was_packed(tmp_path):
    """The record's own pixels are used, whatever the crop: no second scaling."""
    assert run(tree(tmp_path / 'in', class_folders(('train/', 'val/'), 1, (300, 400))), tmp_path / 'out') == 0
    rows, _, _ = evaluated(tmp_path / 'out', size=224)
    with RecordFile(tmp_path / 'out' / 'val_256_q90.rec') as records:
        picture = cv2.imdecode(np.frombuffer(records.read(0).payload, np.uint8), 1)
    np.testing.assert_array_equal(rows[0, 0], picture[16:240, 58:282, ::-1].transpose(2, 0, 1))
