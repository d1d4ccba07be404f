"""Sheets of pictures and confusion matrices, as they are drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ibnnet_mx import data, shift
from ibnnet_mx.cli import options
from ibnnet_mx.metrics import classification
from ibnnet_mx.recordio.inspection import letters, sheet
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


def test_right_and_wrong_answers_have_frames_of_their_colours(records, tmp_path):
    sheet_of(records, tmp_path / 'a.png', [])
    paper = cv2.imread(str(tmp_path / 'a.png'))
    corner = paper[sheet.MARGIN - 1, sheet.MARGIN - 1].tolist()
    pictures = data.evaluation_iter(records, Model().input, 7, None, 1, ONE, raw=True)
    seen, positions, labels = next(iter(pictures.raw()))
    answer = classification.predictions(Model().predict(data.normalise(seen[:1], Model().input)))[0]
    pictures.close()
    assert corner == list(sheet.GREEN if answer == labels[0] else sheet.RED)
    cells = [sheet.Cell([picture(0)], 'a', 'says b', right) for right in (True, False, None)]
    paper = sheet.lay_cells(cells, '')
    width = 128 + sheet.GAP
    colours = [paper[sheet.MARGIN - 1, sheet.MARGIN + number * width].tolist() for number in range(3)]
    assert colours == [list(sheet.GREEN), list(sheet.RED), [sheet.PAPER] * 3]


def test_many_pictures_make_a_sheet_of_usual_size():
    cells = [sheet.Cell([cv2.resize(picture(number), (224, 224))], 'a', 'b') for number in range(60)]
    paper = sheet.lay_cells(cells, '')
    assert paper.shape[0] * paper.shape[1] < 2 * sheet.USUAL
    assert len(cv2.imencode('.png', paper)[1]) < 2e6
    (one,) = [sheet.lay_cells(cells[:1], '')]
    assert one.shape[1] == 224 + 2 * sheet.MARGIN  # few are not shrunk


def test_letters_of_other_alphabets_are_drawn():
    pytest.importorskip('matplotlib')
    words = ['Hünd', 'Лошадь', 'άλογο']
    assert letters.missing(words) == ''
    lines = [letters.drawn(word, 100, sheet.LINE, sheet.LINE - 5) for word in words]
    assert all(line.max() > 200 and 50 < np.count_nonzero(line) < 600 for line in lines)
    assert not np.array_equal(letters.drawn('Hünd', 100, 18, 13), letters.drawn('Hund', 100, 18, 13))
    cut = letters.drawn('ü' * 100, 60, 18, 13)
    assert cut.shape == (18, 60)
    assert letters.missing(['a\uffffb\U000e0001']) == ''  # no letters
    assert letters.families(words)[0] == 'DejaVu Sans'


def test_letters_that_no_font_has_are_told(monkeypatch, capsys):
    pytest.importorskip('matplotlib')
    monkeypatch.setattr(letters, '_paths', lambda _: ('DejaVu',))
    monkeypatch.setattr(letters, '_charmap', lambda _: frozenset(map(ord, 'cat')))
    options.tell_missing(letters.missing(['cat', '猫']))
    text = 'no font here has 猫, so a box stands for each: install one that has, such as fonts-noto'
    assert capsys.readouterr().err == f'ibnnet: {text}\n'


def test_the_title_of_a_confusion_says_how_many_are_right(monkeypatch):
    pytest.importorskip('matplotlib')
    figures = []
    monkeypatch.setattr(confusion, 'save_figure', lambda option, path, figure: figures.append(figure))
    tally = classification.Tally()
    tally.add(np.eye(CLASSES, dtype='f')[[0, 1, 1, 3]], np.arange(4))
    confusion.draw_confusion('c.png', tally.result(), list('abcd'))
    assert figures[0].axes[0].get_title() == '75.00% of 4 pictures are right'


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
