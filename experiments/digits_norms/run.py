"""Digits at batch 2: handwritten digits in batches of two pictures, with four norms, in a plain and an IBN-a net.

Packs the digits of scikit-learn, trains every norm with every seed by a train_resnet.py command of its own, one thread
each, and writes the table to results.md. All runs have the same SGD batches, rates, epochs and seeds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from ibnnet_mx import _limits, logs  # noqa: E402

PICTURES = 1437
NETS = {'plain': 'resnet', 'IBN-a': 'resnet_ibn_a'}
WAYS = {  # norm, pictures normalised together: its options
    'bn, 2': ['--norm', 'bn'],
    'brn, 2': ['--norm', 'brn', '--norm-args', '{ramp}'],
    'mabn, 2': ['--norm', 'mabn'],
    'gn, 1': ['--norm', 'gn'],
}
WHOLE = {'bn, whole': ['--norm', 'bn']}  # beside them, where a batch is more than two pictures
SMALL = ('bn, 2', 'brn, 2', 'mabn, 2')  # which are then normalised in parts of two
EPOCH, START = 5, 5  # seconds of an epoch on one core, and of a run besides its epochs; for the estimate


def ways(args):
    return WAYS if args.batch_size == 2 else {**WHOLE, **WAYS}


def ramp(args):
    """Batch Renormalization's, in the same parts of a run as in its paper: 5k, 40k and 25k of about 130k steps."""
    steps = args.epochs * -(-PICTURES // args.batch_size)
    return f'warmup_iters={steps * 5 // 130},r_iters={steps * 40 // 130},d_iters={steps * 25 // 130}'


def options(way, net, args):
    """What the table's runs are, but for the seed."""
    words = ['--recipe', 'digits', '--model', NETS[net], '--depth', args.depth]
    words += [word.format(ramp=ramp(args)) for word in ways(args)[way]]
    words += ['--norm-batch-size', 2] if way in SMALL and args.batch_size > 2 else []
    words += ['--batch-size', args.batch_size, '--lr', f'{args.lr:g}', '--epochs', args.epochs]
    return [str(word) for word in words]


def call(words, out):
    """A command of the project, its output in the file `out`. RuntimeError: its last line, where it fails."""
    with open(out, 'w') as file:
        env = dict(os.environ, OMP_NUM_THREADS='1')
        code = subprocess.call([sys.executable, *words], stdout=file, stderr=file, cwd=ROOT, env=env)
    if code:
        lines = Path(out).read_text().strip().splitlines() or ['no word']
        raise RuntimeError(f'{Path(words[0]).name} ended with exit code {code}: {lines[-1]}')


def accuracy(way, net, seed, args, folder):
    """Trains one network: its validation accuracy after the last epoch, in percent."""
    name = f'{list(ways(args)).index(way)}_{net}_{seed}'
    log = folder / f'{name}.log'
    words = ['train_resnet.py', *options(way, net, args), '--data-dir', folder / 'data', '--seed', seed]
    words += ['--threads', 1, '--keep', 1, '--model-prefix', folder / 'model' / name, '--log-file', log]
    call([str(word) for word in words], folder / f'{name}.out')
    accuracy = 100 * logs.read_log(log).validation['accuracy'][args.epochs - 1]
    print(f'{time.strftime("%H:%M:%S")} {way}, {net}, seed {seed}: {accuracy:.1f} %', flush=True)
    return accuracy


def train(args, folder):
    """{(way, net): accuracies of the seeds}."""
    runs = [(way, net, seed) for way in ways(args) for net in NETS for seed in range(args.seeds)]
    with ThreadPoolExecutor(args.jobs) as pool:
        futures = [pool.submit(accuracy, *run, args, folder) for run in runs]
        try:
            values = [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()  # after an error no other run begins
    scores = dict(zip(runs, values))
    return {(way, net): [scores[way, net, seed] for seed in range(args.seeds)] for way in ways(args) for net in NETS}


def table(accuracies, args):
    """Rows of markdown."""
    rows = [f'| norm, pictures normalised together | {" | ".join(NETS)} |', '|---|' + '---|' * len(NETS)]
    for way in ways(args):
        cells = []
        for net in NETS:
            values = accuracies[way, net]
            cells.append(f'{statistics.mean(values):.1f} % ({min(values):.1f} to {max(values):.1f})')
        rows.append(f'| {way} | {" | ".join(cells)} |')
    return rows


def write(accuracies, took, args):
    lines = table(accuracies, args)
    lines += ['', f'Validation accuracy after {args.epochs} epochs, mean of {args.seeds} seeds (lowest to highest).']
    lines += [f'{took:.0f} s, {args.jobs} runs at a time.', '', '```']
    lines += [f'train_resnet.py {" ".join(options(way, net, args))}' for net in NETS for way in ways(args)]
    args.results.write_text('\n'.join([*lines, '```']) + '\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--results', type=Path, default=HERE / 'results.md', help='the file with the table')
    parser.add_argument('--depth', type=int, default=8)
    parser.add_argument('--epochs', type=int, default=4)
    parser.add_argument('--batch-size', type=int, default=2, help='of SGD; larger ones are normalised in parts of two')
    parser.add_argument('--lr', type=float, default=0.004)
    parser.add_argument('--seeds', type=int, default=2)
    parser.add_argument('--jobs', type=int, default=_limits.usable_cores(), help='runs at a time, each on one core')
    args = parser.parse_args()
    if min(args.epochs, args.seeds, args.jobs, args.batch_size - 1) < 1:
        parser.error('--epochs, --seeds and --jobs must be at least 1, --batch-size at least 2')
    runs = args.seeds * len(ways(args)) * len(NETS)
    whole = runs * (START + args.epochs * EPOCH) / args.jobs
    print(f'{runs} runs of {args.epochs} epochs, {args.jobs} at a time: about {whole / 60:.1f} minutes', flush=True)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix='digits_norms_') as name:
        folder = Path(name)
        try:
            call(['tools/im2rec_wrapper.py', 'digits', str(folder / 'data'), '--split', 'random'], folder / 'pack.out')
            accuracies = train(args, folder)
        except RuntimeError as error:
            sys.exit(f'digits_norms: {error}')
    write(accuracies, time.monotonic() - begin, args)
    print(f'\n{args.results.read_text()}')


if __name__ == '__main__':
    main()
