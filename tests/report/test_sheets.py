"""Sheets of pictures and confusion matrices, as they are drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ibnnet_mx import data, shift
from ibnnet_mx.metrics import classification
from ibnnet_mx.recordio.inspection import sheet
from ibnnet_mx.recordio.reading.options import Options
from ibnnet_mx.report import confusion, sheets
from tests.graded_pictures import CLASSES, Model, picture, write_graded
from tests.record_sets import png, write

ONE = Options(threads=1)


@pytest.fixture(scope='module')
def records(tmp_path_factory):
    return write_graded(tmp_path_factory.mktemp('shifted'))


def tiles(path, down, across, wide):
    """The tile in a row and column of cells of one tile of 128 pixels, or of `wide` of them."""
    paper = cv2.imread(str(path))
    height, width = 128 + 2 * sheet.LINE + sheet.GAP, wide * (128 + sheet.TIGHT) - sheet.TIGHT + sheet.GAP
    top, left = sheet.MARGIN + down * height, sheet.MARGIN + across * width
    return [paper[top : top + 128 : 4, left + i * (128 + sheet.TIGHT) :][:, :128:4][..., ::-1] for i in range(wide)]


def sheet_of(records, path, wanted):
    pictures = data.evaluation_iter(records, Model().input, 7, None, 1, ONE, raw=True)
    try:
        sheets.draw_sheet(str(path), pictures, Model(), list('abcd'), wanted, 0)
    finally:
        pictures.close()


def test_a_sheet_shows_what_the_network_is_fed(records, tmp_path):
    sheet_of(records, tmp_path / 'a.png', [])
    assert np.array_equal(tiles(tmp_path / 'a.png', 0, 0, 1)[0], picture(0))
    second = int(sheet.spread(30, sheets.MOST)[1])
    assert np.array_equal(tiles(tmp_path / 'a.png', 0, 1, 1)[0], picture(second))


def test_a_sheet_of_shifts_shows_what_a_picture_has_among_all(tmp_path):
    """The first that can be read, with the noise of its place in the file, and of --seed."""
    payloads = [png(picture(n)[..., ::-1]) for n in range(4)]
    write(tmp_path / 'hurt.rec', [payloads[0][:50], payloads[1][:50], *payloads[2:]], [0] * 4)
    options = ONE._replace(max_bad=2)
    pictures = data.evaluation_iter(tmp_path / 'hurt.rec', Model().input, 7, None, 1, options, raw=True)
    sheets.draw_sheet(str(tmp_path / 'a.png'), pictures, Model(), list('abcd'), [('gaussian_noise', 5)], 3)
    pictures.close()
    clean, noisy = tiles(tmp_path / 'a.png', 0, 0, 2)
    assert np.array_equal(clean, picture(2))
    assert np.array_equal(noisy, shift.apply(picture(2)[None], [2], 'gaussian_noise', 5, seed=3)[0])


def test_a_sheet_of_shifts_shows_the_first_picture(records, tmp_path):
    sheet_of(records, tmp_path / 'a.png', shift.chosen('fog:1,fog:5,hue:5'))
    clean, one, five = tiles(tmp_path / 'a.png', 0, 0, 3)
    assert np.array_equal(clean, picture(0))
    assert np.array_equal(one, shift.apply(picture(0)[None], [0], 'fog', 1)[0])
    assert np.array_equal(five, shift.apply(picture(0)[None], [0], 'fog', 5)[0])


def test_names_of_classes_may_hold_what_letters_there_are(records, tmp_path, recwarn):
    tally = classification.Tally()
    tally.add(np.eye(CLASSES, dtype='f'), np.arange(CLASSES))
    confusion.draw_confusion(str(tmp_path / 'c.png'), tally.result(), ['$\\foo{$', 'a$b$c', '漢', 'd'])
    assert cv2.imread(str(tmp_path / 'c.png')) is not None
    assert not [warning for warning in recwarn if 'Glyph' in str(warning.message)]
