"""Records to measure with: made, packed or given; each training set with and without restart markers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from benchmarks.reader.peer_scripts import payloads
from ibnnet_mx.recordio.format import RecordFile, encode, write_index
from ibnnet_mx.recordio.packing import restart
from ibnnet_mx.recordio.pixels import pictures

ROOT = Path(__file__).resolve().parents[2]
SHAPES = (4 / 3, 3 / 4, 3 / 2, 2 / 3, 1.0, 16 / 9)  # width to height, as photographs have them
GRAIN = 5.0  # of 255; enlarged pictures are smooth, with it they have the bytes of photographs
QUALITY = 90


class Forms(NamedTuple):
    """The same pictures twice, and a folder for what is made of them; `count` records."""

    plain: str
    restart: str
    folder: str
    count: int


def write(path, rows):
    """A .rec and its .idx of (label, payload)."""
    offsets = []
    with open(path, 'wb') as file:
        for number, (label, payload) in enumerate(rows):
            offsets.append(file.tell())
            file.write(encode(payload, label, number))
    write_index(os.path.splitext(path)[0] + '.idx', range(len(offsets)), offsets)


def some(path, most):
    """(label, payload) of at most that many records, from all over the file."""
    with RecordFile(path) as records:
        for number in np.unique(np.linspace(0, len(records) - 1, min(most, len(records))).astype(int)).tolist():
            item = records.read(number)
            yield item.label, item.payload


def enough(rows, least):
    """The rows over and over, all of them equally often, until there are `least`: an epoch needs some batches."""
    return rows * max(-(-least // len(rows)), 1)


def marked(payload, wanted):
    """The JPEG with or without restart markers; as it is where it has that form already or has no other."""
    try:
        if bool(restart.interval_of(payload)) != wanted:
            return restart.rewrite_jpeg(payload, pictures.RESTART_INTERVAL if wanted else 0)
    except pictures.PictureError:  # no JPEG, or none that can be read: the readers will tell
        pass
    return payload


def forms(path, folder, most, least):
    """Both forms of a .rec, in `folder`, and the plain JPEGs for the peers."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = enough([(label, marked(payload, False)) for label, payload in some(path, most)], least)
    plain, with_markers = str(folder / 'plain.rec'), str(folder / 'restart.rec')
    write(plain, rows)
    write(with_markers, [(label, marked(payload, True)) for label, payload in rows])
    payloads.write(folder, [payload for _, payload in rows])
    return Forms(plain, with_markers, str(folder), len(rows))


def copied(path, folder, most, least):
    """One form, for records that have no other."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = enough(list(some(path, most)), least)
    write(str(folder / 'records.rec'), rows)
    return Forms(str(folder / 'records.rec'), str(folder / 'records.rec'), str(folder), len(rows))


def repeated(path, folder, least):
    """The path of the same records, over and over until there are `least`."""
    write(str(folder / 'repeated.rec'), enough(list(some(path, least)), least)[:least])
    return str(folder / 'repeated.rec')


def _scenes(count, short, seed):
    """BGR pictures cut from scikit-learn's two photographs, each brought to a short side of `short`."""
    try:
        from sklearn.datasets import load_sample_images
    except ImportError:
        raise ValueError(
            'name records by --rec or --photos, or install scikit-learn: pip install scikit-learn'
        ) from None
    photographs = [image[..., ::-1] for image in load_sample_images().images]
    random = np.random.RandomState(seed)
    for number in range(count):
        source, shape = photographs[number % len(photographs)], SHAPES[number % len(SHAPES)]
        height = random.randint(200, int(min(source.shape[0], source.shape[1] / shape)) + 1)
        width = int(height * shape)
        y, x = random.randint(source.shape[0] - height + 1), random.randint(source.shape[1] - width + 1)
        wide, high = (round(short * shape), short) if shape > 1 else (short, round(short / shape))
        part = cv2.resize(np.ascontiguousarray(source[y : y + height, x : x + width]), (wide, high))
        grain = random.normal(0, GRAIN, part.shape)
        yield np.clip(part + grain, 0, 255).astype(np.uint8)


def made(folder, count):
    """480- and 256-pixel JPEGs and 32x32 PNGs: train_480_q90, val_256_q90, cifar10_train."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, short, seed in (('train_480_q90', 480, 0), ('val_256_q90', 256, 1)):
        jpegs = [pictures.encode_jpeg(scene, QUALITY) for scene in _scenes(count, short, seed)]
        write(str(folder / f'{name}.rec'), [(number % 10, jpeg) for number, jpeg in enumerate(jpegs)])
    tiles = np.concatenate([_tiles(scene) for scene in _scenes(max(count // 2, 1), 256, 2)])
    write(str(folder / 'cifar10_train.rec'), [(n % 10, pictures.encode_cifar(tile)) for n, tile in enumerate(tiles)])
    return folder


def _tiles(scene):
    side = pictures.CIFAR_SIDE
    rows, columns = scene.shape[0] // side, scene.shape[1] // side
    cut = scene[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
    return cut.swapaxes(1, 2).reshape(-1, side, side, 3)


def packed(source, folder):
    """The project's own packer, with its usual settings."""
    command = [sys.executable, str(ROOT / 'tools' / 'im2rec_wrapper.py'), str(source), str(folder)]
    if subprocess.run(command, stdout=sys.stderr).returncode:
        raise ValueError(f'--photos {source} could not be packed')
    return folder
