"""Compare a run's estimate of its memory with the most that it then takes.

    python benchmarks/need/run.py [--cases NAME:BATCH:OPTION,OPTION=VALUE ...] [--json FILE]

Each case is one epoch of train_resnet.py in a process of its own, on random pictures: some steps and a validation. The
estimate is the line of its log, the peak is VmHWM of the process.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ibnnet_mx import _env  # noqa: E402
from ibnnet_mx.recordio.format import encode, write_index  # noqa: E402

CASES = (
    'resnet18_v2:32',
    'resnet50:16',
    'resnet50_v2:32',
    'resnet50_ibn_a:16',
    'resnet50_ibn_a:64',
    'resnet50_ibn_b:24',
    'resnet101_ibn_a:16',
    'resnext50_ibn_a:16',
    'se_resnet50_ibn_a:24',
    'densenet121_ibn_a:24',
    'cifar_resnet20_v2:128',
    'cifar_resnet20_ibn_a:512',
    'resnet50_v2:32:--norm=gn',
    'resnet50_v2:32:--norm=mabn',
    'resnet50_v2:64:--accumulate=4',
    'resnet50_v2:32:--memonger',
    'resnet50_v2:32:--memonger=1000',
    'resnet50_v2:32:--dtype=bfloat16',
)
LINE = re.compile(r'memory: about ([\d.]+) GB beside the ([\d.]+) GB in use')
STEPS = 3


def write_records(folder: Path, side: int, names: dict[str, int]) -> None:
    """Write {file: pictures} of random pictures of 10 classes."""
    random = np.random.RandomState(0)
    picture = cv2.GaussianBlur(random.randint(0, 256, (side, side, 3)).astype(np.uint8), (0, 0), 3)
    payload = cv2.imencode('.jpg' if side > 64 else '.png', picture)[1].tobytes()
    for name, count in names.items():
        frames = [encode(payload, number % 10, number) for number in range(count)]
        offsets = [0, *np.cumsum([len(frame) for frame in frames])[:-1]]
        (folder / f'{name}.rec').write_bytes(b''.join(frames))
        write_index(folder / f'{name}.idx', range(count), offsets)


def peak_of(process: subprocess.Popen[str]) -> float:
    """Return the largest VmHWM in GB until the process ends."""
    most = 0
    while process.poll() is None:
        try:
            text = Path(f'/proc/{process.pid}/status').read_text()
        except OSError:
            break
        known = re.search(r'VmHWM:\s+(\d+) kB', text)
        most = max(most, int(known.group(1)) if known else 0)
        time.sleep(0.05)
    return most * 1024 / 1e9


def measure(case: str) -> dict[str, float | str]:
    """Return the estimate and the peak of a case in GB."""
    name, batch, *options = case.split(':', 2)
    small = name.startswith('cifar_')
    with tempfile.TemporaryDirectory() as text:
        folder, kind = Path(text), 'cifar10' if small else 'imagenet'
        names = ('cifar10_train', 'cifar10_val') if small else ('train_480_q90', 'val_256_q90')
        write_records(folder, 32 if small else 256, {names[0]: STEPS * int(batch), names[1]: int(batch)})
        words = [sys.executable, str(ROOT / 'train_resnet.py'), '--data-type', kind, '--model', name]
        words += ['--batch-size', batch, '--epochs', '1', '--data-dir', text, '--model-prefix', f'{text}/m']
        words += ['--log-file', f'{text}/log', *(options[0].split(',') if options else [])]
        with open(f'{text}/stderr', 'w') as errors:
            process = subprocess.Popen(words, cwd=text, stdout=errors, stderr=errors, text=True)
            peak = peak_of(process)
        log = Path(f'{text}/stderr').read_text()
    line = LINE.search(log)
    if process.returncode or line is None:
        raise SystemExit(f'{case}: {log[-500:]}')
    estimate = float(line.group(1)) + float(line.group(2))
    return {'case': case, 'estimate': estimate, 'peak': round(peak, 2), 'ratio': round(estimate / peak, 2)}


def main() -> None:
    """Measure the cases and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--cases', nargs='+', default=CASES)
    parser.add_argument('--json', type=Path)
    args = parser.parse_args()
    rows = []
    print(f'{_env.processor()}\n\n| network, batch, options | estimate, GB | peak, GB | ratio |\n|---|---|---|---|')
    for case in args.cases:
        rows.append(measure(case))
        print('| {case} | {estimate:.1f} | {peak:.2f} | {ratio:.2f} |'.format(**rows[-1]), flush=True)
        if args.json:
            args.json.write_text(json.dumps(rows, indent=1))


if __name__ == '__main__':
    main()
