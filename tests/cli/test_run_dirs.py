"""A folder for each run."""

import os

import pytest

from ibnnet_mx import logs
from ibnnet_mx.cli import run_dirs, train
from tests.cli import test_train


@pytest.fixture
def run(tmp_path, tiny_data, monkeypatch, capsys):
    """run(options) -> what a run with --run-dir tells on stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*argv, code=0):
        words = [*test_train.TINY, '--data-dir', str(tiny_data), '--run-dir', 'runs', *argv]
        assert train.main(words) == code
        return capsys.readouterr().err

    return run


def test_each_run_has_a_folder_and_goes_on_in_it(run, tmp_path):
    pytest.importorskip('matplotlib')
    name = 'cifar_resnet8_v2'
    assert f'runs/{name}-1/{name}.png' in run('--epochs', '1')
    run('--epochs', '1')
    files = ['-0001.json', '-0001.params', '-0001.states', '-symbol.json', '.log', '.png']
    for number in (1, 2):
        folder = tmp_path / 'runs' / f'{name}-{number}'
        assert sorted(os.listdir(folder)) == sorted(['recipe.toml', *(name + end for end in files)])
    assert sorted(os.listdir(tmp_path)) == ['runs']
    run('--retrain', '--epochs', '2')
    newest = tmp_path / 'runs' / f'{name}-2'
    assert sorted(logs.read_log(newest / f'{name}.log').validation['accuracy']) == [0, 1]
    assert 'epochs = 2\n' in (newest / 'recipe.toml').read_text()
    assert not (tmp_path / 'runs' / f'{name}-3').exists()


def test_two_runs_never_share_a_folder(tmp_path, monkeypatch):
    (tmp_path / 'net-7').mkdir()
    (tmp_path / 'other-9').mkdir()
    assert run_dirs.make(tmp_path, 'net') == str(tmp_path / 'net-8' / 'net')
    monkeypatch.setattr(run_dirs, '_runs', lambda folder: [])  # another run begins in between
    assert run_dirs.make(tmp_path, 'net') == str(tmp_path / 'net-1' / 'net')
    assert run_dirs.make(tmp_path, 'net') == str(tmp_path / 'net-2' / 'net')


@pytest.mark.parametrize('option', ['--model-prefix', '--log-file'])
def test_other_names_of_files_contradict_it(run, option):
    line = f'train_resnet: {option} x contradicts --run-dir runs: give one of them\n'
    assert run(option, 'x', code=2) == line


def test_several_workers_and_an_empty_folder_are_refused(run):
    assert '--run-dir runs is for one worker' in run('--kv-store', 'horovod', code=2)
    assert 'there is no undamaged checkpoint' in run('--retrain', code=2)
