"""train_resnet.py as a user runs it: the log, the checkpoints, interruption and going on, and what each option does."""

import json
import os
import re
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest

from ibnnet_mx.checkpoint import Store
from ibnnet_mx.cli import train
from ibnnet_mx.files import params_file
from ibnnet_mx.training.trainer import Trainer
from tests.conftest import ROOT
from tests.record_sets import png, scene, write

TINY = ['--data-type', 'cifar10', '--model', 'resnet_v2', '--depth', '8', '--batch-size', '16', '--epochs', '2']
TINY += ['--lr-steps', '1', '--frequent', '1', '--threads', '1', '--lr', '0.05']
METRIC = r'(accuracy|cross-entropy)=\d+\.\d+'
LINES = {  # kind: how often in a run of two epochs, three batches each
    rf'Epoch\[[01]\] Batch \[[123]\]\tSpeed: \d+\.\d+ samples/sec\tTrain-{METRIC}': 12,
    rf'Epoch\[[01]\] Train-{METRIC}': 4,
    rf'Epoch\[[01]\] Validation-{METRIC}': 4,
    r'Epoch\[[01]\] Time cost=\d+\.\d+': 2,
    r'Epoch\[[01]\] Learning-rate=0\.05': 1,
    r'Epoch\[[01]\] Learning-rate=0\.005': 1,
}


@pytest.fixture
def run(tmp_path, tiny_data, monkeypatch, capsys):
    """run(options) -> the log of train_resnet.py on the tiny data, with checkpoints net-*; it must end well."""
    monkeypatch.chdir(tmp_path)

    def run(*argv, data=tiny_data, prefix='net', code=0):
        words = [*TINY, '--data-dir', data, '--model-prefix', prefix, *argv]
        assert train.main([str(word) for word in words]) == code
        out, err = capsys.readouterr()
        assert out == ''
        return err

    return run


def saved(tmp_path, epoch=2, prefix='net'):
    """({name: array}, optimiser state) of a checkpoint."""
    store = Store(tmp_path / prefix)
    assert store.verdict(epoch).reason == ''
    return tuple(params_file.read_params(store.path(epoch, kind)) for kind in ('params', 'states'))


def same(one, other):
    return all(a.keys() == b.keys() and all(np.array_equal(a[n], b[n]) for n in a) for a, b in zip(one, other))


def rates(log):
    return [float(rate) for rate in re.findall(r'Learning-rate=(\S+)', log)]


def warnings(log):
    return [line.split(' WARNING ')[1] for line in log.splitlines() if ' WARNING ' in line]


def test_a_run_tells_and_saves_each_epoch(run, tmp_path):
    log = run()
    file = (tmp_path / 'log' / 'net.log').read_text()
    settings = [line for line in file.splitlines() if line not in log.splitlines()]
    assert [line for line in file.splitlines() if line not in settings] == log.splitlines()
    assert {line: len(re.findall(f' INFO {line}$', log, re.M)) for line in LINES} == LINES
    assert [line.count('threads: ') for line in settings].count(1) == 1
    assert "'lr_steps': (1.0,)" in settings[-1]
    assert warnings(log) == []
    facts = Store(tmp_path / 'net').facts(2)
    assert (facts.model, facts.depth, facts.norm, facts.classes) == ('cifar_resnet8_v2', 8, 'bn', 4)
    assert facts.class_names == ['dots', 'falling', 'lying', 'standing']
    assert facts.pixels == {'order': 'RGB', 'mean': [0, 0, 0], 'std': [1, 1, 1]}
    accuracy = float(re.findall(r'Epoch\[1\] Validation-accuracy=(\S+)', log)[0])
    assert facts.metrics['validation']['accuracy'] == pytest.approx(accuracy, abs=1e-6)
    assert same(saved(tmp_path, 2), saved(tmp_path, 2))
    assert not same(saved(tmp_path, 1), saved(tmp_path, 2))


@pytest.mark.parametrize(
    'norm', [[], ['--norm', 'mabn', '--norm-args', 'B=4,real_B=16,warmup_iters=12']], ids=['bn', 'mabn warming up']
)
def test_a_killed_run_goes_on_as_if_nothing_had_been(run, tmp_path, tiny_data, command, norm):
    """kill -9 in the middle of the second epoch, then --retrain: all of it as in the unbroken run."""
    options = ['--depth', '14', '--batch-size', '4', '--epochs', '3', *norm]
    whole = run(*options, prefix='whole')
    words = [*TINY, '--data-dir', str(tiny_data), '--model-prefix', 'net', *options]
    script = [sys.executable, str(ROOT / 'train_resnet.py'), *words]
    with subprocess.Popen(script, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if 'Epoch[1] Batch [1]' in line:
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert Store(tmp_path / 'net').epochs() == [1]
    done = command('train_resnet.py', *words, '--retrain')
    assert (done.returncode, done.stdout) == (0, '')
    assert 'Epoch[0]' not in done.stderr
    for kind in ('0003.params', '0003.states'):
        assert (tmp_path / f'net-{kind}').read_bytes() == (tmp_path / f'whole-{kind}').read_bytes()
    last = r'Epoch\[2\] (?:Train|Validation)-\S+=\S+'
    assert re.findall(last, done.stderr) == re.findall(last, whole)


def test_retrain_takes_the_newest_whole_checkpoint_and_the_options_of_the_first_run(run, tmp_path, monkeypatch):
    run('--model', 'resnet', '--norm', 'in', '--epochs', '3', '--keep', '3')
    whole = saved(tmp_path, 3)
    (tmp_path / 'net-0003.json').unlink()
    (tmp_path / 'net-0002.params').write_bytes(b'')
    monkeypatch.setattr('tests.cli.test_train.TINY', ['--frequent', '1', '--threads', '1'])
    log = run('--retrain')
    assert warnings(log) == [
        f'epoch 2 is passed over: net-0002.params has 0 bytes, not the {len_of(tmp_path)} that were saved'
    ]
    assert same(saved(tmp_path, 3), whole)
    assert 'there is nothing to train' in run('--retrain')
    assert warnings(run('--retrain', '--model-load-epoch', '2', '--epochs', '3')) == []
    assert same(saved(tmp_path, 3), whole)


def len_of(folder):
    return Store(folder / 'net').facts(2).files['net-0002.params']['bytes']


def test_a_new_rate_holds_from_the_retrained_epoch_on(run, tmp_path):
    run('--epochs', '3')
    log = run('--retrain', '--model-load-epoch', '1', '--lr', '0.3', '--lr-steps', '2', '--epochs', '4')
    assert rates(log) == [0.3, 0.03, 0.03]
    (warning,) = warnings(log)
    assert warning.startswith('--lr 0.3 holds from epoch 1 on, instead of 0.05')
    facts = Store(tmp_path / 'net').facts(4)
    assert (facts.recipe['lr'], facts.recipe['lr_from']) == (0.05, [1, 0.3])


@pytest.mark.parametrize(
    ('argv', 'text'),
    [
        (['--depth', '14'], '--model cifar_resnet14_v2: the checkpoint holds cifar_resnet8_v2'),
        (['--model', 'resnet_ibn_a'], '--model cifar_resnet8_ibn_a: the checkpoint holds cifar_resnet8_v2'),
        (['--recipe', 'digits'], '--recipe digits: the checkpoint was trained with cifar10; leave --recipe out'),
        (['--norm', 'in'], 'net-0002.params does not fit the network: '),
        (['--num-classes', '9'], '--retrain: the checkpoint has 4 classes, the data in'),
        (['--epochs', '1'], '--epochs 1: the checkpoint has finished 2 epochs already'),
        (['--model-load-epoch', '7'], '--model-load-epoch 7: net-0007.json cannot be read'),
    ],
)
def test_what_contradicts_the_checkpoint_is_refused(run, argv, text):
    run()
    log = run('--retrain', *argv, code=2)
    (line,) = (line for line in log.splitlines() if ' INFO ' not in line)
    assert line.startswith('train_resnet: ')
    assert text in line


def test_a_damaged_recipe_in_the_json_is_one_line(run, tmp_path):
    run('--epochs', '1')
    path = tmp_path / 'net-0001.json'
    facts = json.loads(path.read_text())
    facts['recipe']['lr'] = 'much'
    path.write_text(json.dumps(facts))
    assert run('--retrain', code=2).startswith('train_resnet: the recipe of the checkpoint is damaged: ')


def test_devices_and_recomputing_are_options(run, tmp_path, monkeypatch):
    plain, two = ['--model', 'resnet', '--norm', 'in'], ['--cpus', '2', '--kv-store', 'device']
    run(*plain, prefix='plain')
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, '_plain', None)  # so that nothing but recomputing can have trained
        run(*plain, '--memonger', prefix='thrifty')
    run(*plain, *two, prefix='two')
    assert same(saved(tmp_path, prefix='plain'), saved(tmp_path, prefix='thrifty'))
    one, other = (saved(tmp_path, prefix=prefix)[0] for prefix in ('plain', 'two'))
    assert not same([one], [other])
    for name in one:
        np.testing.assert_allclose(other[name], one[name], atol=2e-4, err_msg=name)
    run(*plain, *two, '--epochs', '1', prefix='half')
    run(*plain, *two, '--retrain', prefix='half')
    assert same(saved(tmp_path, prefix='half'), saved(tmp_path, prefix='two'))


def test_examples_classes_and_kept_checkpoints_are_counted(run, tmp_path):
    log = run('--num-examples', '17', '--num-classes', '6', '--keep', '1', '--epochs', '3', '--lr', '1e-7')
    assert set(re.findall(r'Batch \[(\d+)\]', log)) == {'1', '2'}
    assert 'Validation-top_k_accuracy_5=' in log
    assert saved(tmp_path, 3)[0]['arg:fc1_bias'].shape == (6,)
    scores = {e: json.loads((tmp_path / f'net-{e:04d}.json').read_text()) for e in Store(tmp_path / 'net').epochs()}
    assert 3 in scores
    assert len(scores) <= 2


def test_milestones_after_the_end_are_one_warning(run):
    log = run('--lr-steps', '1,2,5', '--log-file', 'a/b.log')
    assert warnings(log) == ['--lr-steps 2,5 come after the last epoch (2) and change nothing']
    assert os.path.isfile('a/b.log')


def test_damaged_pictures_are_named_and_counted(run, own_data):
    pictures = [png(scene(i, 32, 32)) for i in range(20)]
    pictures[7] = pictures[7][:100]
    write(own_data / 'cifar10_train.rec', pictures, [i % 4 for i in range(20)])
    log = run(data=own_data, code=2)
    last = log.splitlines()[-1]
    assert last.startswith(f'train_resnet: {own_data}/cifar10_train.rec: record 7 (id 7, byte ')
    assert '--max-bad-records 0 allowed' in last
    (warning,) = warnings(run('--max-bad-records', '1', data=own_data))
    assert 'record 7 (id 7' in warning


def test_lists_are_held_against_the_records(run, tiny_data, tmp_path):
    (tmp_path / 'train.lst').write_text(''.join(f'{i}\t{i % 4}\ta/{i}.png\n' for i in range(48)))
    assert f'--list-dir: {tmp_path}/train.lst agrees with the records' in run('--list-dir', tmp_path, '--epochs', '1')


def test_a_profile_takes_the_place_of_the_training(run, tmp_path):
    log = run('--profile', 'a.json')
    found = json.loads((tmp_path / 'a.json').read_text())
    assert (found['model'], found['batch_size']) == ('cifar_resnet8_v2', 16)
    assert 'cifar_resnet8_v2, batch 16: ' in log
    assert log.splitlines()[-1].endswith('--profile: a.json is written, the run ends')
    assert 'Epoch[' not in log
    assert Store(tmp_path / 'net').epochs() == []


def test_a_killed_run_in_parts_goes_on_with_its_rate(run, tmp_path):
    scaled = ['--accumulate', '2', '--lr-batch', '8']
    log = run(*scaled, '--epochs', '3', prefix='whole')
    assert warnings(log) == ['--lr 0.05 is for batches of 8: with 16 it becomes 0.1']
    assert rates(log) == [0.1, 0.01, 0.01]
    run(*scaled, '--epochs', '1')
    log = run('--retrain', '--epochs', '3')
    assert warnings(log) == ['--lr 0.05 is for batches of 8: with 16 it becomes 0.1']
    assert same(saved(tmp_path, 3), saved(tmp_path, 3, prefix='whole'))


def test_curves_go_to_tensorboard(run, tmp_path):
    pytest.importorskip('tensorboardX')
    run('--tensorboard', 'board', '--epochs', '1')
    (path,) = (tmp_path / 'board').iterdir()
    assert all(name in path.read_bytes() for name in (b'validation/accuracy', b'train/lr', b'train/cross-entropy'))


def test_an_interruption_says_how_to_go_on(run, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, 'train_epoch', interrupted)
    last = run(code=130).splitlines()[-1]
    assert last == 'train_resnet: interrupted; if a checkpoint was saved, --retrain goes on from it'


def test_a_full_disk_ends_the_run_with_the_files_name(run, tmp_path, tiny_data):
    """A limit of the file's size stands for the disk's."""
    run('--epochs', '1')
    before = saved(tmp_path, 1)
    words = [*TINY, '--data-dir', str(tiny_data), '--model-prefix', 'net', '--retrain']
    done = subprocess.run(
        [sys.executable, str(ROOT / 'train_resnet.py'), *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
    )
    assert (done.returncode, done.stdout) == (2, '')
    (line,) = (line for line in done.stderr.splitlines() if ' INFO ' not in line)
    assert line == 'train_resnet: net-0002.params: cannot be written: File too large'
    assert same(saved(tmp_path, 1), before)
    assert Store(tmp_path / 'net').choose().place == 1
    assert not list(tmp_path.glob('*.part'))


def test_a_killed_run_goes_on_as_itself_and_not_as_an_older_one(run, tmp_path, monkeypatch):
    run('--epochs', '4')
    older = saved(tmp_path, 4)
    expected = run('--epochs', '3', '--seed', '7', '--lr', '0.03', prefix='alone') and saved(tmp_path, 3, 'alone')

    def killed(self, where, saved):
        if 'epoch 1' in where:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr('ibnnet_mx.training.saver.Saver._stop', killed)
        log = run('--epochs', '3', '--seed', '7', '--lr', '0.03', code=130)
    assert 'net-0001 to 0004, the checkpoints of an earlier run, are in net-old-1/ now' in log
    monkeypatch.setattr('tests.cli.test_train.TINY', ['--frequent', '1', '--threads', '1'])
    log = run('--retrain')
    assert 'Epoch[2] ' in log
    assert 'Epoch[1] ' not in log
    assert same(saved(tmp_path, 3), expected)
    assert same(saved(tmp_path / 'net-old-1', 4), older)
