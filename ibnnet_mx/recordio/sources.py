"""The sources of pictures to be packed: SOURCE -> samples of both sides, class names."""

from __future__ import annotations

import os
import zlib
from fractions import Fraction
from typing import Any, NamedTuple, Union

import numpy as np

from ibnnet_mx.size import Size

NAMED = 5  # a line names at most so many classes
DIGITS = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')
Picture = Union[str, bytes, np.ndarray]  # a path, an encoded picture, or BGR pixels


class SourceError(ValueError):
    """The error for a SOURCE that cannot be packed. The text says why, and the way out."""


class Sample(NamedTuple):
    """A picture to be packed: its labels, its name in lists, and the key by which a Store finds it."""

    labels: tuple[float, ...]
    name: str  # as in the .lst, with '/' between folders
    key: Any  # for Store.fetch
    id: int | None = None  # of its record, as a list gives it; None: its number in the packed order


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
    is_archive: bool = False  # CIFAR-10's own archive
    by_folders: bool = False  # the names of folders are the classes
    one_sided: bool = False  # the names say that this is a training side, and there is no other
    usual: Size | None = None  # the median height and width of the pictures that were looked at


def split_by_class(samples: list[Sample], ratio: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Split a shuffle of each class: N x ratio of its N pictures for training, the others for validation.

    A class of two or more has a picture on both sides, a class of one is trained on; but for these, the training side
    has floor(N x ratio) pictures of all. Both sides are ordered as by split(), which is used if no class has two
    pictures, and for labels that are no single class numbers.
    """
    if any(len(sample.labels) != 1 for sample in samples):
        return split(samples, ratio, seed)
    _, classes, counts = np.unique([sample.labels[0] for sample in samples], return_inverse=True, return_counts=True)
    if len(samples) < 2 or counts.max() < 2:
        return split(samples, ratio, seed)
    wanted = np.clip(_parts(counts, Fraction(repr(ratio))), 1, np.maximum(counts - 1, 1))
    order = shuffled(len(samples), seed)
    by_class = np.argsort(classes[order], kind='stable')
    rank = np.empty(len(samples), np.int64)  # of each picture of the shuffle among those of its class
    rank[by_class] = np.arange(len(samples)) - np.repeat(np.cumsum(counts) - counts, counts)
    train = rank < wanted[classes[order]]
    return [samples[i] for i in order[train]], [samples[i] for i in np.sort(order[~train])]


def _parts(counts: np.ndarray, ratio: Fraction) -> list[int]:
    """Return about count x ratio of each class, whole numbers, so rounded that their sum is floor(N x ratio)."""
    exact = [int(count) * ratio for count in counts]
    parts = [int(part) for part in exact]
    missing = int(int(counts.sum()) * ratio) - sum(parts)
    for number in sorted(range(len(parts)), key=lambda number: parts[number] - exact[number])[:missing]:
        parts[number] += 1
    return parts


def describe_gaps(train: list[Sample], val: list[Sample], classes: list[str]) -> list[str]:
    """Return a line for each side on which classes that have pictures have none."""
    lines = []
    sides = {side: {s.labels[0] for s in part} for side, part in (('training', train), ('validation', val))}
    for side, numbers in sides.items():
        missing = set.union(*sides.values()) - numbers
        names = [name for number, name in enumerate(classes) if number in missing]
        if names:
            more = f' and {len(names) - NAMED} more' if len(names) > NAMED else ''
            listed = ', '.join(names[:NAMED])
            lines.append(f'{len(names)} of {len(classes)} classes have no {side} picture: {listed}{more}')
    return lines


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
