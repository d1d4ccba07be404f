"""Real jobs on this machine: a scheduler, a server and two workers over loopback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from ibnnet_mx.checkpoint import Store
from ibnnet_mx.distributed import job, launch
from ibnnet_mx.distributed.launch import hosts
from ibnnet_mx.files import params_file
from tests.conftest import ROOT, make_tiny, tiny_picture
from tests.record_sets import png, write
from tests.tiny_runs import PLAN, make, values

TRAIN = [sys.executable, str(ROOT / 'train_resnet.py'), '--kv-store', 'dist_sync']
TINY = ['--data-type', 'cifar10', '--depth', '20', '--batch-size', '8', '--frequent', '2', '--lr', '0.00001']
TINY += ['--max-bad-records', '1']
SETTINGS = {**os.environ, 'OMP_NUM_THREADS': '1'}


def words(data, prefix, *more):
    own = ['--data-dir', str(data), '--model-prefix', str(prefix), '--log-file', f'{prefix}.log']
    return [*TRAIN, *TINY, *own, *map(str, more)]


def launched(command, *options):
    line = [sys.executable, '-m', 'ibnnet_mx', 'launch', '-n', '2', *options, '--', *command]
    pipe = subprocess.PIPE
    return subprocess.Popen(line, cwd=ROOT, env=SETTINGS, stdout=pipe, stderr=subprocess.STDOUT, text=True)


def finished(command, *options, code=0):
    process = launched(command, *options)
    out, _ = process.communicate(timeout=150)
    assert process.returncode == code, out
    return out


def weights(prefix, epoch=1):
    return params_file.read_params(Store(prefix).path(epoch, 'params'))


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """A data folder with a damaged picture, and two epochs of two workers on it: (data, prefix, what was said)."""
    folder = tmp_path_factory.mktemp('jobs')
    data, draw = make_tiny(folder / 'data'), np.random.RandomState(5)
    payloads = [png(tiny_picture(i % 4, draw)) for i in range(41)]
    payloads[7] = payloads[7][:40]
    write(data / 'cifar10_train.rec', payloads, [i % 4 for i in range(41)])
    said = finished(words(data, folder / 'whole', '--epochs', '2'))
    return data, folder / 'whole', said


ONCE = [1, 1, 0], [1, 0, 1]  # the damaged picture is met by one process, and by one of two workers
GN = ['--norm', 'gn', '--epochs', '1', '--model', 'resnet', '--lr', '0.000003']


def test_two_workers_train_as_one_process(whole, tmp_path):
    """With GroupNorm: the statistics of BatchNorm are each worker's own."""
    data, _, _ = whole
    finished(words(data, tmp_path / 'two', *GN))
    as_one_process(data, tmp_path)


def horovodrun(command):
    line = [str(Path(sys.executable).with_name('horovodrun')), '--gloo', '-np', '2', *command]
    return subprocess.Popen(line, cwd=ROOT, env=SETTINGS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def on_horovod(command):
    return ['horovod' if word == 'dist_sync' else word for word in command]


@pytest.mark.slow
@pytest.mark.skipif(find_spec('horovod') is None, reason='Horovod is not installed')
def test_two_workers_of_horovod_train_as_one_process_and_die_together(whole, tmp_path):
    data, _, _ = whole
    process = horovodrun(on_horovod(words(data, tmp_path / 'two', *GN)))
    said, _ = process.communicate(timeout=100)
    assert process.returncode == 0, said
    assert 'worker 1 of 2' in said
    as_one_process(data, tmp_path)
    process = horovodrun(on_horovod(words(data, tmp_path / 'net', '--epochs', '500')))
    for line in process.stdout:
        if 'Batch [2]' in line:
            break
    victim = subprocess.run(['pgrep', '-f', 'train_resnet.py --kv-store horovod'], capture_output=True, text=True)
    began = time.monotonic()
    os.kill(int(victim.stdout.split()[-1]), signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert time.monotonic() - began < 15


def as_one_process(data, tmp_path):
    """tmp_path / 'two' has the weights that one process gets."""
    one = [word for word in words(data, tmp_path / 'one', *GN) if word not in ('--kv-store', 'dist_sync')]
    subprocess.run(one, cwd=ROOT, env=SETTINGS, capture_output=True, check=True)
    expected, found = weights(tmp_path / 'one'), weights(tmp_path / 'two')
    begin = values(make('cifar_resnet20', replace(PLAN, norm='gn')))
    moved = max(np.abs(array - begin[name[4:]]).max() for name, array in expected.items())
    apart = max(np.abs(array - found[name]).max() for name, array in expected.items())
    assert apart < 1e-6 < moved / 20
    assert [Path(f'{tmp_path}/{name}.log').read_text().count('skipped') for name in ('one', 'two', 'two-1')] in ONCE
    metrics = [Store(tmp_path / prefix).facts(1).metrics for prefix in ('one', 'two')]
    for part in ('train', 'validation'):
        assert metrics[1][part] == pytest.approx(metrics[0][part], rel=1e-3)


def test_rank_0_writes_and_every_rank_logs(whole):
    _, prefix, said = whole
    assert sorted(path.name for path in prefix.parent.iterdir() if path.is_file()) == [
        'whole-0001.json',
        'whole-0001.params',
        'whole-0001.states',
        'whole-0002.json',
        'whole-0002.params',
        'whole-0002.states',
        'whole-1.log',
        'whole-symbol.json',
        'whole.log',
    ]
    assert Store(prefix).facts(2).workers == 2
    logs = [Path(f'{prefix}{ending}').read_text() for ending in ('.log', '-1.log')]
    totals = [re.findall(r'(?:Train|Validation)-[\w-]+=\S+$', log, re.MULTILINE) for log in logs]
    assert len(totals[0]) > 10
    assert [line for line in totals[0] if 'Valid' in line] == [line for line in totals[1] if 'Valid' in line]
    assert '[worker 1] ibnnet_mx: worker 1 of 2\n' in said
    assert 'Traceback' not in said
    own = [line for line in said.splitlines() if line.startswith('[worker 1]')]
    assert not [line for line in own if 'INFO' in line or 'WARN' in line and not line.endswith(': skipped')]


@pytest.mark.parametrize('number', [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_job_that_is_asked_to_end_goes_on_as_if_it_had_not_been(whole, tmp_path, number):
    data, prefix, _ = whole
    process = launched(words(data, tmp_path / 'net', '--epochs', '2'))
    for line in process.stdout:
        if 'Epoch[0] Batch [2]' in line:
            process.send_signal(number)
            break
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    assert said.count('saved; with --retrain the run goes on from there') == 2
    finished(words(data, tmp_path / 'net', '--epochs', '2', '--retrain'))
    for kind in ('params', 'states'):
        assert Store(tmp_path / 'net').path(2, kind).read_bytes() == Store(prefix).path(2, kind).read_bytes()


def test_a_mistake_is_told_by_every_worker_and_ends_the_job(whole, tmp_path):
    said = finished(words(tmp_path / 'none', tmp_path / 'net', '--epochs', '1'), code=2)
    assert said.count('train_resnet: --data-dir') == 2
    assert 'Traceback' not in said


def start(data, prefix, role, port, **settings):
    plan = launch.Setup(hosts.spread_processes([hosts.HERE], 2, 1), port, words(data, prefix, '--epochs', '500'))
    process = next(each for each in plan.processes if each.role == role)
    own = plan.words(process)
    own = own[own.index('--') + 1 :]
    environ = {**SETTINGS, **plan.settings(process), **settings}
    return subprocess.Popen(own, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_where_a_process_dies_the_others_end_and_say_so(whole, tmp_path):
    """Without the launcher, which would end them: the scheduler sees that, the others see the scheduler."""
    data, _, _ = whole
    port = hosts.free_port()
    roles = ['scheduler', 'server', 'worker', 'worker']
    processes = [start(data, tmp_path / 'net', role, port) for role in roles]
    for line in processes[2].stdout:
        if 'worker ' in line:
            break
    time.sleep(3)  # some batches: worker 1 tells none
    processes[3].kill()
    began = time.monotonic()
    said = [process.communicate(timeout=40)[0] for process in processes[:3]]
    assert time.monotonic() - began < 30
    assert [process.returncode for process in processes[:3]] == [job.ENDED] * 3
    assert said[0] == 'scheduler: 1 of 2 workers gone, silent for 8 s: this process ends\n'
    assert f'server: the scheduler 127.0.0.1:{port} is gone' in said[1]
    assert '--retrain goes on from the last checkpoint' in said[2]


def test_a_worker_that_does_not_come_is_told(whole, tmp_path):
    data, _, _ = whole
    port, soon = hosts.free_port(), {'IBNNET_MX_JOIN_SECONDS': '6'}
    processes = [start(data, tmp_path / 'net', role, port, **soon) for role in ('scheduler', 'server', 'worker')]
    said = [process.communicate(timeout=40)[0] for process in processes]
    assert [process.returncode for process in processes] == [job.ENDED] * 3
    for role, text in zip(('scheduler', 'server', 'worker'), said):
        assert text.startswith(f'{role}: 6 s have gone, and not all of 2 workers and 1 servers are at the scheduler')


EVIL = """
import os, pathlib
from ibnnet_mx.distributed import workers
class Evil:
    def __reduce__(self):
        return os.system, ('touch ' + os.environ['MARK'],)
found = workers.ParameterServer('dist_sync')
found._store._send_command_to_servers(0, __import__('pickle').dumps(Evil(), 0).decode())
found.close()
print('sent', flush=True)
"""


def test_a_server_runs_no_code_that_a_worker_sends(tmp_path):
    """mxnet's own unpickles it."""
    mark = tmp_path / 'mark'
    line = [sys.executable, '-m', 'ibnnet_mx', 'launch', '-n', '1', '--', sys.executable, '-c', EVIL]
    done = subprocess.run(
        line, cwd=ROOT, env={**SETTINGS, 'MARK': str(mark)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert '[worker 0] sent\n' in done.stdout
    assert '[server 0] server: command 0 of a worker is not carried out\n' in done.stderr
    assert not mark.exists()
