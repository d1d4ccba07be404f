"""ibnnet shifts: its drawing and its mistakes."""

import cv2
import numpy as np
import pytest

from ibnnet_mx import shift
from ibnnet_mx.cli import shifts as command
from tests.shift.pictures import pictures


def test_the_command_draws_a_row_a_shift(tmp_path, capsys):
    x = pictures(1, 96)[0]
    cv2.imwrite(str(tmp_path / 'a.png'), x[:, :, ::-1])
    words = [str(tmp_path / 'a.png'), str(tmp_path / 's.png'), '--size', '96', '--shift', 'hue:5,fog:1,fog:5']
    assert command.main(words) == 0
    paper = cv2.imread(str(tmp_path / 's.png'))[:, :, ::-1]
    step, head = 96 + command.GAP, 2 * command.LINE  # the severities, then the name
    fog, hue = (paper[head:][:96, left:] for left in (0, 2 * step + 2 * command.GAP))
    assert np.array_equal(fog[:, :96], shift.apply(x[None], [0], 'fog', 1)[0])
    assert (hue[:, :96] == 255).all()
    assert np.array_equal(hue[:, step:][:, :96], shift.apply(x[None], [0], 'hue', 5)[0])
    heads = [paper[: command.LINE, left:][:, :96] for left in (0, step, 2 * step + 2 * command.GAP)]
    assert [bool((head < 128).any()) for head in heads] == [True] * 3
    assert not np.array_equal(heads[0], heads[1])  # severity 1 and 5
    assert np.array_equal(heads[0], heads[2])


@pytest.mark.parametrize(
    ('words', 'told'),
    [
        (['no.png', 's.png'], 'no.png cannot be read: No such file'),
        (['{text}', 's.png'], 'text cannot be decoded'),
        (['{text}', 's.txt'], 'SHEET s.txt: the name must end in .png'),
        (['{text}', 's.png', '--size', '7'], '--image-size 7 must be from 8 to 1024'),
        (['{text}', 's.png', '--seed', '-1'], '--seed -1 must not be below 0'),
        (['{text}', 's.png', '--shift', 'mist'], "there is no 'mist'"),
        (['{picture}', '{text}/s.png'], 'cannot be written'),
        (['{picture}', '{picture}'], 'would replace what is read from'),
    ],
)
def test_mistakes_of_the_command_are_one_line(words, told, tmp_path, capfd):
    (tmp_path / 'text').write_text('no picture')
    cv2.imwrite(str(tmp_path / 'a.png'), pictures(1, 32)[0])
    names = dict(text=tmp_path / 'text', picture=tmp_path / 'a.png', folder=tmp_path)
    assert command.main([word.format(**names) for word in words]) == 2
    assert told in capfd.readouterr().err
