"""Does bfloat16 cost accuracy? The same trainings in float32 and in bfloat16, on digits and on CIFAR-10.

Every run is a train_resnet.py command of its own, one after the other on all cores; its result is written at once to
results/, and a run whose result is there is not made again. The tables are made from all that are there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from ibnnet_mx import logs  # noqa: E402

DTYPES = ('float32', 'bfloat16')
SETS = {  # what the table calls it: options of the command
    'digits': ['--recipe', 'digits', '--depth', '20'],
    'cifar10': ['--recipe', 'cifar10_fast', '--model', 'resnet_ibn_a', '--depth', '20'],
}


def train(kind, dtype, seed, epochs, args):
    """{accuracy: of each epoch, command}, of one run."""
    work = args.out / f'{kind}_{dtype}_{seed}'
    work.mkdir(parents=True, exist_ok=True)
    words = [*SETS[kind], '--epochs', epochs, '--seed', seed, '--dtype', dtype]
    place = ['--data-dir', args.data_dir if kind == 'cifar10' else args.out / 'digits', '--keep', 1]
    place += ['--model-prefix', work / 'model', '--log-file', work / 'log']
    call(ROOT / 'train_resnet.py', *words, *place)
    accuracy = logs.read_log(work / 'log').validation['accuracy']
    command = ' '.join(map(str, ['train_resnet.py', *words]))
    return {'accuracy': list(accuracy.values()), 'command': command}


def call(script, *words):
    """SystemExit: it failed, with its last word."""
    done = subprocess.run([sys.executable, str(script), *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f'{script.name} ended with {done.returncode}: {(done.stderr.splitlines() or ["no word"])[-1]}')


def table(args):
    rows = [
        '| data | dtype | validation error | lowest to highest | seeds | epochs |',
        '|' + '---|' * 6,
    ]
    for path in sorted({path.name.rpartition('_seed')[0] for path in args.results.glob('*_seed*.json')}):
        kind, dtype, epochs = path.split('_')
        found = [json.loads(each.read_text()) for each in sorted(args.results.glob(f'{path}_seed*.json'))]
        errors = [100 * (1 - run['accuracy'][-1]) for run in found]
        spread = f'{min(errors):.2f} to {max(errors):.2f}'
        cells = [kind, dtype, f'{statistics.mean(errors):.2f} %', spread, len(found), epochs[6:]]
        rows.append(f'| {" | ".join(map(str, cells))} |')
    return '\n'.join(rows) + '\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data-dir', help='CIFAR-10 as tools/im2rec_wrapper.py packs it; unset: digits only')
    parser.add_argument('--out', type=Path, default=Path('bfloat16'), help='checkpoints and logs of the runs')
    parser.add_argument('--results', type=Path, default=HERE / 'results')
    parser.add_argument('--seeds', type=int, default=5, help='of the digits; CIFAR-10 has two')
    parser.add_argument('--epochs', type=int, default=5)
    args = parser.parse_args()
    args.results.mkdir(parents=True, exist_ok=True)
    if not (args.out / 'digits').is_dir():
        call(ROOT / 'tools' / 'im2rec_wrapper.py', 'digits', args.out / 'digits', '--split', 'random')
    seeds = {'digits': args.seeds, 'cifar10': 2 if args.data_dir else 0}
    for kind, seed in ((kind, seed) for kind, count in seeds.items() for seed in range(count)):
        for dtype in DTYPES:
            path = args.results / f'{kind}_{dtype}_epochs{args.epochs}_seed{seed}.json'
            if not path.is_file():
                path.write_text(json.dumps(train(kind, dtype, seed, args.epochs, args), indent=1) + '\n')
                print(f'{time.strftime("%H:%M")} {path.stem}', flush=True)
    (args.results / 'table.md').write_text(table(args))
    print(table(args))


if __name__ == '__main__':
    main()
