"""ResNet-20 on CIFAR-10 with small normalisation batches: the same SGD batch, schedule and pictures, five norms.

Every run is a train_resnet.py command of its own; one that was interrupted goes on, one that is finished is only read.
A finished run is written to results/ at once, and the table and the picture anew from all that are there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from ibnnet_mx import _limits, logs  # noqa: E402

BATCH, PICTURES = 32, 50_000
STEPS = -(-PICTURES // BATCH)  # of an epoch
COMMON = ['--recipe', 'cifar10_fast', '--data-type', 'cifar10', '--model', 'resnet', '--depth', '20']
COMMON += ['--batch-size', BATCH, '--lr', '0.05', '--warmup-epochs', '1', '--keep', '1', '--frequent', '100']
WAYS = {  # what the table calls it: (options, seconds of an epoch on one core)
    'bn, 32': (['--norm', 'bn'], 80),
    'bn, 2': (['--norm', 'bn', '--norm-batch-size', 2], 150),
    'brn, 2': (['--norm', 'brn', '--norm-batch-size', 2, '--norm-args', '{ramp}'], 160),
    'mabn, 2': (['--norm', 'mabn', '--norm-batch-size', 2], 190),
    'gn': (['--norm', 'gn'], 150),
}


def ramp(epochs):
    """Batch Renormalization's, in the same parts of a run as in its paper: 5k, 40k and 25k of about 130k steps."""
    steps = epochs * STEPS
    return f'warmup_iters={steps * 5 // 130},r_iters={steps * 40 // 130},d_iters={steps * 25 // 130}'


def command(way, seed, args):
    """(words of the command, prefix of its checkpoints)."""
    name = f'{list(WAYS).index(way)}_{seed}'
    prefix = args.out / 'model' / name
    words = [*COMMON, *(str(word).format(ramp=ramp(args.epochs)) for word in WAYS[way][0])]
    words += ['--epochs', args.epochs, '--seed', seed, '--data-dir', args.data_dir]
    words += ['--model-prefix', prefix, '--log-file', args.out / 'log' / f'{name}.log']
    return [str(word) for word in words], prefix


def result_path(way, seed, args):
    return args.results / f'{way.replace(", ", "_")}_epochs{args.epochs}_seed{seed}.json'


def run(way, seed, args):
    """Trains one network, or goes on with it, unless its result is there."""
    path = result_path(way, seed, args)
    if path.is_file():
        return
    words, prefix = command(way, seed, args)
    begun = any(prefix.parent.glob(f'{prefix.name}-[0-9]*.json'))
    threads = str(max(_limits.usable_cores() // args.jobs, 1))
    call = [sys.executable, str(ROOT / 'train_resnet.py'), *words, '--threads', '1', *['--retrain'] * begun]
    with open(args.out / 'log' / f'{prefix.name}.out', 'w') as out:
        subprocess.run(call, check=True, stdout=out, stderr=out, env=dict(os.environ, OMP_NUM_THREADS=threads))
    log = logs.read_log(args.out / 'log' / f'{prefix.name}.log')
    told = words[: words.index('--data-dir')]
    found = dict(way=way, seed=seed, epochs=args.epochs, accuracy=log.validation['accuracy'], command=' '.join(told))
    path.write_text(json.dumps(found, indent=1) + '\n')
    write(args)
    print(f'{time.strftime("%H:%M")} {way}, seed {seed}: {100 * last(found):.2f} %', flush=True)


def last(result):
    return result['accuracy'][str(max(map(int, result['accuracy'])))]


def finished(args):
    """{way: results}."""
    paths = {way: args.results.glob(result_path(way, 0, args).name.replace('seed0', 'seed*')) for way in WAYS}
    return {way: [json.loads(path.read_text()) for path in sorted(found)] for way, found in paths.items()}


def write(args):
    """The table and the picture of what is finished."""
    found = finished(args)
    rows = ['| norm, pictures normalised together | validation error | deviation | seeds |', '|---|---|---|---|']
    for way, results in found.items():
        errors = [100 * (1 - last(result)) for result in results]
        if errors:
            spread = f'{statistics.stdev(errors):.2f}' if len(errors) > 1 else ''
            rows.append(f'| {way} | {statistics.mean(errors):.2f} % | {spread} | {len(errors)} |')
    (args.results / f'table_epochs{args.epochs}.md').write_text('\n'.join(rows) + '\n')
    draw(found, args.results / f'curves_epochs{args.epochs}.png')


def draw(found, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout='constrained')
    axes = figure.add_subplot()
    for i, (way, results) in enumerate(found.items()):
        for j, result in enumerate(results):
            curve = {int(epoch) + 1: 100 * (1 - value) for epoch, value in result['accuracy'].items()}
            axes.plot(curve.keys(), curve.values(), color=f'C{i}', marker='o', ms=3, label=way if j == 0 else None)
    axes.set_xlabel('epoch')
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel('validation error, %')
    axes.set_title('ResNet-20 on CIFAR-10, SGD batch 32', fontsize=11)
    axes.grid(alpha=0.3)
    axes.legend(title='norm, pictures')
    figure.savefig(path, dpi=130)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--data-dir', required=True, help='CIFAR-10 as tools/im2rec_wrapper.py --data-type cifar10 packs it'
    )
    parser.add_argument('--out', type=Path, default=Path('small_batch'), help='checkpoints and logs of the runs')
    parser.add_argument('--results', type=Path, default=HERE / 'results')
    parser.add_argument('--epochs', type=int, default=15)
    parser.add_argument('--seeds', type=int, default=2)
    parser.add_argument('--jobs', type=int, default=_limits.usable_cores(), help='runs at a time, the cores divided')
    args = parser.parse_args()
    for folder in (args.out / 'log', args.results):
        folder.mkdir(parents=True, exist_ok=True)
    left = [(way, seed) for seed in range(args.seeds) for way in WAYS if not result_path(way, seed, args).is_file()]
    minutes = sum(WAYS[way][1] for way, _ in left) * args.epochs / 60 / args.jobs
    print(
        f'{len(left)} runs of {args.epochs} epochs to go: about {minutes:.0f} minutes on {args.jobs} cores', flush=True
    )
    with ThreadPoolExecutor(args.jobs) as pool:
        for future in [pool.submit(run, way, seed, args) for way, seed in left]:
            future.result()
    write(args)
    print((args.results / f'table_epochs{args.epochs}.md').read_text())


if __name__ == '__main__':
    main()
