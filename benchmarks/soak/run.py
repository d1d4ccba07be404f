"""Does a run survive being killed again and again? kill -9 at random moments, --retrain, and so on, to the end.

A small training on handwritten digits is made once without interruption. Then the same command is started and killed
--cycles times, each time at a random moment of its start or of its training, and after that it is left to end. Its last
checkpoint must be the unbroken run's, byte for byte, and nothing may be left behind or have grown.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.options import in_a_folder, positive, tell  # noqa: E402
from ibnnet_mx.cli.options import Parser, run  # noqa: E402

EPOCHS, EVERY = 6, 2  # batches from one checkpoint to the next
TRAIN = ['--recipe', 'digits', '--depth', '8', '--batch-size', '32', '--keep', '2', '--threads', '1']


class Run:
    """train_resnet.py in a folder, in a session of its own, so that nothing that it starts can hide."""

    def __init__(self, folder, data):
        self.folder, self.memory, self.disk = folder, [], []  # MB at each kill
        options = [
            '--data-dir',
            data,
            '--model-prefix',
            folder / 'net',
            '--log-file',
            folder / 'log',
            '--epochs',
            EPOCHS,
        ]
        self._words = [sys.executable, ROOT / 'train_resnet.py', *TRAIN, *options, '--checkpoint-batches', EVERY]

    def start(self):
        again = (
            ['--retrain'] if any(self.folder.glob('net-0*.json')) or any(self.folder.glob('net-inside/*.json')) else []
        )
        words = [str(word) for word in [*self._words, *again]]
        quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        return subprocess.Popen(words, start_new_session=True, **quiet)

    def whole(self):
        """Lets it end. ValueError: it does not end well."""
        process = self.start()
        _, said = process.communicate()
        if process.returncode:
            raise ValueError(f'the run ended with {process.returncode}: {(said.splitlines() or ["no word"])[-1]}')

    def cycle(self, seconds):
        """Starts it and kills it after so long; True where it had ended before."""
        process = self.start()
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.memory.append(resident(process.pid))
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            self.disk.append(sum(path.stat().st_size for path in self.folder.rglob('*') if path.is_file()) / 1e6)
            return False
        if process.returncode:
            raise ValueError(f'a run that went on ended with {process.returncode}')
        return True

    def files(self):
        """{name: bytes} of the last checkpoint."""
        return {kind: (self.folder / f'net-{EPOCHS:04d}.{kind}').read_bytes() for kind in ('params', 'states')}

    def left(self):
        """What should not be there."""
        half = [str(path) for path in self.folder.rglob('*') if path.name.endswith('.part') or 'inside' in path.name]
        return half + [f'process {pid}' for pid in processes(str(self.folder))]


def resident(pid):
    """MB; 0 where the process is gone."""
    try:
        lines = Path(f'/proc/{pid}/status').read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith('VmRSS')), 0.0)


def processes(word):
    """Numbers of the processes whose command has a word in it."""
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            if word.encode() in (folder / 'cmdline').read_bytes() and int(folder.name) != os.getpid():
                yield int(folder.name)
        except OSError:
            continue


def soak(args, folder):
    data = folder / 'digits'
    words = [sys.executable, ROOT / 'tools' / 'im2rec_wrapper.py', 'digits', data]
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    runs = {}
    for name in ('whole', 'killed'):
        (folder / name).mkdir()
        runs[name] = Run(folder / name, data)
    begin = time.monotonic()
    runs['whole'].whole()
    alone = time.monotonic() - begin
    tell(f'unbroken: {alone:.1f} s')
    draw, killed, ended = random.Random(args.seed), 0, 0
    begin = time.monotonic()
    while killed < args.cycles:
        if runs['killed'].cycle(draw.uniform(0.2, args.longest)):
            ended += 1
            if ended > 1:  # a run that is done has nothing more to lose: begin anew
                check(runs, folder)
                clear(runs['killed'].folder)
                ended = 0
            continue
        killed += 1
        if killed % 10 == 0:
            tell(f'{killed} kills, {time.monotonic() - begin:.0f} s')
    runs['killed'].whole()
    return {
        'equal': runs['killed'].files() == runs['whole'].files(),
        'cycles': killed,
        'seconds': round(time.monotonic() - begin, 1),
        'left': runs['killed'].left(),
        'most_disk_mb': halves(runs['killed'].disk),
        'most_memory_mb': halves(runs['killed'].memory),
    }


def halves(values):
    """The most of the first half of the kills and of the second: what grows has more in the second."""
    middle = len(values) // 2
    return [round(max(part, default=0.0), 2) for part in (values[:middle], values[middle:])]


def grown(found):
    """What was more than a tenth larger in the second half."""
    return [key for key in ('most_disk_mb', 'most_memory_mb') if found[key][1] > 1.1 * found[key][0]]


def check(runs, folder):
    """ValueError: a run that was killed often ends as no unbroken one does."""
    if runs['killed'].files() != runs['whole'].files():
        raise ValueError(f'{folder}: the weights of the killed run are not those of the unbroken one')


def clear(folder):
    for path in sorted(folder.rglob('*'), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def command(args):
    in_a_folder('--json', args.json)
    with tempfile.TemporaryDirectory(prefix='soak-') as folder:
        found = soak(args, Path(folder))
    halved = 'first half, second half of the kills'
    print(f'| kills | seconds | equal | left behind | MB on disk: {halved} | MB of memory |\n|---|---|---|---|---|---|')
    cells = [
        found['cycles'],
        found['seconds'],
        'yes' if found['equal'] else 'NO',
        ', '.join(found['left']) or 'nothing',
    ]
    cells += [', '.join(map(str, found[key])) for key in ('most_disk_mb', 'most_memory_mb')]
    print(f'| {" | ".join(map(str, cells))} |')
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1) + '\n')
    return 0 if found['equal'] and not found['left'] and not (found['cycles'] >= 20 and grown(found)) else 1


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--cycles', type=positive, default=200, metavar='N', help='kills (200)')
    parser.add_argument(
        '--longest', type=float, default=9.0, metavar='S', help='seconds after which it is killed at last (9)'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    parser.add_argument('--json', type=Path, metavar='FILE')
    return run(command, parser)


if __name__ == '__main__':
    sys.exit(main())
