"""How long does it take to open, shuffle and verify 14 million records, and how much memory is needed?

    python benchmarks/opening/run.py FOLDER [--records 14200000] [--others CHECKOUT,...] [--json FILE]

Writes FOLDER/a.rec and a.idx (1.5 GB for 14.2 million records) unless they are there. Each number is of a process of
its own. CHECKOUT: another version of ibnnet_mx to measure, too.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PIECE = 200_000  # records that are written at once
CLASSES = 21841
WAYS = ('first', 'again', 'mxnet index', 'mxnet reader', 'headers')
START = """
import json, os, resource, sys, time
def state():
    return time.perf_counter(), time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
def told(name, before):
    now = state()
    print(json.dumps([name, *[b - a for a, b in zip(before, now)]]), flush=True)
"""
OURS = """
import numpy as np
from ibnnet_mx.recordio import Augment, Loader
from ibnnet_mx.recordio.format import RecordFile
if os.path.exists(sys.argv[1] + '.heads') and sys.argv[2] == 'first':
    os.unlink(sys.argv[1] + '.heads')
before = state(); records = RecordFile(sys.argv[1]); labels = records.labels(); told('open', before); records.close()
del records, labels
if sys.argv[2] == 'again':
    from ibnnet_mx.recordio.reading.sampler import EachOnce
    before = state(); steps = EachOnce(0, True).batches(np.zeros((int(sys.argv[3]), 1), np.float32), 0, 32, (0, 1))
    told('shuffle, batch 32', before)
    del steps
    if hasattr(RecordFile, 'header_ids'):
        before = state(); loader = Loader(sys.argv[1], 32, 32, augment=Augment()); told('Loader()', before)
        before = state(); len(loader); told('len(Loader)', before)
        before = state(); next(iter(loader)); told('first batch, shuffled', before)
"""
MXNET_INDEX = """
import numpy as np; np.bool = bool
import mxnet as mx
before = state(); reader = mx.recordio.MXIndexedRecordIO(sys.argv[1][:-3] + 'idx', sys.argv[1], 'r')
told('MXIndexedRecordIO()', before)
"""
MXNET_READER = """
import numpy as np; np.bool = bool
import mxnet as mx
before = state()
reader = mx.io.ImageRecordIter(path_imgrec=sys.argv[1], path_imgidx=sys.argv[1][:-3] + 'idx', data_shape=(3, 32, 32),
                               batch_size=32, shuffle=True, preprocess_threads=1, verbose=False)
told('ImageRecordIter()', before)
before = state(); reader.next().data[0].asnumpy(); told('first batch, shuffled', before)
"""
HEADERS = """
from ibnnet_mx.cli import records
before = state(); records.main([sys.argv[1], '--headers-only']); told('records --headers-only', before)
"""
CODES = dict(zip(WAYS, (OURS, OURS, MXNET_INDEX, MXNET_READER, HEADERS)))


def write_records(path, count):
    """Write `count` records of a picture of one pixel, with labels of CLASSES, and their index."""
    picture = cv2.imencode('.png', np.full((1, 1, 3), 7, np.uint8))[1].tobytes()
    length = 24 + len(picture)
    size = 8 + (length + 3 & ~3)
    one = struct.pack('<II', 0xCED7230A, length) + bytes(24) + picture + bytes(size - 8 - length)
    random = np.random.RandomState(0)
    with open(path, 'wb') as records, open(path.with_suffix('.idx'), 'w') as index:
        for first in range(0, count, PIECE):
            ids = np.arange(first, min(first + PIECE, count))
            words = np.tile(np.frombuffer(one, '<u4'), (len(ids), 1))
            words[:, 3] = random.randint(0, CLASSES, len(ids)).astype('<f4').view('<u4')
            words[:, 4] = ids
            words.tofile(records)
            index.write(''.join(f'{i}\t{i * size}\n' for i in ids.tolist()))


def measure(way, path, count, checkout):
    """Return [(name, wall seconds, CPU seconds, MB)] of a process, or exit with its error."""
    words = [sys.executable, '-c', START + CODES[way], str(path), way, str(count)]
    environment = {**os.environ, 'PYTHONPATH': str(checkout), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, cwd=path.parent)
    if done.returncode:
        sys.exit(f'{way}: {done.stderr}')
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('[')]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--records', type=int, default=14_200_000)
    parser.add_argument('--others', default='', help='other checkouts, separated by commas')
    parser.add_argument('--json', type=Path)
    args = parser.parse_args()
    if args.records < 1:
        parser.error(f'--records {args.records} must be at least 1')
    args.folder.mkdir(parents=True, exist_ok=True)
    path = args.folder.resolve() / 'a.rec'
    if not path.exists():
        write_records(path, args.records)
        time.sleep(3)  # younger files are not noted
    rows = []
    for checkout in [ROOT, *filter(None, args.others.split(','))]:
        ways = WAYS if checkout is ROOT else WAYS[:2]
        for way in ways:
            for name, wall, cpu, memory in measure(way, path, args.records, checkout):
                rows.append(dict(checkout=str(checkout), way=way, name=name, wall=wall, cpu=cpu, memory=memory))
                numbers = f'{wall:8.3f} s {cpu:8.3f} CPU s {memory:7.0f} MB more'
                print(f'{Path(checkout).name:12} {way:14} {name:24} {numbers}', flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == '__main__':
    main()
