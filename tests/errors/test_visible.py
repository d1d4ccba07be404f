"""Names from files reach terminals and logs without control characters."""

from __future__ import annotations

import logging

from ibnnet_mx.cli import im2rec
from ibnnet_mx.cli.options import one_line
from ibnnet_mx.errors import visible
from ibnnet_mx.logs import Reporter
from tests.picture_sets import class_folders, encoded, tree


def test_control_characters_are_written_out():
    assert visible('a\x1b[31mred\tb\r\n\x07\x9b\x7f') == 'a\\x1b[31mred\tb\\x0d\\x0a\\x07\\x9b\\x7f'
    assert visible('Größe 中文 \ufeff') == 'Größe 中文 \ufeff'
    assert one_line('a\x1b[2J\nb') == 'a\\x1b[2J b'


def test_a_log_holds_no_escapes_and_no_forged_lines(tmp_path):
    report = Reporter(log_file=str(tmp_path / 'a.log'))
    report.warn('class \x1b[31mx\nEpoch[0] Train-accuracy=1.0')
    report.close()
    (line,) = (tmp_path / 'a.log').read_bytes().splitlines()
    assert b'class \\x1b[31mx\\x0aEpoch[0]' in line
    assert logging.getLogger('ibnnet_mx').handlers == []


def test_pictures_with_control_characters_are_left_out_and_told(tmp_path, capsys):
    files = {**class_folders(), 'cat/\x1b[31m.jpg': encoded(1), 'cat\x1b/1.jpg': encoded(2), 'cat/a\nb.jpg': encoded(3)}
    assert im2rec.main([str(tree(tmp_path / 'in', files)), str(tmp_path / 'out'), '--list']) == 0
    said = capsys.readouterr().err
    assert '3 pictures with control characters in their names are left out' in said
    assert '\x1b' not in said
    assert (tmp_path / 'out' / 'synset.txt').read_text().split() == ['airplane', 'bird', 'cat']


def test_an_error_shows_a_path_without_escapes(tmp_path, capsys):
    (tmp_path / 'a\x1b[2J.lst').write_text('junk\n')
    assert im2rec.main([str(tmp_path / 'a\x1b[2J.lst'), str(tmp_path / 'out')]) == 2
    said = capsys.readouterr().err
    assert 'a\\x1b[2J.lst: line 1' in said
    assert '\x1b' not in said
