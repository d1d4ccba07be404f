"""--exif of every command that reads pictures: turned pictures count as the upright ones, and 'ignore' leaves them."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from ibnnet_mx.cli import evaluate, im2rec, predict, shifts, train
from ibnnet_mx.recordio.format import RecordFile
from ibnnet_mx.recordio.pixels.pictures import decode
from tests.conftest import make_tiny
from tests.exif_pictures import orientation_block, pillow, stored
from tests.record_sets import write


def png(picture, orientation):
    return pillow(stored(picture, orientation), 'PNG', exif=b'Exif\0\0' + orientation_block(orientation))


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """The tiny set as it is, and with pictures that are stored turned."""
    upright, turned = tmp_path_factory.mktemp('upright'), tmp_path_factory.mktemp('turned')
    make_tiny(upright)
    for side in ('train', 'val'):
        with RecordFile(upright / f'cifar10_{side}.rec') as records:
            items = [records.read(i) for i in range(len(records))]
        payloads = [png(decode(item.payload), 1 + i % 8) for i, item in enumerate(items)]
        write(turned / f'cifar10_{side}.rec', payloads, [item.label[0] for item in items])
    (turned / 'synset.txt').write_bytes((upright / 'synset.txt').read_bytes())
    return upright, turned


@pytest.fixture(scope='module')
def checkpoints(folders, tmp_path_factory):
    """Prefixes of nets that were trained on the upright set, on the turned one, and on its pixels as stored."""
    path, prefixes = tmp_path_factory.mktemp('exif'), []
    for name, data, more in zip('abc', (*folders, folders[1]), ([], [], ['--exif', 'ignore'])):
        words = ['--recipe', 'digits', '--depth', '8', '--epochs', '1', '--batch-size', '16', '--data-dir', str(data)]
        words += ['--model-prefix', str(path / name), '--log-file', str(path / f'{name}.log'), *more]
        assert train.main(words) == 0
        prefixes.append(path / name)
    return prefixes


def test_training_sees_upright_pictures(checkpoints):
    upright, turned, as_stored = (prefix.with_name(f'{prefix.name}-0001.params').read_bytes() for prefix in checkpoints)
    assert upright == turned
    assert upright != as_stored


def answers(prefix, data, capsys, *words):
    assert evaluate.main(['--prefix', str(prefix), '--epoch', '1', str(data), '--json', *words]) == 0
    return json.loads(capsys.readouterr().out)['cross_entropy']


def test_evaluation_sees_upright_pictures(checkpoints, folders, capsys):
    upright, turned = (answers(checkpoints[0], data, capsys) for data in folders)
    assert upright == turned
    assert answers(checkpoints[0], folders[1], capsys, '--exif', 'ignore') != turned


def test_predictions_are_of_upright_pictures(checkpoints, tmp_path, capsys):
    picture = np.random.RandomState(0).randint(0, 256, (40, 40, 3), np.uint8)
    told = []
    for orientation, more in ((1, []), (6, []), (6, ['--exif', 'ignore'])):
        (tmp_path / 'a.png').write_bytes(png(picture, orientation))
        words = ['--prefix', str(checkpoints[0]), '--epoch', '1', '--img', str(tmp_path / 'a.png'), '--json', *more]
        assert predict.main([*words, '--plot', str(tmp_path / 'plot.png')]) == 0
        told.append((capsys.readouterr().out, cv2.imread(str(tmp_path / 'plot.png')).tobytes()))
    assert told[0] == told[1]
    assert told[0] != told[2]


def test_a_sheet_of_shifts_is_of_the_upright_picture(tmp_path):
    picture = np.random.RandomState(0).randint(0, 256, (32, 32, 3), np.uint8)
    sheets = []
    for orientation, more in ((1, []), (6, []), (6, ['--exif', 'ignore'])):
        (tmp_path / 'a.png').write_bytes(png(picture, orientation))
        words = [str(tmp_path / 'a.png'), str(tmp_path / 's.png'), '--shift', 'noise:1', '--size', '32', *more]
        assert shifts.main(words) == 0
        sheets.append((tmp_path / 's.png').read_bytes())
    assert sheets[0] == sheets[1] != sheets[2]


@pytest.mark.parametrize('choice', ['apply', 'ignore'])
def test_packing_takes_the_choice(tmp_path, choice):
    picture = np.random.RandomState(0).randint(0, 256, (32, 32, 3), np.uint8)
    for name in 'ab':
        for side in ('train', 'val'):
            (tmp_path / 'in' / side / name).mkdir(parents=True)
            (tmp_path / 'in' / side / name / '0.png').write_bytes(png(picture, 6))
    assert im2rec.main([str(tmp_path / 'in'), str(tmp_path / 'out'), '--jobs', '1', '--exif', choice]) == 0
    with RecordFile(tmp_path / 'out' / 'val_32.rec') as records:
        wanted = picture if choice == 'apply' else stored(picture, 6)
        np.testing.assert_array_equal(decode(records.read(0).payload), wanted)


@pytest.mark.parametrize('choice', ['apply', 'ignore'])
def test_the_stand_in_of_mxnets_iterator_takes_the_choice(tmp_path, choice):
    from ibnnet_mx.record_iter import ImageRecordIter

    picture = np.random.RandomState(0).randint(0, 256, (32, 32, 3), np.uint8)
    path = write(tmp_path / 'a.rec', [png(picture, 6)])
    batch = ImageRecordIter(path_imgrec=str(path), data_shape=(3, 32, 32), batch_size=1, exif=choice).next()
    wanted = picture if choice == 'apply' else stored(picture, 6)
    np.testing.assert_array_equal(batch.data[0].asnumpy()[0], wanted[..., ::-1].transpose(2, 0, 1))
