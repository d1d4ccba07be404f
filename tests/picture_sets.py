"""Small picture sets in every form that a SOURCE may have, and what came of them."""

from __future__ import annotations

import io
import os
import pickle
import tarfile

import cv2
import numpy as np

from ibnnet_mx.cli import im2rec
from ibnnet_mx.recordio.format import RecordFile

NAMES = ['airplane', 'bird', 'cat']


def encoded(seed, size=(24, 32), suffix='.jpg'):
    coarse = np.random.RandomState(seed).randint(0, 256, (3, 4, 3)).astype(np.uint8)
    return cv2.imencode(suffix, cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC))[1].tobytes()


def tree(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def class_folders(sides=('',), count=4, size=(24, 32)):
    """side/CLASS/i.jpg, classes out of their order."""
    names = [f'{side}{name}/{i}.jpg' for side in sides for name in NAMES[::-1] for i in range(count)]
    return {name: encoded(number, size) for number, name in enumerate(names)}


def tar_of(path, files, mode='w'):
    with tarfile.open(path, mode) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def run(*args, jobs=1):
    return im2rec.main([str(arg) for arg in args] + ['--jobs', str(jobs)])


def listed(folder, name):
    """Label and path of each line; they must be those of the records."""
    lines = [line.split('\t') for line in (folder / f'{name}.lst').read_text().splitlines()]
    with RecordFile(folder / f'{name}.rec') as records:
        assert [float(line[1]) for line in lines] == records.labels()[:, 0].tolist()
        assert [int(line[0]) for line in lines] == records.ids.tolist()
    return [(int(line[1]), line[2]) for line in lines]


def check_labels(pairs):
    for label, path in pairs:
        assert path.split('/')[-2] == NAMES[label]


def contents(folder):
    return {name: (folder / name).read_bytes() for name in os.listdir(folder) if name != 'packed.json'}


def cifar_rows(count=3):
    random = np.random.RandomState(3)
    batches = [f'data_batch_{i}' for i in range(1, 6)] + ['test_batch']
    return {name: (random.randint(0, 256, (count, 3072)).astype(np.uint8), [2, 0, 1][:count]) for name in batches}


def cifar_archive(kind, batches):
    """Files of the python version (pickles of Python 2 kind) or of the binary one."""
    folder = f'cifar-10-batches-{kind}'
    if kind == 'py':
        files = {n: pickle.dumps({b'data': d, b'labels': y}, protocol=2) for n, (d, y) in batches.items()}
        files['batches.meta'] = pickle.dumps({b'label_names': [name.encode() for name in NAMES]}, protocol=2)
    else:
        files = {f'{n}.bin': np.c_[np.uint8(y), d].tobytes() for n, (d, y) in batches.items()}
        files['batches.meta.txt'] = '\n'.join(NAMES).encode() + b'\n\n'
    return {f'{folder}/{name}': data for name, data in files.items()}
