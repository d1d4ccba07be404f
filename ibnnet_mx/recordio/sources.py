"""The sources of pictures to be packed: SOURCE -> samples of both sides, class names."""

from __future__ import annotations

import os
import zlib
from fractions import Fraction
from typing import Any, NamedTuple, Union

import numpy as np

from ibnnet_mx.recordio.pixels.pictures import SUFFIXES

DIGITS = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')
TRAIN, VAL = 'train', ('val', 'test', 'validation', 'valid')
Picture = Union[str, bytes, np.ndarray]  # a path, an encoded picture, or BGR pixels


class SourceError(ValueError):
    """The error for a SOURCE that cannot be packed. The text says why, and the way out."""


class Sample(NamedTuple):
    """A picture to be packed: its labels, its name in lists, and the key by which a Store finds it."""

    labels: tuple[float, ...]
    name: str  # as in the .lst, with '/' between folders
    key: Any  # for Store.fetch


class Store:
    """A store hands out the pictures of samples: here the files below `root`, in archives.py those of an archive."""

    def __init__(self, root: str) -> None:
        self.root = root

    def fetch(self, sample: Sample) -> Picture:
        """Return the picture of a sample."""
        return os.path.join(self.root, sample.key)

    def stamp(self, sample: Sample) -> tuple[int, ...]:
        """Return numbers that change when the picture is written anew. They help to decide if finished records still
        stand.
        """
        try:
            status = os.stat(os.path.join(self.root, sample.key))
        except OSError:
            return ()
        return status.st_size, status.st_mtime_ns


class ArrayStore(Store):
    """Pictures in memory: uint8 BGR (n, 32, 32, 3), by position."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def fetch(self, sample: Sample) -> Picture:
        """Return the pixels of a sample."""
        return self.pixels[sample.key]

    def stamp(self, sample: Sample) -> tuple[int, ...]:
        """Return a checksum of the pixels."""
        return (zlib.crc32(self.pixels[sample.key].tobytes()),)


class Source(NamedTuple):
    """Pictures to be packed: the samples of both sides, the class names, and the store of the pictures."""

    train: list[Sample]
    val: list[Sample]  # empty: to be split off the training side
    classes: list[str]  # empty if the labels are no classes
    store: Store
    notes: list[str]  # files that were left out, for the user
    cifar: bool = False  # 32x32 pictures


def split(samples: list[Sample], ratio: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Split a shuffle of all: floor(N x ratio) for training, the others for validation in the order of the source."""
    if len(samples) < 2:
        raise SourceError(
            f'{len(samples)} picture cannot be split into a training and a validation side: two are needed'
        )
    order = shuffled(len(samples), seed)
    count = min(max(int(len(samples) * Fraction(repr(ratio))), 1), len(samples) - 1)
    return [samples[i] for i in order[:count]], [samples[i] for i in np.sort(order[count:])]


def shuffled(count: int, seed: int) -> np.ndarray:
    """Return the numbers 0..count-1, int64 (count,), in random order."""
    return np.random.RandomState(seed).permutation(count)


def shuffle(samples: list[Sample], seed: int) -> list[Sample]:
    """Return the samples in random order."""
    return [samples[i] for i in shuffled(len(samples), seed)]


def from_names(names: list[str], where: str, store: Store, keys: list[Any] | None = None) -> Source:
    """Return the Source of pictures by their names: CLASS/..., or train/CLASS/... and val/CLASS/... (test/).

    A common folder may come before both. Labels follow the sorted names of the classes of both sides. Other files are
    counted in a note.
    """
    pictures, others = [], 0
    for number, name in enumerate(names):
        parts = tuple(part for part in name.split('/') if part not in ('', '.'))
        plain = not parts[-1].startswith('.') and not set('\t\r\n') & set(name)
        if plain and parts[-1].lower().endswith(SUFFIXES):
            pictures.append((parts, keys[number] if keys is not None else name))
        else:
            others += 1
    notes = [f'{others} files that are no pictures by their names are left out'] if others else []
    sides = _sides(sorted(pictures, key=lambda picture: picture[0]), where, notes)
    classes = sorted({parts[0] for side in sides for parts, _, _ in side})
    label = {name: float(number) for number, name in enumerate(classes)}
    unseen = {parts[0] for parts, _, _ in sides[1]} - {parts[0] for parts, _, _ in sides[0]}
    if sides[1] and unseen:
        raise SourceError(f'{where}: the class {sorted(unseen)[0]!r} is in the validation side only')
    train, val = ([Sample((label[parts[0]],), name, key) for parts, key, name in side] for side in sides)
    return Source(train, val, classes, store, notes)


def _sides(pictures: list[tuple[tuple[str, ...], Any]], where: str, notes: list[str]) -> list[list[Any]]:
    """Return training and validation side as lists of (parts from the class on, key, name)."""
    deep = [parts for parts, _ in pictures if len(parts) > 1]
    depth = 0
    heads = {parts[0] for parts in deep}
    while len(heads) == 1 and TRAIN not in heads and all(len(parts) > depth + 2 for parts in deep):
        depth += 1
        heads = {parts[depth] for parts in deep}
    val = next((name for name in VAL if name in heads), None)
    two_sided = TRAIN in heads and (val is not None or len(heads) == 1)
    sides: list[list[Any]] = [[], []]
    loose = 0
    for parts, key in pictures:
        side = 0
        if two_sided:
            side = {TRAIN: 0, val: 1}.get(parts[depth], 2) if len(parts) > depth else 2
        rest = parts[depth + two_sided :]
        if side < 2 and len(rest) > 1:
            sides[side].append((rest, key, '/'.join(parts)))
        else:
            loose += 1
    if not sides[0] or (two_sided and val is not None and not sides[1]):
        raise SourceError(f'{where}: no pictures in class folders (CLASS/x.jpg, or train/CLASS/x.jpg, val/CLASS/y.jpg)')
    if loose:
        notes.append(f'{loose} pictures outside the class folders are left out')
    return sides


def from_folder(folder: str) -> Source:
    """Return the Source of a folder of class folders."""
    names, empty, hidden = [], [], []
    for path, folders, files in os.walk(folder, followlinks=True):
        below = os.path.relpath(path, folder).replace(os.sep, '/')
        hidden += [os.path.normpath(f'{below}/{name}') for name in sorted(folders) if name.startswith('.')]
        folders[:] = sorted(name for name in folders if not name.startswith('.'))  # such as .ipynb_checkpoints
        names += [file if below == '.' else f'{below}/{file}' for file in files]
        if not files and not folders and below != '.':
            empty.append(below)
    source = from_names(names, folder, Store(folder))
    notes = [f'the folder {name} is empty: it is no class' for name in empty]
    notes += [f'the folder {name} is hidden: it is no class' for name in hidden]
    return source._replace(notes=source.notes + notes)


def from_digits() -> Source:
    """Return the Source of scikit-learn's 1,797 handwritten digits, grey 8x8 of 0..16, as 32x32 pictures; label =
    digit.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise SourceError('SOURCE digits needs scikit-learn, which holds them: pip install scikit-learn') from None
    import cv2

    digits = load_digits()
    grey = [cv2.resize(image * (255 / 16), (32, 32), interpolation=cv2.INTER_CUBIC) for image in digits.images]
    pixels = np.clip(np.rint(grey), 0, 255).astype(np.uint8)[..., None].repeat(3, axis=3)
    samples = [Sample((float(label),), f'digits/{i:04d}', i) for i, label in enumerate(digits.target)]
    return Source(samples, [], list(DIGITS), ArrayStore(pixels), [], cifar=True)
