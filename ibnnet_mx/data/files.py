"""The files of a data set, and the agreement of labels, lists and names. No mxnet."""

from __future__ import annotations

import math
import os
import re
import shlex
from contextlib import suppress
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from ibnnet_mx.errors import OptionError
from ibnnet_mx.recordio import lists
from ibnnet_mx.recordio.format import RecordFile
from ibnnet_mx.recordio.pixels.pictures import SUFFIXES
from ibnnet_mx.size import Pixels, Size

# The first that is there is read; the shorter names are those of the MXNet examples of 2016.
FILES = {
    ('cifar10', 'train'): ('cifar10_train.rec', 'train.rec'),
    ('cifar10', 'val'): ('cifar10_val.rec', 'val.rec', 'test.rec'),
    ('imagenet', 'train'): ('train_480_q90.rec', 'train_*_q*.rec', 'train.rec'),
    ('imagenet', 'crop'): ('train_256_q90.rec',),
    ('imagenet', 'val'): ('val_256_q90.rec', 'val_*_q*.rec', 'val.rec'),
}

SIZED = re.compile(r'([0-9]{1,5}(?:x[0-9]{1,5})?)\.rec')  # behind 'train_' or 'val_': packed for this size
CROP = 256  # short side of the records for crops without scaling
LOOKED_AT = 4096  # entries of a folder that may hold pictures in place of records
NAMED = 5  # a line names at most so many classes
MANY = 1 << 17  # classes that are not taken for granted: a network for them alone may fill the memory


def find_records(data_dir: Any, data_type: str, side: str, pixels: Pixels | None = None) -> Path | None:
    """Return the path of the .rec of a side ('train', 'crop' or 'val'); None if there is none.

    pixels: the size of the network's pictures. Records that were packed for it (train_96.rec) come first, then those of
    FILES, then those that were packed for another size: the smallest that are large enough, else the largest.
    """
    size = None if pixels is None else Size.of(pixels)
    sized = _sized(data_dir, 'train' if side == 'crop' else side)
    if size in sized:
        return sized[size] if side != 'crop' else None
    if side == 'crop' and size is not None and max(size) > CROP:
        return None
    for pattern in FILES.get((data_type, side), ()):
        paths = sorted(Path(data_dir).glob(pattern))
        if paths:
            return paths[-1]
    if side == 'crop' or not sized:
        return None
    fitting = [other for other in sized if size and other.height >= size.height and other.width >= size.width]
    return sized[min(fitting, key=math.prod) if fitting else max(sized, key=math.prod)]


def _sized(data_dir: Any, side: str) -> dict[Size, Path]:
    """Return {size: path} of the records of a side that were packed for a size."""
    names = {path: SIZED.fullmatch(path.name[len(side) + 1 :]) for path in sorted(Path(data_dir).glob(f'{side}_*.rec'))}
    sized = {}
    for path, name in names.items():
        with suppress(OptionError):  # a number that is no size
            if name is not None:
                sized[Size.of(name[1])] = path
    return sized


def require_records(data_dir: Any, data_type: str, side: str, pixels: Pixels | None = None) -> Path:
    """Return the path of the .rec of a side, as find_records() does. Raises OptionError for data_dir if there is
    none.
    """
    path = find_records(data_dir, data_type, side, pixels)
    if path is None:
        others = _other_names(data_dir, side)
        if others:
            raise OptionError(
                'data_dir',
                str(data_dir),
                f'holds no {FILES[data_type, side][0]}, but {", ".join(others[:NAMED])}: if these are its pictures, '
                f'name them {FILES[data_type, side][0]}, or link to them by that name, with the .idx',
            )
        raise OptionError('data_dir', str(data_dir), _way_to_records(data_dir, data_type, side, pixels))
    return path


def _way_to_records(data_dir: Any, data_type: str, side: str, pixels: Pixels | None) -> str:
    """Return what is missing in a folder, and the way out. Records do not go into a folder of pictures."""
    missing = f'holds no {FILES[data_type, side][0]}'
    other = find_records(data_dir, 'cifar10', side, pixels) if data_type == 'imagenet' else None
    if other is not None:
        return f'{missing}, but {other.name}: `data_type` cifar10 reads it'
    size = f' --image-size {Size.of(pixels)}' if pixels is not None and Size.of(pixels).small else ''
    if _holds_pictures(data_dir):
        packed = f'ibnnet pack {shlex.quote(str(data_dir))} DATA{size}'
        return f'{missing}, but pictures: pack them into another folder first, with {packed}, and name that folder'
    way_out = f'pack your pictures first with ibnnet pack PICTURES {data_dir}{size}'
    cifar = f', or CIFAR-10 with ibnnet pack cifar-10-python.tar.gz {data_dir}' if data_type == 'cifar10' else ''
    return f'{missing}: {way_out}{cifar}'


def _holds_pictures(folder: Any) -> bool:
    """Return True if there is a picture among the first LOOKED_AT entries of a folder and of the folders in it."""
    waiting, count = [os.fspath(folder)], 0
    for path in waiting:
        with suppress(OSError), os.scandir(path) as entries:
            for entry in entries:
                count += 1
                if count > LOOKED_AT:
                    return False
                if entry.is_dir():
                    waiting.append(entry.path)
                elif entry.name.lower().endswith(SUFFIXES):
                    return True
    return False


def _other_names(data_dir: Any, side: str) -> list[str]:
    """Return the .rec files that a side seems to have under a name of the user's own, such as mine_val.rec."""
    usual = [pattern for patterns in FILES.values() for pattern in patterns]
    names = sorted(path.name for path in Path(data_dir).glob('*.rec'))
    names = [name for name in names if not any(fnmatchcase(name, pattern) for pattern in usual)]
    return [name for name in names if side in re.split(r'[^a-z]', name.lower())]


def count_classes(train: Any, val: Any, names: Sequence[str], given: int | None = None) -> int:
    """Return the number of classes of a data set: the given number, else the names' count, else the largest label + 1.

    Raises ValueError for a label that is no class number or lies outside of the classes, with its record's number.
    """
    labels = {**train.class_labels(), **val.class_labels()}
    for path, (numbers, values) in labels.items():
        for row in np.flatnonzero(lists.no_class(values))[:1]:
            raise ValueError(f'{path}: record {numbers[row]} has label {values[row]:g}, no class number (0, 1, 2, ...)')
        if not len(values):
            raise ValueError(f'{path}: no record holds a picture')
    top = int(max(values.max() for _, values in labels.values()))
    if given is None and top >= max(len(names), MANY):
        raise OptionError(
            None, None, f'the records hold label {top}, which damage may have made: else say `num_classes` {top + 1}'
        )
    classes = given if given is not None else max(len(names), top + 1)
    if top >= classes:
        raise OptionError('num_classes', classes, f': the records hold label {top}, use at least {top + 1}')
    return classes


def describe_gaps(train: Any, classes: int, names: Sequence[str]) -> list[str]:
    """Return a line if classes have no picture on the training side, or only one has any; [] if all have."""
    present = np.unique(np.concatenate([labels for _, labels in train.class_labels().values()]).astype(np.int64))
    if len(present) == 1:
        return [f'all training pictures have label {present[0]}: there is nothing to learn from a single class']
    count = classes - len(present)
    if not count:
        return []
    taken = set(present.tolist())
    first = list(islice((label for label in range(classes) if label not in taken), NAMED))  # of any number of classes
    named = [f'{label} {names[label]}' if label < len(names) else str(label) for label in first]
    more = ', ...' if count > NAMED else ''
    hint = '; do the labels count from 1? Pack them with labels from 0' if count == 1 and first == [0] else ''
    return [f'{count} of {classes} classes have no training picture: {", ".join(named)}{more}{hint}']


def _numbers(labels: Sequence[float]) -> str:
    return ' '.join(f'{label:g}' for label in labels)


def check_lists(list_dir: Any, data_dir: Any, data_type: str, pixels: Pixels | None = None) -> list[Path]:
    """Compare the .lst files of list_dir with the records: ids, count, labels. Return the files that were compared.

    pixels: as in find_records(). Raises OptionError, which names the file and the first difference.
    """
    compared = []
    for side in ('train', 'crop', 'val'):
        rec = find_records(data_dir, data_type, side, pixels)
        names = [rec.with_suffix('.lst').name, f'{"val" if side == "val" else "train"}.lst'] if rec else []
        path = next((Path(list_dir) / name for name in names if (Path(list_dir) / name).is_file()), None)
        if path is None:
            continue
        samples = lists.read_list(str(path))
        with RecordFile(rec) as records:
            labels, count = dict(zip(records.ids.tolist(), records.labels().tolist())), len(records)
        if len(samples) != count:
            raise OptionError('list_dir', str(list_dir), f': {path} lists {len(samples)} pictures, {rec} holds {count}')
        for sample in samples:
            stored = labels.get(sample.id)
            same = stored is not None and len(stored) == len(sample.labels)
            if stored is None or not same or not np.allclose(stored, sample.labels, rtol=1e-6, atol=0):
                shown = 'no such id' if stored is None else _numbers(stored)
                raise OptionError(
                    'list_dir',
                    str(list_dir),
                    f': {path} gives id {sample.id} label {_numbers(sample.labels)}, {rec} holds {shown}',
                )
        compared.append(path)
    if not compared:
        raise OptionError('list_dir', str(list_dir), f'holds no .lst file of the records in {data_dir}')
    return compared
