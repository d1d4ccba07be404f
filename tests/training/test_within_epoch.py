"""Checkpoints within an epoch: a run that is cut anywhere goes on as if it had not been."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from ibnnet_mx.checkpoint import Facts, Inside, Store, restore
from ibnnet_mx.distributed.cluster import connect
from ibnnet_mx.errors import Stopped
from ibnnet_mx.training import saver
from tests.cli import test_train
from tests.cli.test_train import TINY, same, saved, warnings
from tests.conftest import ROOT, thorough
from tests.tiny_runs import PLAN, Cut, Feed, arrays, batches, equal, make, values

run = test_train.run

SIZES = (8, 8, 8, 5)
WARMING = dict(norm='mabn', norm_args=(('B', 2), ('real_B', 6), ('warmup_iters', 7)))
CASES = {  # of a Trainer: changes of its plan, network, contexts, recompute
    'plain': ({}, 'cifar_resnet8_v2', 1, False),
    'nesterov': (dict(optimizer='nag'), 'cifar_resnet8_v2', 1, False),
    'warming up': (WARMING, 'cifar_resnet8_ibn_a', 1, False),
    'mixup': (dict(mixup=0.2, label_smoothing=0.1), 'cifar_resnet8_v2', 1, False),
    'dropout': ({}, 'cifar_resnet8_w_d', 1, False),
    'recomputed': (dict(accumulate=2), 'cifar_resnet8_v2', 1, True),
    'two contexts': ({}, 'cifar_resnet8_ibn_a', 2, False),
    'three contexts': (WARMING, 'cifar_resnet8_v2', 3, False),
}


def start(case):
    changes, model, cpus, recompute = CASES[case]
    plan = replace(PLAN, epochs=2, **changes)
    if case == 'dropout':
        plan, model = replace(plan, w_d=True), 'cifar_resnet8_v2'
    return make(model, plan, cpus, recompute)


@pytest.mark.parametrize('batch', [1, 3, 4])
@pytest.mark.parametrize('case', CASES)
def test_a_run_that_is_cut_within_an_epoch_goes_on_as_if_it_had_not_been(case, batch, tmp_path):
    """Weights, statistics of every context and the optimiser's state after two epochs, cut in the second."""
    feed, store = Feed(batches(*SIZES)), Store(tmp_path / 'net')
    whole = start(case)
    for _ in range(2):
        whole.train_epoch(feed)
    first = start(case)
    first.train_epoch(feed)
    with pytest.raises(Stopped):
        first.train_epoch(feed, Cut(first, store, batch, [{'samples': 3.0, 'accuracy': 1 / 3}]))
    again = start(case)
    restore(again, store.choose())
    assert (again.epoch, again.batch) == (1, batch)
    again.train_epoch(feed)
    assert again.report.starts == (1, batch, [3, {'accuracy': 1 / 3}])
    for device in range(len(whole.cluster.contexts)):
        assert equal(values(again, device), values(whole, device))
    assert equal(arrays(again.states()), arrays(whole.states()))
    told = [note[1] for note in again.report.batches]
    assert told == list(range(batch, 4))
    assert again.report.batches == (whole.report.batches[-len(told) :] if told else [])


def test_other_devices_cannot_take_what_each_had_for_itself(tmp_path):
    feed, store = Feed(batches(*SIZES)), Store(tmp_path / 'net')
    first = start('two contexts')
    with pytest.raises(Stopped):
        first.train_epoch(feed, Cut(first, store, 2))
    with pytest.raises(ValueError, match='it was saved within an epoch on 2 devices, this run has 1'):
        restore(make('cifar_resnet8_ibn_a', PLAN), store.choose())


def test_only_the_newest_within_an_epoch_stays_and_the_epochs_end_removes_it(tmp_path):
    run, store = make(), Store(tmp_path / 'net')
    run.step(*batches(4)[0], 0.05)
    facts = Facts('m', {}, {}, metrics={'validation': {'accuracy': 0.5}})

    def there():
        return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*.json'))

    for where in (1, Inside(1, 2), Inside(1, 4)):
        store.save(run, where, facts)
    assert there() == ['net-0001.json', 'net-inside/0001-000004.json', 'net-symbol.json']
    assert store.choose().place == Inside(1, 4) == store.facts(Inside(1, 4)).place
    assert store.choose(1).place == 1
    path, told = store.path(Inside(1, 4), 'params'), []
    path.write_bytes(path.read_bytes()[:-1])
    assert store.choose(warn=told.append).place == 1
    assert told[0].startswith(f'batch 4 after epoch 1 is passed over: {path} has ')
    for left in ('0001-000003.states', '0001-000009.params.part'):  # by a save that was killed
        (tmp_path / 'net-inside' / left).write_bytes(b'half')
    store.save(run, 2, facts)
    assert there() == ['net-0001.json', 'net-0002.json', 'net-symbol.json']
    assert not (tmp_path / 'net-inside').exists()


def last_line(err):
    return err.splitlines()[-1]


def stopped(tmp_path, tiny_data, number, at, options=()):
    """stderr of train_resnet.py that is sent a signal when it has told a line with `at`."""
    words = [*TINY, '--data-dir', str(tiny_data), '--model-prefix', 'net', *options]
    lines = []
    script = [sys.executable, str(ROOT / 'train_resnet.py'), *words]
    with subprocess.Popen(script, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            lines.append(line)
            if at in line:
                process.send_signal(number)
                at = 'nothing any more'
    return process.returncode, ''.join(lines)


BATCH = r'Epoch\[(\d)\] Batch \[(\d+)\]'


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, *thorough(signal.SIGHUP)])
def test_a_run_that_is_asked_to_end_saves_the_batch_and_goes_on(run, tmp_path, tiny_data, number):
    options = ['--batch-size', '4', '--epochs', '5']  # the signal may arrive some batches later
    whole = run(*options, prefix='whole')
    code, stderr = stopped(tmp_path, tiny_data, number, 'Epoch[0] Batch [2]', options)
    assert code == 128 + number
    place = re.match(
        rf'train_resnet: stopped by {number.name} after (?:batch (\d+) of )?epoch (\d)(?:, not validated yet)?, saved; '
        'with --retrain the run goes on from there$',
        last_line(stderr),
    )
    batch, epoch = int(place[1] or 12), int(place[2])
    log = run('--retrain', *options)
    wanted = (epoch, batch + 1) if batch < 12 else (epoch + 1, 1)
    assert tuple(map(int, re.search(BATCH, log).groups())) == wanted
    assert same(saved(tmp_path, 5), saved(tmp_path, 5, prefix='whole'))
    last = r'Epoch\[4\] (?:Train|Validation)-\S+=\S+'
    assert re.findall(last, log) == re.findall(last, whole)
    assert not (tmp_path / 'net-inside').exists()


def test_after_kill_9_it_goes_on_from_the_last_of_every_n_batches(run, tmp_path, tiny_data):
    options = ['--batch-size', '4', '--epochs', '5', '--checkpoint-batches', '3']
    run(*options, prefix='whole')
    code, _ = stopped(tmp_path, tiny_data, signal.SIGKILL, 'Epoch[1] Batch [8]', options)
    assert code == -signal.SIGKILL
    log = run('--retrain', *options)
    epoch, batch = map(int, re.search(BATCH, log).groups())
    assert (epoch, batch) >= (1, 7)
    assert batch % 3 == 1
    assert same(saved(tmp_path, 5), saved(tmp_path, 5, prefix='whole'))


def test_asked_to_end_while_it_validates_it_validates_when_it_goes_on(run, tmp_path, monkeypatch):
    run('--epochs', '2', prefix='whole')
    asked = saver.Saver.epoch

    def ask(self, *given):
        self._ask(signal.SIGTERM, None)
        asked(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(saver.Saver, 'epoch', ask)
        told = run('--epochs', '2', code=143)
    assert last_line(told).startswith('train_resnet: stopped by SIGTERM after epoch 0, not validated yet, saved; ')
    assert 'validation' not in Store(tmp_path / 'net').facts(1).metrics
    log = run('--retrain', '--epochs', '2')
    assert log.count('Epoch[0] Validation-accuracy') == 1
    assert same(saved(tmp_path), saved(tmp_path, prefix='whole'))
    facts = [Store(tmp_path / prefix).facts(1).metrics for prefix in ('net', 'whole')]
    assert facts[0] == facts[1]


def test_a_second_signal_is_not_waited_for():
    keep = saver.Saver(None, make(), (None, None), Facts('m', {}, {}))
    keep._ask(signal.SIGINT, None)
    assert keep.due(1, connect().tell(0, keep.asked))
    with pytest.raises(Stopped) as found:
        keep._ask(signal.SIGTERM, None)
    assert found.value.code == 143


def test_what_must_stay_the_same_within_an_epoch(run, tmp_path, tiny_data):
    stopped(tmp_path, tiny_data, signal.SIGTERM, 'Epoch[0] Batch [2]', ['--batch-size', '4'])
    assert last_line(run('--retrain', '--batch-size', '8', code=2)).startswith(
        'train_resnet: --retrain: the checkpoint was saved at batch '
    )
    assert last_line(run('--retrain', '--batch-size', '8', code=2)).endswith(
        ' of epoch 0, and batch_size 4 is now 8, steps 12 is now 6; undo that, or name an epoch by --model-load-epoch'
    )
    assert last_line(run('--checkpoint-batches', '0', code=2)) == (
        'train_resnet: --checkpoint-batches 0 must be at least 1'
    )


def test_where_no_checkpoint_can_be_written_the_run_may_go_on(run, monkeypatch):
    def full(self, *_):
        raise OSError(errno.ENOSPC, 'No space left on device', str(self.path(1, 'params')))

    monkeypatch.setattr(Store, 'save', full)
    assert last_line(run(code=2)) == 'train_resnet: net-0001.params: No space left on device'
    told = warnings(run('--on-save-error', 'go-on'))
    assert told == ['no checkpoint was written: net-0001.params: No space left on device; the run goes on'] * 2


@pytest.mark.parametrize('share', [0, 0.5])
def test_after_a_power_loss_it_goes_on_from_the_newest_that_is_whole(run, tmp_path, share):
    """The disk has the names of the newest files, but not all of their bytes."""
    run(prefix='whole')
    run()
    store = Store(tmp_path / 'net')
    for path in (store.symbol_path, *(store.path(2, kind) for kind in ('params', 'states', 'json'))):
        os.truncate(path, int(path.stat().st_size * share))
    log = run('--retrain')
    assert warnings(log)[0].startswith('epoch 2 is passed over: ')
    assert same(saved(tmp_path), saved(tmp_path, prefix='whole'))
    assert store.verdict(2).reason == ''
    assert len(json.loads(store.symbol_path.read_text())['nodes']) > 50


def test_auto_goes_on_where_there_is_something_to_go_on_from(run, tmp_path):
    assert 'Epoch[0] Batch' in run('--epochs', '1', '--retrain', 'auto')
    log = run('--retrain', 'auto')
    assert 'Epoch[0] Batch' not in log
    assert 'Epoch[1] Batch' in log
    run(prefix='whole')
    assert same(saved(tmp_path), saved(tmp_path, prefix='whole'))
    assert last_line(run('--retrain', 'auto', '--model-load-epoch', '1', code=2)).endswith('1 needs --retrain')
