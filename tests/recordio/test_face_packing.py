"""Folders of identities packed in insightface's layout: what its own reader takes for pictures and identities."""

from __future__ import annotations

import cv2
import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx.recordio.reading.loader import Loader
from tests.picture_sets import encoded, run, tree

NAMES = ['ann', 'bob', 'eve']
COUNTS = (3, 1, 2)


def identities(folder, size=(112, 112)):
    files = {
        f'{name}/{i}.jpg': encoded(7 * i + len(name) + ord(name[0]), size)
        for name, n in zip(NAMES, COUNTS)
        for i in range(n)
    }
    return tree(folder, files)


def test_insightfaces_reader_finds_pictures_and_identities(tmp_path):
    assert run(identities(tmp_path / 'in'), tmp_path / 'out', '--task', 'face') == 0
    out = tmp_path / 'out'
    assert (out / 'property').read_text() == '3,112,112\n'
    assert (out / 'synset.txt').read_text().split() == NAMES
    records = mx.recordio.MXIndexedRecordIO(str(out / 'train.idx'), str(out / 'train.rec'), 'r')
    # The steps of recognition/arcface_mxnet/image_iter.py.
    header, _ = mx.recordio.unpack(records.read_idx(0))
    assert header.flag > 0
    first, last = int(header.label[0]), int(header.label[1])
    assert (first, last) == (7, 10)
    for identity in range(first, last):
        header, picture = mx.recordio.unpack(records.read_idx(identity))
        assert picture == b''
        for number in range(int(header.label[0]), int(header.label[1])):
            inner, picture = mx.recordio.unpack(records.read_idx(number))
            assert inner.label == identity - first
            assert cv2.imdecode(np.frombuffer(picture, np.uint8), 1).shape == (112, 112, 3)
    ((images, labels),) = Loader(out / 'train.rec', 9, 112)
    assert labels.tolist() == [0, 0, 0, 1, 2, 2]
    assert images.shape == (6, 3, 112, 112)
    assert not (out / 'train.lst').exists()


def test_faces_that_are_not_square_or_damaged_are_refused(tmp_path, capsys):
    folder = identities(tmp_path / 'in')
    (folder / 'bob' / '0.jpg').write_bytes(encoded(1, (112, 150)))
    assert run(folder, tmp_path / 'out', '--task', 'face') == 2
    assert 'bob/0.jpg becomes 150x112 pixels: faces must be square, align and cut them first' in capsys.readouterr().err
    (folder / 'bob' / '0.jpg').write_bytes(b'junk')
    assert run(folder, tmp_path / 'out', '--task', 'face') == 2
    assert 'bob/0.jpg cannot be decoded' in capsys.readouterr().err
    assert list((tmp_path / 'out').iterdir()) == []


@pytest.mark.parametrize(
    'option', [['--list'], ['--data-type', 'cifar10'], ['--train-ratio', '0.5'], ['--max-bad', '3']]
)
def test_options_without_a_meaning_for_faces_are_refused(tmp_path, capsys, option):
    with pytest.raises(SystemExit):
        run(identities(tmp_path / 'in'), tmp_path / 'out', '--task', 'face', *option)
    assert f'so {option[0]} has no meaning: leave it out' in capsys.readouterr().err
