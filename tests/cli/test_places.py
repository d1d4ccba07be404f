"""The checkpoint that a command line means: names of files as prefixes, the best epoch, and the line about it."""

from __future__ import annotations

import json
import shutil

import pytest

from ibnnet_mx.cli import convert, evaluate, places, predict, train

ACCURACIES = {1: 0.5, 2: 0.862, 3: 0.862, 4: 0.7}


@pytest.fixture(scope='module')
def trained(tiny_data, tmp_path_factory):
    """A folder with checkpoints net-0001 to net-0004 whose validation accuracies are ACCURACIES."""
    path = tmp_path_factory.mktemp('places')
    words = ['--recipe', 'digits', '--depth', '8', '--epochs', '4', '--batch-size', '16', '--data-dir', str(tiny_data)]
    assert train.main([*words, '--model-prefix', str(path / 'net'), '--log-file', str(path / 'net.log')]) == 0
    for epoch, accuracy in ACCURACIES.items():
        change(
            path / f'net-{epoch:04d}.json', lambda facts, a=accuracy: facts['metrics']['validation'].update(accuracy=a)
        )
    return path


def change(path, how):
    facts = json.loads(path.read_text())
    how(facts)
    path.write_text(json.dumps(facts))


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of `trained` that the test may change."""
    return shutil.copytree(trained, tmp_path / 'copy')


@pytest.fixture
def measure(tiny_data, capsys):
    """measure(words) -> (exit code, top-1 or None, stderr) of ibnnet evaluate on the tiny data."""

    def measure(*words):
        code = evaluate.main([str(tiny_data), '--json', *map(str, words)])
        out, err = capsys.readouterr()
        return code, json.loads(out)['top1'] if out else None, err

    return measure


@pytest.mark.parametrize(
    ('text', 'prefix', 'epoch'),
    [
        ('m/x', 'm/x', None),
        ('m/x-0004.params', 'm/x', 4),
        ('m/x-0004.json', 'm/x', 4),
        ('m/x-0004.states', 'm/x', 4),
        ('m/x-12345.params', 'm/x', 12345),
        ('m/x-symbol.json', 'm/x', None),
        ('m/x-y-0000.params', 'm/x-y', 0),
        ('m/x-004.params', 'm/x-004.params', None),
        ('m/x-0004', 'm/x-0004', None),
        ('m/x.params', 'm/x.params', None),
    ],
)
def test_the_name_of_a_file_is_its_prefix_and_epoch(text, prefix, epoch):
    assert places.split_name(text) == (prefix, epoch)


def test_a_prefix_that_looks_like_a_file_stays_a_prefix(tmp_path):
    odd = tmp_path / 'x-0004.params'
    (tmp_path / 'x-0004.params-symbol.json').touch()
    assert places.split_name(str(odd)) == (str(odd), None)


def test_without_an_epoch_the_best_is_taken_and_named(trained, measure):
    prefix = trained / 'net'
    code, top1, err = measure('--prefix', prefix)
    assert (code, err) == (0, f'evaluate: --prefix {prefix}: epoch 3 of 4, the best (accuracy 86.20 %)\n')
    assert measure('--prefix', prefix, '--epoch', 'best') == (code, top1, err)
    assert measure('--prefix', trained / 'net-symbol.json') == (code, top1, err)
    assert measure('--prefix', prefix, '--epoch', '3') == (0, top1, '')
    assert measure('--prefix', trained / 'net-0003.params') == (0, top1, '')
    assert measure('--prefix', trained / 'net-0003.params', '--epoch', '3') == (0, top1, '')


def test_without_results_the_last_is_taken_and_that_is_said(folder, measure):
    for epoch in ACCURACIES:
        change(folder / f'net-{epoch:04d}.json', lambda facts: facts['metrics'].pop('validation'))
    text = 'epoch 4, the last, because no validation results are with it'
    assert measure('--prefix', folder / 'net')[2] == f'evaluate: --prefix {folder / "net"}: {text}\n'


def test_a_result_that_is_no_number_is_not_the_best(folder, measure):
    change(folder / 'net-0004.json', lambda facts: facts['metrics']['validation'].update(accuracy=float('nan')))
    assert 'epoch 3 of 4, the best (accuracy 86.20 %)' in measure('--prefix', folder / 'net')[2]


def test_facts_that_are_damaged_are_passed_over_aloud(folder, measure):
    (folder / 'net-0003.json').write_text('{')
    err = measure('--prefix', folder / 'net')[2].splitlines()
    assert err[0].startswith(
        f'evaluate: --prefix {folder / "net"}: epoch 3 is passed over: {folder}/net-0003.json is dam'
    )
    assert err[1].endswith(': epoch 2 of 4, the best (accuracy 86.20 %)')


def test_without_facts_the_last_file_is_taken(folder, measure):
    for path in folder.glob('net-000*.json'):
        path.unlink()
    assert ': epoch 4, the last, because' in measure('--prefix', folder / 'net', '--pixels', 'raw')[2]


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        (
            ['--prefix', 'net-0004.params', '--epoch', '3'],
            '--prefix net-0004.params contradicts --epoch 3: give the prefix',
        ),
        (['--prefix', 'net-0004.params', '--epoch', 'best'], '--prefix net-0004.params contradicts --epoch best'),
        (['--prefix', 'none'], '--prefix none: there is no checkpoint none-NNNN.params'),
        (
            ['--prefix', 'net', '--epoch', '9'],
            '--prefix net --epoch 9: net-0009.params does not exist; choose one of the',
        ),
        (
            ['--prefix', 'net', '--domains', 'a=x', '--baseline', 'net-0002.params', '--baseline-epoch', '1'],
            '--baseline net-0',
        ),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_contradictions_are_one_line(trained, words, text, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    data = [] if '--domains' in words else ['x.rec']
    assert evaluate.main([*data, *words]) == 2
    err = capsys.readouterr().err
    assert err.count('\n') == 1
    assert text in err


def test_what_is_no_epoch_is_refused(capsys):
    with pytest.raises(SystemExit):
        evaluate.main(['x.rec', '--prefix', 'net', '--epoch', 'last'])
    assert "--epoch: 'last' must be a number such as 4, or best" in capsys.readouterr().err


def test_a_compared_checkpoint_has_its_own_best(trained, folder, tmp_path, capsys):
    import cv2
    import numpy as np

    change(folder / 'net-0001.json', lambda facts: facts['metrics']['validation'].update(accuracy=0.99))
    picture = str(tmp_path / 'a.png')
    cv2.imwrite(picture, np.random.RandomState(0).randint(0, 256, (32, 32, 3), np.uint8))
    words = ['--img', picture, '--prefix', str(trained / 'net'), '--compare', str(folder / 'net')]
    assert predict.main(words) == 0
    out, err = capsys.readouterr()
    assert f'By --compare {folder / "net"} --compare-epoch 1:' in out
    assert err.splitlines() == [
        f'predict: --prefix {trained / "net"}: epoch 3 of 4, the best (accuracy 86.20 %)',
        f'predict: --compare {folder / "net"}: epoch 1 of 4, the best (accuracy 99.00 %)',
    ]
    assert predict.main([*words, '--epoch', '2']) == 0
    out, err = capsys.readouterr()
    assert f'By --compare {folder / "net"} --compare-epoch 2:' in out
    assert err == ''


@pytest.mark.parametrize(
    ('src', 'words', 'epoch'),
    [('net', [], 3), ('net-symbol.json', [], 3), ('net', ['--epoch', '2'], 2), ('net-0001.json', [], 1)],
)
def test_convert_takes_a_prefix(trained, src, words, epoch, tmp_path, monkeypatch, capsys):
    from ibnnet_mx.files import params_file

    monkeypatch.chdir(trained)
    dst = tmp_path / 'new-0000.params'
    assert convert.main([src, str(dst), *words]) == 0
    assert ('the best (accuracy 86.20 %)' in capsys.readouterr().err) == (epoch == 3)
    wanted, got = (params_file.parse(path, path.read_bytes()) for path in (trained / f'net-{epoch:04d}.params', dst))
    assert all((wanted[name] == got[name]).all() for name in wanted)


@pytest.mark.parametrize(
    ('src', 'epoch', 'text'),
    [
        ('net-0001.params', '2', 'SRC net-0001.params contradicts --epoch 2'),
        ('net.log', '2', '--epoch 2 is for a PREFIX: SRC net.log is a file, leave it out'),
        ('none', '2', '--epoch 2: SRC none is no PREFIX, there is no none-symbol.json'),
    ],
)
def test_convert_refuses_an_epoch_without_a_prefix(trained, src, epoch, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    assert convert.main([src, str(tmp_path / 'a.pth'), '--epoch', epoch]) == 2
    assert text in capsys.readouterr().err


def test_retrain_takes_the_name_of_a_file(folder, tiny_data, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    words = [
        '--recipe',
        'digits',
        '--depth',
        '8',
        '--data-dir',
        str(tiny_data),
        '--threads',
        '1',
        '--log-file',
        'a.log',
    ]
    assert train.main([*words, '--model-prefix', 'net-0003.params', '--retrain', '--epochs', '4']) == 0
    assert 'Go on from epoch 3' in capsys.readouterr().err or 'Epoch[3]' in (folder / 'a.log').read_text()
    assert 'Epoch[2]' not in (folder / 'a.log').read_text()
    for more, text in (
        ([], 'add --retrain to go on from it, or name net'),
        (['--retrain', 'auto'], '--retrain auto chooses the epoch itself, or name net'),
        (
            ['--retrain', '--model-load-epoch', '2'],
            'contradicts --model-load-epoch 2: give the prefix net and the epoch',
        ),
    ):
        assert train.main([*words, '--model-prefix', 'net-0003.params', *more]) == 2
        assert f'--model-prefix net-0003.params {text}' in capsys.readouterr().err.replace(
            'is a file of a checkpoint: ', ''
        )
