"""Is a run of several workers the run of one process, and what happens when one of its processes is killed?

    python benchmarks/workers/run.py --data-dir CIFAR [--parts same,kill,restart,accuracy] [--json FILE]

CIFAR: what tools/im2rec_wrapper.py made of CIFAR-10. Needs no quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from ibnnet_mx import _env  # noqa: E402
from ibnnet_mx.distributed import launch  # noqa: E402
from ibnnet_mx.distributed.launch import hosts  # noqa: E402

ENVIRONMENT = {**_env.BEFORE, 'PYTHONPATH': str(ROOT)}
WORKER = [sys.executable, str(HERE / 'worker.py')]
BATCH = 128
ROLES = ('worker', 'server', 'scheduler')
PATIENCE = 60.0  # seconds, for what should take less than 30


def options(data, prefix, *more):
    words = ['--data-type', 'cifar10', '--model', 'resnet', '--depth', '20', '--data-dir', data, '--seed', '0']
    return [*words, '--batch-size', str(BATCH), '--model-prefix', prefix, '--log-file', f'{prefix}.log', *more]


def launched(workers, *words):
    return [sys.executable, '-m', 'ibnnet_mx', 'launch', '-n', str(workers), '-s', '1', *words]


def run(words, **settings):
    """The finished process; it must have gone well."""
    done = subprocess.run(words, env={**ENVIRONMENT, **settings}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f'{" ".join(words)}\n{done.stdout}{done.stderr}')
    return done


def difference(one, other):
    """The largest distance of a value in two {name: array}; weights are between 0.1 and 1."""
    return max(float(np.abs(one[name] - other[name]).max()) for name in one.files)


def same(data, folder):
    """[found] of ResNet-20 with GroupNorm after so many steps at a rate: one process, four contexts, two workers.

    The network is not smooth: where it learns fast, one rounding error at the start moves it as far as devices do.
    """
    found = []
    for steps, rate in ((1, '0.1'), (50, '0.00001'), (50, '0.0001'), (50, '0.1')):
        few = ['--norm', 'gn', '--epochs', '1', '--num-examples', str(steps * BATCH), '--lr', rate]
        ways = {'one': [], 'nudged': [], 'contexts': ['--cpus', '4'], 'workers': ['--kv-store', 'dist_sync']}
        for way, more in ways.items():
            words = [*WORKER, f'{folder}/{way}', *options(data, f'{folder}/{way}', *more, *few)]
            nudge = str(int(way == 'nudged'))
            run(launched(2, '--', *words) if way == 'workers' else words, VALIDATE='0', NUDGE=nudge)
        names = ('one-0', 'nudged-0', 'contexts-0', 'workers-0', 'workers-1')
        one, nudged, contexts, first, second = (np.load(f'{folder}/{name}.npz') for name in names)
        row = {
            'steps': steps,
            'rate': rate,
            'workers identical': all(np.array_equal(first[name], second[name]) for name in first.files),
            '2 workers against one process': difference(first, one),
            '4 contexts against one process': difference(contexts, one),
            'one process, nudged at the start, against one that was not': difference(nudged, one),
        }
        print(json.dumps(row), flush=True)
        found.append(row)
    return found


class Processes:
    """Those of a job, without the launcher that would end them together; said: lines by process."""

    def __init__(self, words, folder):
        plan = launch.Setup(hosts.spread_processes([hosts.HERE], 2, 1), hosts.free_port(), words)
        self.said, self.all = {}, {}
        for process in plan.processes:
            name = f'{process.role} {process.number}'
            own = plan.words(process)
            words = own[own.index('--') + 1 :]
            setting = {**ENVIRONMENT, **plan.settings(process)}
            pipe = subprocess.PIPE
            self.all[name] = subprocess.Popen(words, env=setting, cwd=folder, stdout=pipe, stderr=subprocess.STDOUT)
            self.said[name] = []
            threading.Thread(target=self._listen, args=(name,), daemon=True).start()

    def _listen(self, name):
        for line in self.all[name].stdout:
            self.said[name].append(line.decode())

    def wait_for(self, text, seconds=120):
        until = time.monotonic() + seconds
        while not any(text in line for lines in self.said.values() for line in lines):
            if time.monotonic() > until:
                sys.exit(f'{text!r} was not said: {self.said}')
            time.sleep(0.1)


def killed(data, folder, name):
    """Seconds until all others have ended, their codes and last lines, after one was killed."""
    many = ['--kv-store', 'dist_sync', '--epochs', '50', '--num-examples', '6400', '--frequent', '5']
    job = Processes([*WORKER, f'{folder}/k', *options(data, f'{folder}/k', *many)], folder)
    job.wait_for('Batch [5]')
    job.all[name].send_signal(signal.SIGKILL)
    began = time.monotonic()
    ended, last = {}, 0.0
    for other, process in job.all.items():
        if other == name:
            continue
        try:
            process.wait(max(PATIENCE - (time.monotonic() - began), 0.1))
            last = time.monotonic() - began
        except subprocess.TimeoutExpired:
            last = float('inf')
            process.kill()
        time.sleep(0.2)
        lines = [line.strip() for line in job.said[other] if line.strip()]
        ended[other] = [process.returncode, lines[-1] if lines else '']
    return {'seconds': round(last, 1), 'others': ended}


def restarted(data, folder, role):
    """Whether a job that lost a process and was started again ends with the weights of one that did not."""
    few = ['--kv-store', 'dist_sync', '--epochs', '2', '--num-examples', '6400', '--frequent', '5']
    few += ['--checkpoint-batches', '10', '--retrain', 'auto', '--norm', 'bn']
    whole = Path(folder, 'whole-0002.params')
    if not whole.exists():
        run(launched(2, '--', *WORKER, f'{folder}/w', *options(data, f'{folder}/whole', *few)))
    prefix = f'{folder}/{role}'
    words = launched(2, '--max-restarts', '1', '--', *WORKER, f'{folder}/r', *options(data, prefix, *few))
    launcher = subprocess.Popen(
        words,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    said, began, died = [], time.monotonic(), 0.0
    for line in launcher.stderr:
        said.append(line)
        if 'Epoch[0] Batch [30]' in line and not died:
            os.kill(victim(launcher.pid, role), signal.SIGKILL)
            died = time.monotonic()
        if 'restart 1 of 1' in line:
            noticed = time.monotonic() - died
    code, seconds = launcher.wait(), time.monotonic() - began
    if code:
        sys.exit(''.join(said))
    equal = whole.read_bytes() == Path(f'{prefix}-0002.params').read_bytes()
    return {
        'code': code,
        'equal': equal,
        'seconds until the restart': round(noticed, 1),
        'seconds in all': round(seconds, 1),
        'launcher': [line.strip() for line in said if line.startswith('ibnnet launch')],
    }


def victim(launcher, role):
    """The process of a role, under the launcher's guards."""
    listed = subprocess.run(['ps', '-eo', 'pid,ppid'], capture_output=True, text=True, check=True).stdout
    above = dict(tuple(map(int, line.split())) for line in listed.splitlines()[1:])
    for pid, guard in above.items():
        if above.get(guard) == launcher:
            settings = Path(f'/proc/{pid}/environ').read_text().split('\0')
            if f'DMLC_ROLE={role}' in settings:
                return pid
    sys.exit(f'there is no {role}')


def accuracy(data, folder, args, found, save):
    """Into found: {way: {seed: validation accuracy}} of the same command; what is there already stays."""
    for seed in map(str, range(args.seeds)):
        for way, more in {
            'one process': [],
            '2 workers': ['--kv-store', 'dist_sync'],
            '4 contexts': ['--cpus', '4'],
        }.items():
            if seed in found.setdefault(way, {}):
                continue
            prefix = f'{folder}/{way.replace(" ", "-")}-{seed}'
            recipe = ['--recipe', 'cifar10_fast', '--epochs', str(args.epochs), '--seed', seed, *more]
            words = [*WORKER, prefix, *options(data, prefix, *recipe)]
            run(launched(2, '--', *words) if way == '2 workers' else words)
            lines = re.findall(r'Validation-accuracy=([\d.]+)', Path(f'{prefix}.log').read_text())
            found[way][seed] = float(lines[-1])
            print(f'accuracy: {way}, seed {seed}: {lines[-1]}', flush=True)
            save()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--data-dir', required=True)
    parser.add_argument('--parts', default='same,kill,restart,accuracy')
    parser.add_argument('--epochs', type=int, default=3, help='of accuracy')
    parser.add_argument('--seeds', type=int, default=2, help='of accuracy')
    parser.add_argument('--json', type=Path, help='what was found; parts of before stay')
    args = parser.parse_args()
    data = os.path.abspath(args.data_dir)
    found = json.loads(args.json.read_text()) if args.json and args.json.exists() else {}

    def save():
        if args.json:
            args.json.write_text(json.dumps(found, indent=1) + '\n')

    for part in args.parts.split(','):
        folder = tempfile.mkdtemp()
        if part == 'same':
            found[part] = same(data, folder)
        elif part == 'kill':
            names = 'worker 0', 'worker 1', 'server 0', 'scheduler 0'
            found[part] = {name: killed(data, folder, name) for name in names}
        elif part == 'restart':
            found[part] = {role: restarted(data, folder, role) for role in ROLES}
        else:
            accuracy(data, folder, args, found.setdefault(part, {}), save)
        shutil.rmtree(folder)
        print(json.dumps({part: found[part]}, indent=1), flush=True)
        save()


if __name__ == '__main__':
    main()
