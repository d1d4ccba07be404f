"""make demo: pack, train, interrupt, retrain, classify and draw, on 1,797 real handwritten digits.

Every step is a command that a user would type; each is printed before it runs. Fails where the retrained network
misses the accuracy below.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
OUT = Path('demo')  # beside the Makefile
WANTED = 0.96  # validation accuracy
INTERRUPT = 'Epoch[2] Batch'  # the log line at which the first run is killed, after two saved epochs
PREFIX = OUT / 'model' / 'digits'
LOG = OUT / 'log' / 'digits.log'
TRAIN = ['train_resnet.py', '--recipe', 'digits', '--data-dir', OUT / 'data', '--model-prefix', PREFIX]
TRAIN += ['--log-file', LOG, '--frequent', '10']


def show(step, words):
    print(f'\n== {step}\n$ python {shlex.join(str(w) for w in words)}', flush=True)
    return [sys.executable, *map(str, words)]


def run(step, *words):
    """A command of the project; the demo ends with its exit code where it fails."""
    code = subprocess.call(show(step, words), cwd=HERE)
    if code:
        sys.exit(f'demo: {words[0]} failed with exit code {code}')


def run_and_kill():
    """Trains until a batch of the third epoch is done, then kill -9."""
    process = subprocess.Popen(show('train, and be killed in the third epoch', TRAIN), cwd=HERE)
    while process.poll() is None:
        if (HERE / LOG).is_file() and INTERRUPT in (HERE / LOG).read_text():
            process.send_signal(signal.SIGKILL)
        time.sleep(0.05)
    if process.returncode != -signal.SIGKILL:
        sys.exit(f'demo: the training ended by itself with exit code {process.returncode}')
    print('\nkilled.', flush=True)


def unseen_picture():
    """A validation picture as a PNG, cut out of its record."""
    from ibnnet_mx.recordio.format import RecordFile

    with RecordFile(HERE / OUT / 'data' / 'val_32.rec') as records:
        item = records.read(7)
    path = OUT / f'unseen_{int(item.label[0])}.png'
    (HERE / path).write_bytes(item.payload)
    return path


def last_checkpoint():
    """(epoch, validation accuracy) of the newest checkpoint."""
    path = sorted((HERE / PREFIX).parent.glob('digits-0*.json'))[-1]
    facts = json.loads(path.read_text())
    return facts['epoch'], facts['metrics']['validation']['accuracy']


def main():
    begin = time.monotonic()
    os.chdir(HERE)
    sys.path.insert(0, str(HERE))
    shutil.rmtree(OUT, ignore_errors=True)
    run('pack the digits into records', 'tools/im2rec_wrapper.py', 'digits', OUT / 'data')
    run_and_kill()
    run('go on from the last saved epoch', *TRAIN, '--retrain')
    epoch, accuracy = last_checkpoint()
    verdict = 'reached' if accuracy >= WANTED else 'MISSED'
    print(f'\nvalidation accuracy {accuracy:.4f} after epoch {epoch}; {WANTED} wanted: {verdict}', flush=True)
    if accuracy < WANTED:
        sys.exit(1)
    where = ['--prefix', PREFIX, '--epoch', epoch]
    picture = unseen_picture()
    run('classify a picture it never saw', 'predict/predict.py', '--img', picture, *where, '--plot', OUT / 'bars.png')
    run('draw the curve', 'log/plot_curve.py', '--logs', LOG, '--out', OUT / 'curve.png')
    print(f'\ndone in {time.monotonic() - begin:.0f} s. In {OUT}/:')
    for path in sorted(p for p in OUT.rglob('*') if p.is_file()):
        print(f'  {path}  {path.stat().st_size / 1024:.0f} KB')
    print(
        '\nTry next, with the programs of .venv/bin:\n'
        '  ibnnet quickstart PICTURES  your own pictures, a folder for each class\n'
        '  ibnnet train --help         networks, recipes and options\n'
        '  ibnnet                      everything else'
    )


if __name__ == '__main__':
    main()
