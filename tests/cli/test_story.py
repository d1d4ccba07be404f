"""The lines of a training run before its first step and after its last one."""

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from ibnnet_mx import _limits
from ibnnet_mx.cli import story
from ibnnet_mx.recipe import RECIPES
from tests.cli import test_train
from tests.conftest import ROOT, tiny_picture
from tests.record_sets import png

run = test_train.run


def told(log):
    """The lines of a log behind their dates."""
    return [line.split(' INFO ')[1] for line in log.splitlines() if ' INFO ' in line]


def test_a_run_tells_its_story(run, tiny_data, tmp_path):
    lines = told(run())
    begin, end = lines.index('Epoch[0] A run begins'), lines.index('Epoch[1] Validation time=' + time_of(lines[-7]))
    opening = lines[:begin]
    assert len(opening) <= 8
    assert opening[:6] == [
        f'data: {tiny_data}: 48 training and 18 validation pictures of about 32x32 pixels, 4 classes',
        'network: cifar_resnet8_v2, 77,722 parameters, input 3x32x32',
        'recipe: cifar10 with --depth 8 --lr 0.05 --batch-size 16 --epochs 2 --lr-steps 1',
        'steps: 3 an epoch, each of 16 pictures; 2 epochs',
        opening[4],
        'start: weights drawn by seed 0',
    ]
    assert re.fullmatch(r'device: CPU; threads: \d+ compute, 1 read pictures', opening[4])
    assert opening[-1] == 'files: checkpoints net-NNNN.params, log log/net.log'
    assert sum(line.startswith('an epoch takes about ') for line in lines) == 1
    best, files, following, *commands = lines[end + 1 :]
    assert re.fullmatch(
        r'best: epoch [12] of 2, validation accuracy \d+\.\d\d %(; the last, epoch 2: \d+\.\d\d %)?', best
    )
    assert re.fullmatch(r'files: net-000[12]\.params \(the best\), log/net\.log', files)
    assert (following, len(commands)) == ('next:', 3)
    follow(commands, tmp_path)


def time_of(line):
    return line.partition('time=')[2]


def follow(commands, folder):
    """Type the commands that a run names."""
    (folder / 'PICTURE').write_bytes(png(tiny_picture(1, test_train.np.random.RandomState(0))))
    for line in commands:
        words = shlex.split(line)
        words = [str(ROOT / word) if word.endswith('.py') else word for word in words]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_a_run_with_nothing_left_to_train_tells_its_end_too(run):
    run('--epochs', '1')
    lines = told(run('--retrain', '--epochs', '1'))
    assert 'start: goes on from net-0001.params, after 1 epoch' in lines
    assert lines[-6].startswith('best: epoch 1 of 1, validation accuracy ')
    assert lines[-1].strip().endswith('--logs log/net.log')


def test_a_stopped_run_tells_no_end(run, monkeypatch):
    monkeypatch.setattr(test_train.Trainer, 'train_epoch', interrupted)
    assert 'next:' not in run(code=130)


def interrupted(*_):
    raise KeyboardInterrupt


def test_the_options_that_differ_from_the_recipe():
    base = RECIPES['cifar10']
    assert story.changes(base) == ''
    wanted = replace(
        base, zero_gamma=True, lr_steps=(1.5, 2.0), no_decay=(), lr_from=(3, 0.25), lr_mult=(('head', 2.0),)
    )
    assert (
        story.changes(wanted)
        == "--lr-steps 1.5,2 --zero-gamma --no-decay '' --lr-mult head=2 --lr 0.25 from epoch 3 on"
    )
    assert story.changes(replace(base, name='another')) == ''


def test_commands_are_typed_as_the_user_did(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['../a b/train_resnet.py'])
    monkeypatch.setattr(shutil, 'which', lambda name: sys.executable if name == 'python3' else None)
    assert story.typed('train_resnet', 'plot') == "python3 '../a b/log/plot_curve.py'"
    monkeypatch.setattr(sys, 'argv', ['/x/ibnnet_mx/__main__.py'])
    assert story.typed('ibnnet train', 'plot') == 'python3 -m ibnnet_mx plot'
    monkeypatch.setattr(sys, 'argv', ['/x/ibnnet'])
    assert story.typed('ibnnet train', 'plot') == '/x/ibnnet plot'
    monkeypatch.setattr(shutil, 'which', lambda name: '/x/ibnnet')
    assert story.typed('ibnnet train', 'plot') == 'ibnnet plot'


def test_what_a_run_writes_is_ignored_by_git():
    if not shutil.which('git') or not (ROOT / '.git').exists():
        pytest.skip('no clone')
    names = ['log/any.log', 'log/any.png', 'model/any-0001.params', 'model/any-0001.json', 'runs/any-1/recipe.toml']
    done = subprocess.run(['git', 'check-ignore', *names], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == names


def test_a_dry_run_reads_the_data(tiny_data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [*test_train.TINY, '--dry-run']
    assert test_train.train.main([*words, '--data-dir', str(tiny_data)]) == 0
    *lines, memory = capsys.readouterr().out.split('\n}\n')[1].splitlines()
    assert lines == [
        f'data: {tiny_data}: 48 training and 18 validation pictures of about 32x32 pixels, 4 classes',
        'steps: 3 an epoch, each of 16 pictures; 2 epochs',
        'cifar_resnet8_v2: 4 classes, 77,722 parameters, input 3x32x32',
    ]
    assert re.fullmatch(r'memory: about 0\.0 GB beside the \S+ GB in use; \S+ GB are free', memory)
    (tmp_path / 'data').symlink_to(tiny_data)
    assert test_train.train.main(words) == 0
    assert capsys.readouterr().out.split('\n}\n')[1].startswith('data: ./data: 48 training and 18 ')


def test_a_dry_run_refuses_what_does_not_fit(tiny_data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_limits, 'free_memory', lambda: 10**6)
    assert test_train.train.main([*test_train.TINY, '--dry-run', '--data-dir', str(tiny_data)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ''
    assert captured.err.splitlines()[-1].startswith('train_resnet: --batch-size 16: the run needs about 0.')


def test_a_dry_run_refuses_missing_and_damaged_data(own_data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert test_train.train.main([*test_train.TINY, '--dry-run', '--data-dir', 'nowhere']) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('train_resnet: --data-dir nowhere')
    (own_data / 'cifar10_train.rec').write_bytes(b'nothing')
    assert test_train.train.main([*test_train.TINY, '--dry-run']) == 2  # the default folder exists
    captured = capsys.readouterr()
    assert captured.out == ''
    assert captured.err.startswith('train_resnet: data/cifar10_train.rec')
