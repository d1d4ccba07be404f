"""Train the small networks whose weights come along, and write each with its card: ibnnet_mx/hub_weights/.

    python experiments/small_weights/run.py CIFAR10 [--out DIR] [--models NAME ...]

CIFAR10: the archive, or anything that `ibnnet pack` takes. A training run that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ibnnet_mx import checkpoint, models  # noqa: E402
from ibnnet_mx.files import atomic, params_file  # noqa: E402

TARGET = ROOT / 'ibnnet_mx' / 'hub_weights'
MODELS = ('cifar_resnet20', 'cifar_resnet20_ibn_a')
EPOCHS = 20
EVERY = 4  # each fourth test picture is shifted, as in experiments/two_at_once
LICENCE = 'Apache-2.0, as ibnnet_mx; CIFAR-10 itself: A. Krizhevsky, 2009, who states no licence'


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('cifar10', metavar='CIFAR10')
    parser.add_argument('--out', type=Path, default=Path('runs/small_weights'), help='records, checkpoints, logs')
    parser.add_argument('--models', nargs='+', default=MODELS, choices=MODELS)
    parser.add_argument('--dtype', choices=('float32', 'bfloat16'), default='float32', help='of the training steps')
    return parser


def run(*words: str) -> str:
    """Run a sub-command, and return what it printed."""
    print(f'$ ibnnet {shlex.join(words)}', flush=True)
    command = [sys.executable, '-m', 'ibnnet_mx', *words]
    return subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout


def make(name: str, out: Path, dtype: str) -> None:
    """Train a network, test it on clean and on corrupted pictures, and write weights and card."""
    family, depth = models.split_name(name)
    prefix = out / 'model' / name
    words = ['train', '--data-type', 'cifar10', '--recipe', 'cifar10_fast', '--model', family, '--depth', str(depth)]
    words += ['--epochs', str(EPOCHS), '--dtype', dtype, '--seed', '0']
    places = ['--data-dir', str(out / 'data'), '--model-prefix', str(prefix), '--log-file', str(out / f'{name}.log')]
    run(*words, *places, '--keep', '2', '--retrain', 'auto')
    source = ['--prefix', str(prefix), '--epoch', str(EPOCHS)]
    report = run('evaluate', str(out / 'data'), *source, '--shift', 'all', '--every', str(EVERY), '--json')
    opened = checkpoint.Store(prefix).open(EPOCHS)
    content = params_file.encode_params(opened.params)
    card = {
        'model': name,
        'data': 'CIFAR-10, 50,000 training pictures, JPEG of quality 75',
        'recipe': 'cifar10_fast',
        'command': f'ibnnet {shlex.join(words)}',
        'seed': 0,
        'accuracy': opened.facts.metrics['validation']['accuracy'],
        'accuracy_of': 'the 10,000 test pictures, after the last epoch',
        'corrupted_accuracy': round(1 - json.loads(report)['shift']['mean'], 4),
        'corrupted_accuracy_of': f'15 corruptions of arXiv:1903.12261, 5 severities, each {EVERY}th test picture',
        'class_names': list(opened.facts.class_names),
        'pixels': opened.facts.pixels,
        'licence': LICENCE,
        'version': opened.facts.version,
        'bytes': len(content),
        'sha256': hashlib.sha256(content).hexdigest(),
    }
    TARGET.mkdir(exist_ok=True)
    atomic.write_file(TARGET / f'{name}.params', content)
    atomic.write_file(TARGET / f'{name}.json', (json.dumps(card, indent=1) + '\n').encode())
    print(f'{TARGET / name}.params: {card["accuracy"]:.4f} clean, {card["corrupted_accuracy"]:.4f} corrupted')


def main() -> None:
    args = make_parser().parse_args()
    out = args.out.resolve()
    run('pack', str(Path(args.cifar10).resolve()), str(out / 'data'), '--image-size', '32')
    for name in args.models:
        make(name, out, args.dtype)


if __name__ == '__main__':
    main()
