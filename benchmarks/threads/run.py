"""Compare how long threads that wait should spin: seconds of a run's first epochs, on an idle and on a busy machine.

    python benchmarks/threads/run.py [--rounds N] [--pictures N] [--json FILE]

Each measurement is a short run of train_resnet.py (ResNet-20, pictures of 32 pixels) in a process of its own. The
settings take turns. On the busy machine one other process computes without end.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import options  # noqa: E402
from benchmarks.need.run import write_records  # noqa: E402
from ibnnet_mx import _env  # noqa: E402

WAYS = {  # environment variables of libgomp
    'spins 3 ms (its default)': {'GOMP_SPINCOUNT': '300000'},
    'spins 10 us (ours)': {'GOMP_SPINCOUNT': '1000'},
    'passive': {'OMP_WAIT_POLICY': 'PASSIVE'},
}
EPOCHS, BATCH = 3, 128
TIME = re.compile(r'Epoch\[(\d+)\] Time cost=([\d.]+)')


def seconds_of(folder: Path, variables: dict[str, str]) -> list[float]:
    """Return the seconds of each epoch of a run."""
    words = [sys.executable, str(ROOT / 'train_resnet.py'), '--recipe', 'cifar10_fast', '--model', 'resnet_ibn_a']
    words += ['--epochs', str(EPOCHS), '--batch-size', str(BATCH), '--data-dir', str(folder), '--log-style', 'lines']
    words += ['--model-prefix', str(folder / 'net'), '--log-file', str(folder / 'log')]
    (folder / 'log').unlink(missing_ok=True)
    done = subprocess.run(words, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f'{variables}: {done.stderr[-500:]}')
    return [float(seconds) for _, seconds in TIME.findall((folder / 'log').read_text())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=options.positive, default=3)
    parser.add_argument('--pictures', type=options.positive, default=4000)
    parser.add_argument('--json', type=Path)
    args = parser.parse_args()
    options.warn_if_busy()
    print(f'{_env.processor()}, {os.cpu_count()} cores')
    results: dict[str, dict[str, list[list[float]]]] = {}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        write_records(folder, 32, {'cifar10_train': args.pictures, 'cifar10_val': args.pictures // 8})
        for state in ('idle', 'busy'):
            other = subprocess.Popen([sys.executable, '-c', 'while True: pass']) if state == 'busy' else None
            try:
                rows = results.setdefault(state, {way: [] for way in WAYS})
                for _ in range(args.rounds):
                    for way, variables in WAYS.items():
                        rows[way].append(seconds_of(folder, variables))
                        if args.json:
                            args.json.write_text(json.dumps(results, indent=1))
            finally:
                if other:
                    other.kill()
            for way, runs in rows.items():
                medians = [statistics.median(epoch) for epoch in zip(*runs)]
                print(f'{state}, {way}: ' + ', '.join(f'{seconds:.2f}' for seconds in medians) + ' s', flush=True)


if __name__ == '__main__':
    main()
