"""Losses that are not finite, and runs that stand still."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx.checkpoint import Facts, Store, restore
from ibnnet_mx.training import saver, watchdog
from ibnnet_mx.training.finite import NotFinite
from tests.cli import test_train
from tests.cli.test_train import warnings
from tests.tiny_runs import PLAN, Feed, arrays, batches, equal, make, values

run = test_train.run

SIZES = (8, 8, 8, 8)
ABOUT = Facts('m', {}, {})


def feed(bad=2):
    """One of the batches is infinitely bright."""
    found = batches(*SIZES)
    if bad is not None:
        found[bad] = (found[bad][0] * float('inf'), found[bad][1])
    return Feed(found)


def without(bad):
    found = batches(*SIZES)
    del found[bad]
    return Feed(found)


def of(nan, model='cifar_resnet8_ibn_a', cpus=1):
    made = make(model, replace(PLAN, mom=0.9), cpus)
    made.nan = nan
    return made


@pytest.mark.parametrize('nan', ['stop', 'rollback'])
@pytest.mark.parametrize('bad', [0, 2, 3])
def test_the_batch_is_named(nan, bad):
    trained = of(nan)
    with pytest.raises(NotFinite, match=f'^epoch 0, batch {bad}: the loss or its') as found:
        trained.train_epoch(feed(bad))
    assert found.value.place == (0, bad)
    assert [note[1] for note in trained.report.batches] == list(range(bad))


def test_a_gradient_alone_is_found_too():
    trained = of('stop')
    (data, label) = batches(8)[0]
    trained.step(data, label, 0.05)
    assert trained.finite.asscalar() == 1
    next(iter(trained._params.values())).set_data(mx.nd.full(next(iter(trained._params.values())).shape, np.nan))
    trained.step(data, label, 0.05)
    assert trained.finite.asscalar() == 0


@pytest.mark.parametrize('cpus', [1, 2])
def test_skipped_it_leaves_no_trace(cpus):
    """Weights, running statistics of all devices and momentum are those of a run without the batch."""
    skipped, other = of('skip', cpus=cpus), of('stop', cpus=cpus)
    steps = [(data, label) for data, label in feed(2)._batches]
    for data, label in steps:
        skipped.step(data, label, 0.05)
    for data, label in without(2)._batches:
        other.step(data, label, 0.05)
    for device in range(cpus):
        assert equal(values(skipped, device), values(other, device))
    assert equal(arrays(skipped.states()), arrays(other.states()))


def test_skipped_it_is_told_and_not_counted():
    trained = of('skip')
    trained.train_epoch(feed(2))
    assert trained.report.lines == ['epoch 0, batch 2: the gradient is not finite, its update was skipped']
    assert [note[1] for note in trained.report.batches] == [0, 1, 3]


def test_rolled_back_it_is_left_out(tmp_path):
    trained, other, store = of('rollback'), of('stop'), Store(tmp_path / 'net')
    keep = saver.Saver(store, trained, (feed(None), None), ABOUT)
    keep.train()
    keep._write(1)
    keep._train = feed(2)
    keep.train()
    assert trained.report.lines == ['epoch 1, batch 2 is not finite: back to batch 0 of epoch 1, without it']
    other.train_epoch(feed(None))
    other.left_out = {(1, 2)}
    other.train_epoch(feed(None))
    assert equal(values(trained), values(other))
    assert equal(arrays(trained.states()), arrays(other.states()))
    store.save(trained, 2, replace(ABOUT, left_out=sorted(map(list, trained.left_out))))
    again = of('rollback')
    restore(again, store.open(2, states=True))
    assert again.left_out == {(1, 2)}


@pytest.mark.parametrize('older', [False, True])
def test_without_a_checkpoint_of_its_own_there_is_nothing_to_go_back_to(older, tmp_path):
    """One that an earlier run has left under the prefix is not its own."""
    store = Store(tmp_path / 'net')
    if older:
        store.save(of('stop'), 3, ABOUT)
    keep = saver.Saver(store, of('rollback'), (feed(1), None), ABOUT)
    with pytest.raises(ValueError, match=r'^epoch 0, batch 1: .*\(`nan` rollback: the run has no checkpoint yet\)$'):
        keep.train()


def test_a_damaged_checkpoint_is_not_gone_back_to(tmp_path):
    store = Store(tmp_path / 'net')
    keep = saver.Saver(store, of('rollback'), (feed(1), None), ABOUT)
    keep._write(1)
    path = store.path(1, 'params')
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r'\(`nan` rollback: .*net-0001.params has \d+ bytes, not the '):
        keep.train()


def test_too_many_are_no_accident(tmp_path):
    trained = of('rollback')
    trained.left_out = {(9, batch) for batch in range(saver.MOST_LEFT_OUT)}
    keep = saver.Saver(Store(tmp_path / 'net'), trained, (feed(1), None), ABOUT)
    with pytest.raises(ValueError, match='`nan` rollback has already left out 10 batches'):
        keep.train()


def test_the_command_ends_and_its_checkpoints_are_from_before(run, tmp_path):
    last = run('--lr', '1e30', '--lr-steps', '1', '--batch-size', '4', code=2).splitlines()[-1]
    assert last.startswith('train_resnet: epoch 0, batch ')
    assert Store(tmp_path / 'net').epochs() == []
    assert last.endswith('. Nothing was saved yet: start again with a lower --lr or --wd, or with --clip-gradient')
    log = run('--lr', '1e30', '--batch-size', '4', '--epochs', '1', '--nan', 'skip', code=2)
    assert warnings(log)
    assert 'gives values that are not finite in the validation. They are not saved' in log.splitlines()[-1]
    assert not list(tmp_path.glob('net-*'))


@pytest.mark.parametrize('nan', ['stop', 'skip', 'rollback'])
@pytest.mark.parametrize('option', [['--lr', '1e38', '--wd', '1e4'], ['--wd', '1e38', '--lr', '1e4']])
def test_what_is_not_finite_is_never_saved_and_the_way_out_works(run, tmp_path, nan, option):
    """One batch, so that no later batch shows what its update did."""
    one = ['--num-examples', '16', '--batch-size', '16', '--nan', nan]
    run(*one, '--epochs', '1')
    before = {path.name: path.read_bytes() for path in tmp_path.glob('net-*')}
    last = run(*one, '--epochs', '2', '--retrain', *option, code=2).splitlines()[-1]
    assert 'not finite' in last
    assert 'The last checkpoint is from the end of epoch 0: go on with --retrain and a lower --lr or --wd' in last
    assert {path.name: path.read_bytes() for path in tmp_path.glob('net-*')} == before
    run(*one, '--epochs', '2', '--retrain')
    last = run(*one, '--epochs', '1', *option, prefix='new', code=2).splitlines()[-1]
    assert 'not finite' in last
    assert last.endswith('Nothing was saved yet: start again with a lower --lr or --wd, or with --clip-gradient')
    assert not list(tmp_path.glob('new-*'))


@pytest.mark.parametrize('where', ['weight', 'statistics', 'optimiser'])
def test_each_kind_of_state_is_looked_at_before_a_save(tmp_path, where):
    trained, store = of('skip', 'cifar_resnet8_v2', cpus=2), Store(tmp_path / 'net')
    keep = saver.Saver(store, trained, (feed(None), None), ABOUT)
    keep.train()
    keep._write(1)
    if where == 'optimiser':
        name, arrays_of_it = trained.arrays()[-1]
        bad = arrays_of_it[0]
    else:
        ending = 'running_var' if where == 'statistics' else 'fc1_weight'
        name, bad = next(
            (n, each[-1])
            for n, each in trained.arrays()
            if n.endswith((ending, 'moving_var')[: 1 + (where == 'statistics')])
        )
    bad[:] = float('nan')
    with pytest.raises(ValueError, match='^the end of epoch 1: weights or states are not finite') as error:
        keep._write(2)
    assert name in str(error.value)
    assert store.epochs() == [1]


def test_a_checkpoint_that_is_ruined_already_has_another_way_out(tmp_path):
    """Weights of 1e30 are finite, but no rate helps them."""
    trained, store = of('stop'), Store(tmp_path / 'net')
    keep = saver.Saver(store, trained, (feed(None), None), ABOUT)
    for epoch in (1, 2):
        keep.train()
        keep._write(epoch)
    keep._train = feed(0)
    with pytest.raises(
        NotFinite, match='first batch after .* end of epoch 1. .* `nan` skip. .* `model_load_epoch` 1\\) with'
    ):
        keep.train()


def test_a_run_that_stands_still_is_ended_and_says_where():
    told, ended = [], []
    with watchdog.Watchdog(0.2, told.append, ended.append) as watch:
        for _ in range(8):
            watch.stage('step')
            time.sleep(0.05)
        assert not told
        watch.stage('data')
        time.sleep(0.6)
    assert ended == [watchdog.CODE]
    assert told == [
        '`stall_timeout` 0.2: nothing has happened for that many seconds; the run was waiting for: data. It ends; '
        '`retrain` goes on from the last checkpoint'
    ]


def test_time_in_which_the_process_was_stopped_does_not_count(monkeypatch):
    """The clock jumps while no thread of the process runs, as after SIGSTOP or a machine's sleep."""
    told, ended, jump = [], [], []
    monkeypatch.setattr(watchdog.time, 'monotonic', lambda clock=time.monotonic: clock() + sum(jump))
    with watchdog.Watchdog(1.0, told.append, ended.append) as watch:
        watch.stage('step')
        time.sleep(0.3)
        jump.append(3600)
        time.sleep(0.6)
        assert (told, ended) == ([], [])
        time.sleep(1.5)
    assert ended == [watchdog.CODE]


def test_without_a_limit_nobody_watches():
    told = []
    with watchdog.Watchdog(None, told.append, told.append) as watch:
        watch.stage('step')
        time.sleep(0.05)
    assert not watch._thread.is_alive()
    assert told == []


STALLED = """
import sys, time
from ibnnet_mx import data
from ibnnet_mx.cli import train

def numbered(self, *_):
    time.sleep(600)
    yield

data.Iterator.numbered = numbered
sys.exit(train.main(sys.argv[1:]))
"""


def test_the_command_ends_where_the_data_do_not_come(tmp_path, tiny_data):
    words = ['--data-type', 'cifar10', '--depth', '8', '--data-dir', str(tiny_data), '--stall-timeout', '3']
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, '-c', STALLED, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == watchdog.CODE
    assert time.monotonic() - begin < 60
    assert 'waiting for: data. It ends' in done.stderr.splitlines()[-1]


def test_a_limit_must_be_a_time(run):
    assert run('--stall-timeout', '0', code=2) == 'train_resnet: --stall-timeout 0 must be above 0 seconds\n'
