"""How long evaluate.py --shift all takes, and what a corruption costs a picture here and in imagecorruptions.

One command on the 10,000 test pictures of CIFAR-10 with ResNet-20; then each corruption by itself on one thread, the
two in turn, with the constants of ImageNet-C at both sizes, in milliseconds a picture.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE.parent)]

import environments  # noqa: E402
from options import positive, tell, warn_if_busy  # noqa: E402

from ibnnet_mx import shift  # noqa: E402

SIDES = (32, 224)
LIMIT = 900  # seconds of a peer's measurement
ALLOWED = 15 * 60  # seconds of the command


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--data-dir', type=Path, help='CIFAR-10 as tools/im2rec_wrapper.py packs it; unset: the corruptions alone')
    add('--names', nargs='+', choices=shift.CORRUPTIONS, default=shift.CORRUPTIONS, metavar='NAME')
    add('--rounds', type=positive, default=3, help='what is told is the median (3)')
    add('--peers', type=Path, default=environments.PEERS, help="the other's environment (benchmarks/.peers)")
    add('--json', type=Path, help='write all that was measured')
    return parser


def command(data_dir):
    """Seconds of evaluate.py --shift all, with a network that has been trained for a few steps."""
    with tempfile.TemporaryDirectory() as folder:
        net = ['--model-prefix', f'{folder}/net', '--log-file', f'{folder}/log', '--data-dir', data_dir]
        few = ['--recipe', 'cifar10_fast', '--model', 'resnet', '--epochs', '1', '--num-examples', '1280']
        few += ['--warmup-epochs', '0']
        subprocess.run([sys.executable, ROOT / 'train_resnet.py', *few, *net], check=True, capture_output=True)
        words = [data_dir, '--prefix', f'{folder}/net', '--epoch', '1', '--shift', 'all', '--json']
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, ROOT / 'evaluate.py', *words], check=True, capture_output=True, text=True
        )
        return time.monotonic() - began, json.loads(done.stdout)['count']


def measured(python, names, side):
    """{name: ms a picture} of one process; python: ours, or the peer's."""
    variables = dict(OMP_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1')
    words = [python, str(HERE / 'one.py'), str(side), *names]
    found, error = environments.child(words, LIMIT, **variables)
    if error:
        tell(f'{side} pixels: {error}')
    return found or {}


def table(rounds, names):
    """Rows of medians and the ratio, by side."""
    yield (
        '| corruption | '
        + ' | '.join(f'{side} px: ours, ms | imagecorruptions, ms | times as fast' for side in SIDES)
        + ' |'
    )
    yield '|' + '---|' * (1 + 3 * len(SIDES))
    sums = {}
    for name in names:
        cells = [name]
        for side in SIDES:
            ours, theirs = ([one[name] for one in rounds[who, side] if name in one] for who in ('ours', 'peer'))
            if ours and theirs:
                a, b = median(ours), median(theirs)
                sums.setdefault(side, []).append((a, b))
                cells += [f'{a:.3f}', f'{b:.2f}', f'{b / a:.1f}']
            else:
                cells += [f'{median(ours):.3f}' if ours else '', '', '']
        yield f'| {" | ".join(cells)} |'
    cells = ['mean']
    for side in SIDES:
        pairs = sums.get(side, [])
        means = [sum(part) / len(pairs) for part in zip(*pairs)] if pairs else []
        cells += [f'{means[0]:.3f}', f'{means[1]:.2f}', f'{means[1] / means[0]:.1f}'] if means else ['', '', '']
    yield f'| {" | ".join(cells)} |'


def main():
    args = make_parser().parse_args()
    warn_if_busy()
    found = {}
    if args.data_dir is not None:
        times = []
        for number in range(args.rounds):
            seconds, count = command(args.data_dir)
            times.append(seconds)
            tell(f'round {number + 1}: evaluate.py --shift all of {count} pictures: {seconds:.0f} s')
        found['command'] = dict(seconds=times, pictures=count)
        print(f'evaluate.py --shift all, {count} pictures, ResNet-20: {median(times):.0f} s ({ALLOWED} allowed)')
    python, error = environments.install('imagecorruptions', ['imagecorruptions'], args.peers, tell)
    if error:
        tell(f'imagecorruptions cannot be had: {error}')
    rounds = {}
    for _ in range(args.rounds):
        for side in SIDES:
            for who, which in (('ours', sys.executable), ('peer', python)):
                if which:
                    rounds.setdefault((who, side), []).append(measured(which, args.names, side))
    found['milliseconds'] = {f'{who}_{side}': values for (who, side), values in rounds.items()}
    print('\n'.join(table(rounds, args.names)))
    print(f'\n{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread')
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + '\n')


if __name__ == '__main__':
    main()
