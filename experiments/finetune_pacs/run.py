"""Photographs of seven classes at 32 pixels: from scratch, from a CIFAR-10 network, and with its first stages frozen.

Every run is a train_resnet.py command; a run that was interrupted goes on, one that is finished is only read.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMON = ['--recipe', 'cifar10_fast', '--model', 'resnet_ibn_a', '--depth', '20', '--batch-size', '64', '--keep', '1']
WAYS = {  # what the table calls it: (times the epochs, options)
    'from scratch': (1, []),
    'from scratch, rate 0.05': (1, ['--lr', '0.05']),
    'fine-tuned': (1, ['--init', '{init}', '--lr', '0.05']),
    'fine-tuned, body at a tenth of the rate': (1, ['--init', '{init}', '--lr', '0.05', '--lr-mult', 'body=0.1']),
    'fine-tuned, stem and stage 1 frozen': (1, ['--init', '{init}', '--lr', '0.05', '--freeze', 'stem,stage1']),
    'from scratch, rate 0.05, three times as long': (3, ['--lr', '0.05']),
}


def call(script, *words):
    subprocess.run([sys.executable, str(ROOT / script), *map(str, words)], check=True)


def pack(archive, out):
    """The photographs as records of 32x32 pixels; the other domains stay out."""
    data = out / 'data'
    if not (data / 'cifar10_val.rec').is_file():
        with tarfile.open(archive) as tar:
            tar.extractall(
                out, [m for m in tar.getmembers() if m.isfile() and '/photo/' in m.name and '..' not in m.name]
            )
        call('tools/im2rec_wrapper.py', next(out.glob('*/photo')), data, '--data-type', 'cifar10', '--split', 'random')
    return data


def accuracy(way, seed, args, data):
    """Validation accuracy after the last epoch of a run."""
    prefix = args.out / 'model' / f'{list(WAYS).index(way)}_{seed}'
    times, options = WAYS[way]
    epochs = times * args.epochs
    last = Path(f'{prefix}-{epochs:04d}.json')
    if not last.is_file():
        begun = any(prefix.parent.glob(f'{prefix.name}-[0-9]*.json'))  # its checkpoints hold what it started from
        options = options[2:] if begun and '--init' in options else options
        words = [word.format(init=args.init) for word in options] + ['--retrain'] * begun
        words += ['--data-dir', data, '--epochs', epochs, '--seed', seed, '--model-prefix', prefix]
        words += ['--log-file', args.out / 'log' / f'{prefix.name}.log']
        call('train_resnet.py', *COMMON, *words)
    return json.loads(last.read_text())['metrics']['validation']['accuracy']


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--pacs', required=True, help='pacs_96px.tar.gz, or another tar with DOMAIN/CLASS folders')
    parser.add_argument('--init', required=True, help="a checkpoint's .params of cifar_resnet20_ibn_a (log/README.md)")
    parser.add_argument('--out', type=Path, default=Path('finetune_pacs'))
    parser.add_argument('--epochs', type=int, default=20)
    parser.add_argument('--seeds', type=int, default=3)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    data = pack(args.pacs, args.out)
    rows = ['| way | validation accuracy, mean of the seeds | lowest to highest |', '|---|---|---|']
    for way in WAYS:
        found = [100 * accuracy(way, seed, args, data) for seed in range(args.seeds)]
        rows.append(f'| {way} | {statistics.mean(found):.1f} % | {min(found):.1f} to {max(found):.1f} |')
        (args.out / 'table.md').write_text('\n'.join(rows) + '\n')
    print('\n'.join(rows))


if __name__ == '__main__':
    main()
