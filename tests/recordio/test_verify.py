"""ibnnet records: what it says of sound and of damaged files, and its contact sheets."""

from __future__ import annotations

import json
import os

import cv2
import numpy as np
import pytest

from ibnnet_mx.cli import records as command
from ibnnet_mx.recipe import AUGMENT
from ibnnet_mx.recordio import lists
from ibnnet_mx.recordio.fast import native
from ibnnet_mx.recordio.format import RecordFile, write_index
from ibnnet_mx.recordio.inspection import sheet, verify
from ibnnet_mx.recordio.pixels.augment import Augment
from ibnnet_mx.recordio.reading.options import Options
from ibnnet_mx.recordio.reading.reader import Reader
from ibnnet_mx.size import Size
from tests.record_sets import jpeg, marked, png, ramp, scene, write

built = pytest.mark.skipif(native.functions() is None, reason='the C library is not built')
EITHER = [pytest.param(True, marks=built, id='c'), pytest.param(False, id='opencv')]


@pytest.fixture(params=EITHER)
def decoder(request, monkeypatch):
    """By the C library, and without it."""
    if not request.param:
        monkeypatch.setattr(native, 'functions', lambda: None)


def look(*words):
    try:
        return command.main([str(word) for word in words])
    except SystemExit as stop:
        return stop.code


def photograph(number, **options):
    return jpeg(scene(number, 40 + number, 96), **options)


def report(path, threads=2):
    with verify.hushed() as (complaints, _):
        return verify.verify_file(path, threads, complaints, lambda done, total: None)


def test_a_sound_file(tmp_path, capsys, decoder):
    payloads = [photograph(0), photograph(1, interval=3), photograph(2, progressive=1), png(scene(3, 50, 30))]
    path = write(tmp_path / 'a.rec', payloads, [0, 2, 2, 5])
    (tmp_path / 'synset.txt').write_text('ant\nbee\ncat\n')
    assert look(path) == 0
    said = capsys.readouterr()
    rows = [line.split(None, 1) for line in said.out.splitlines()[1:] if 'C library' not in line]
    size = path.stat().st_size
    assert rows == [
        ['records', f'4 in {size / 1e6:.1f} MB, with an index that fits'],
        ['formats', '2 JPEG baseline, 1 JPEG progressive, 1 PNG'],
        ['width', '30 to 96, median 96'],
        ['height', '40 to 50, median 41'],
        ['classes', '3, numbers 0 to 5, 1 picture (0 ant) to 2 (2 cat)'],
        ['pieces', '1 of 3 JPEGs can be read in pieces, thanks to restart markers'],
        ['ibnnet', f'pack --add-restart {path} adds these where it can, without loss'],
        ['note', 'class numbers from 0 to 5 without a picture: 3'],
        ['sound', 'nothing is wrong'],
    ]
    assert said.err == ''


def test_without_the_library_a_note_says_so(tmp_path, monkeypatch):
    path = write(tmp_path / 'a.rec', [photograph(0)])
    monkeypatch.setattr(native, 'functions', lambda: None)
    assert report(path).notes == [verify.NO_LIBRARY]


good = photograph(9, interval=2)
DAMAGE = {
    'empty': (b'', 'is empty'),
    'cut jpeg': (good[:-50], 'is truncated'),
    'a hole': (good[: len(good) // 2] + good[len(good) // 2 + 60 :], 'is damaged (Corrupt JPEG data'),
    'ends in the middle': (
        good[: len(good) // 2] + b'\xff\xd9' + good[len(good) // 2 :],
        'is damaged (Corrupt JPEG data',
    ),
    'cut png': (png(scene(0, 9, 9))[:-9], 'is truncated'),
    'words': (b'words', 'cannot be decoded'),
}


@pytest.mark.parametrize('name', DAMAGE)
def test_damage_is_named_and_the_exit_code_is_1(tmp_path, capfd, decoder, name):
    payload, text = DAMAGE[name]
    path = write(tmp_path / 'a.rec', [photograph(0), payload, photograph(1)])
    assert look(path) == 1
    said = capfd.readouterr()
    with RecordFile(path) as records:
        assert f'{records.describe(1)} {text}' in said.out
    assert '  WRONG    1 thing\n' in said.out
    assert said.err == ''  # the decoders' own words are caught


def test_the_first_of_many_are_named_and_with_all_each(tmp_path, capsys):
    path = write(tmp_path / 'a.rec', [b'x'] * 37)
    assert look(path) == 1
    said = capsys.readouterr().out
    assert said.count('cannot be decoded') == command.NAMED
    assert said.endswith(f'and {37 - command.NAMED} more: --all names them\n')
    assert look(path, '--all') == 1
    said = capsys.readouterr().out
    assert [int(line.split('record ')[1].split()[0]) for line in said.splitlines() if 'decoded' in line] == list(
        range(37)
    )


def test_an_index_of_another_file_is_said_and_the_records_are_looked_at(tmp_path):
    path = write(tmp_path / 'a.rec', [photograph(0), b'x'])
    write_index(path.with_suffix('.idx'), [0], [0])
    found = report(path)
    assert (found.records, found.indexed, len(found.wrong)) == (2, False, 2)
    assert 'a.idx does not fit: delete it' in found.wrong[0]


def test_a_truncated_file_is_said_once(tmp_path, capsys):
    path = write(tmp_path / 'a.rec', [photograph(i) for i in range(3)])
    path.write_bytes(path.read_bytes()[:-8])
    assert look(path) == 1
    assert '1 thing' in capsys.readouterr().out
    (wrong,) = report(path).wrong
    assert wrong.startswith(f'{path}: record 2 at byte ')
    assert 'is cut off by the end of the file' in wrong


def test_labels_that_are_no_class_are_wrong(tmp_path):
    path = write(tmp_path / 'a.rec', [photograph(i) for i in range(6)], [0, 0.5, -1, np.nan, np.inf, 1e30])
    found = report(path)
    assert [text.split(') ')[1].split(',')[0] for text in found.wrong] == [
        f'has label {x}' for x in ('0.5', '-1', 'nan', 'inf', '1e+30')
    ]
    assert found.classes == {0: 1}
    other = write(tmp_path / 'b.rec', [photograph(i) for i in range(2)], [[1, 2], 3])
    assert 'has 1 labels, the first record has 2' in report(other).wrong[0]


def test_ids_that_repeat_or_differ_are_noted(tmp_path):
    path = write(tmp_path / 'a.rec', [photograph(i) for i in range(3)])
    with RecordFile(path) as records:
        write_index(path.with_suffix('.idx'), [0, 0, 2], records.offsets)
    notes = [text for text in report(path).notes if 'C library' not in text]
    assert notes == [
        'records with the id of another one, of which mxnet finds only one by it: 1',
        'records with another id than the index gives them: 1',
    ]


def test_the_report_does_not_depend_on_threads(tmp_path, decoder):
    path = write(tmp_path / 'a.rec', [DAMAGE['a hole'][0] if i % 7 == 3 else photograph(i % 9) for i in range(210)])
    found = report(path, 8)
    assert len(found.wrong) == 30
    assert found == report(path, 1)


def test_standard_error_comes_back():
    before = os.fstat(2)
    with verify.hushed() as (complaints, screen):
        os.write(2, b'Corrupt JPEG data')
        assert complaints.take() == 'Corrupt JPEG data'
        assert os.path.samestat(os.fstat(screen.fileno()), before)
    assert os.path.samestat(os.fstat(2), before)


def test_json_holds_all_of_it(tmp_path, capsys):
    sound, bad = write(tmp_path / 'a.rec', [photograph(0), photograph(5)]), write(tmp_path / 'b.rec', [b'x'] * 30)
    assert look(sound, bad, '--json', tmp_path / 'x.json') == 1
    first, second = json.loads((tmp_path / 'x.json').read_text())['files']
    assert (first['sound'], first['records'], first['height']) == (True, 2, {'least': 40, 'median': 42, 'most': 45})
    assert first['classes'] == {'0': 1, '1': 1}
    assert (second['sound'], len(second['wrong']), second['width']) == (False, 30, None)


MISTAKES = {  # arguments ({x} is the test's folder) -> what is said
    'nothing': ('', 'the following arguments are required: FILE.rec'),
    'no file': ('{x}/none.rec', '{x}/none.rec does not exist'),
    'folder': ('{x}', '{x} is a folder: name the .rec files in it'),
    'threads': ('{x}/a.rec --threads 0', '--threads 0 must be from 1 to 256'),
    'count alone': ('{x}/a.rec --count 3', '--count 3 has no meaning without --sheet FILE.png'),
    'augment alone': ('{x}/a.rec --augment 2', '--augment 2 has no meaning without --sheet FILE.png'),
    'draws alone': ('{x}/a.rec --sheet {x}/s.png --draws 3', '--draws 3 has no meaning without --augment LEVEL'),
    'level': ('{x}/a.rec --sheet {x}/s.png --augment 9', "--augment: invalid choice: '9'"),
    'size': ('{x}/a.rec --sheet {x}/s.png --size 4', '--image-size 4 must be from 8 to 2048'),
    'suffix': ('{x}/a.rec --sheet {x}/s.txt', '--sheet {x}/s.txt: the name must end in .png'),
    'two files': ('{x}/a.rec {x}/a.rec --sheet {x}/s.png', 'a sheet is for one FILE.rec, 2 given'),
    'json': ('{x}/a.rec --sheet {x}/s.png --json {x}/x', '--json has no meaning with --sheet'),
    'sheet folder': ('{x}/a.rec --sheet {x}/a.rec/s.png', '--sheet {x}/a.rec/s.png cannot be written'),
    'json folder': ('{x}/a.rec --json {x}/none/x', '{x}/none/x'),
    'large': ('{x}/a.rec --sheet {x}/s.png --size 2048 --augment 1 --draws 32', 'a sheet of 1 records'),
}


@pytest.mark.parametrize('name', MISTAKES)
def test_mistake_is_one_line_and_2(tmp_path, capsys, name):
    write(tmp_path / 'a.rec', [photograph(0)])
    words, text = (part.format(x=tmp_path) for part in MISTAKES[name])
    assert look(*words.split()) == 2
    said = capsys.readouterr().err
    assert said.startswith('ibnnet records: ')
    assert text in said
    assert said.count('\n') == 1
    assert sorted(os.listdir(tmp_path)) == ['a.idx', 'a.rec']


def drawn(path, *words):
    """The sheet as BGR uint8 (H, W, 3)."""
    target = path.with_name('s.png')
    assert look(path, '--sheet', target, *words) == 0
    return cv2.imread(str(target))


def test_records_are_evenly_spread_over_a_sheet_with_their_labels(tmp_path):
    path = write(tmp_path / 'a.rec', [png(marked(number, 128)) for number in range(100)])
    paper = drawn(path, '--count', 12, '--size', 128)
    across, high, wide = 4, 128 + 2 * sheet.LINE + sheet.GAP, 128 + sheet.GAP
    assert paper.shape == (3 * high - sheet.GAP + 2 * sheet.MARGIN, across * wide - sheet.GAP + 2 * sheet.MARGIN, 3)
    for place, number in enumerate(np.linspace(0, 99, 12).round().astype(int)):
        top, left = sheet.MARGIN + place // across * high, sheet.MARGIN + place % across * wide
        np.testing.assert_array_equal(paper[top : top + 128, left : left + 128], marked(number, 128))
        for line in range(2):  # label, then number and size
            text = paper[top + 128 + line * sheet.LINE :][: sheet.LINE, left : left + 128]
            assert text.min() < 200
            assert text[:, -30:].min() == sheet.PAPER


def test_all_of_a_picture_is_shown_and_a_small_one_enlarged(tmp_path):
    wide = write(tmp_path / 'a.rec', [png(np.zeros((20, 100, 3), np.uint8))])
    paper = drawn(wide, '--size', 200)[sheet.MARGIN :, sheet.MARGIN :][:200, :200]
    assert np.argwhere(paper.max(2) == 0).min(0).tolist() == [80, 0]
    assert np.argwhere(paper.max(2) == 0).max(0).tolist() == [119, 199]
    small = write(tmp_path / 'b.rec', [png(ramp(32, 32, 7))])
    paper = drawn(small)[sheet.MARGIN :, sheet.MARGIN :][:128, :128]
    np.testing.assert_array_equal(paper[::4, ::4], ramp(32, 32, 7))


def test_classes_are_named_and_long_names_are_cut(tmp_path):
    path = write(tmp_path / 'a.rec', [png(marked(0, 128))] * 2, [1, 7])
    with RecordFile(path) as records:
        cells = [sheet._cell(records, i, Size(64, 64), ['ant', 'bee'], None) for i in range(2)]
    assert [(cell.above, cell.below) for cell in cells] == [('1 bee', '#0  128x128'), ('7', '#1  128x128')]
    text = sheet._text('a name that is longer than its tile, and more so', 112, 0)
    assert text.shape == (sheet.LINE, 112)
    assert text[:, -1].min() == sheet.PAPER
    (tmp_path / 'synset.txt').write_bytes(b'\xff\xfd')
    assert lists.read_synset(tmp_path) == ['\ufffd\ufffd']


def test_a_damaged_record_leaves_an_empty_tile(tmp_path):
    path = write(tmp_path / 'a.rec', [b'x', png(marked(3, 128))])
    paper = drawn(path, '--size', 128, '--augment', 1)
    assert (paper[sheet.MARGIN :, sheet.MARGIN :][:128, :128] == sheet.EMPTY).all()
    with RecordFile(path) as records:
        assert sheet._cell(records, 0, Size(64, 64), [], None).above.startswith('cannot be decoded (')


@pytest.mark.parametrize('level', [1, 2, 'rrc', 'cifar'])
def test_what_training_makes_is_what_the_reader_gives(tmp_path, level):
    path, changes = write(tmp_path / 'a.rec', [photograph(i) for i in range(3)]), Augment(**AUGMENT[level])
    reader = Reader(path, 32, 3, changes, None, Options(threads=1, native=False))
    epochs = [[np.array(batch.data) for batch in reader.epoch(epoch)][0] for epoch in range(2)]
    labels = [[int(x) for batch in reader.epoch(epoch) for x in batch.label] for epoch in range(2)]
    reader.close()
    with RecordFile(path) as records:
        for number in range(3):
            tiles = sheet._cell(records, number, Size(32, 32), [], sheet.Draws(changes, 2)).tiles[1:]
            for epoch, tile in enumerate(tiles):
                planes = epochs[epoch][labels[epoch].index(number)]
                np.testing.assert_array_equal(tile[..., ::-1].transpose(2, 0, 1), planes)


@pytest.mark.parametrize(('count', 'width', 'height'), [(1, 100, 100), (7, 912, 300), (32, 236, 272), (500, 124, 160)])
def test_a_sheet_is_no_strip(count, width, height):
    across = sheet.columns(count, width, height)
    down = -(-count // across)
    assert across * (down - 1) < count <= across * down
    assert count == 1 or 0.5 < across * width / (down * height) < 3
