"""The sources of pictures to be packed: SOURCE -> samples of both sides, class names."""

from __future__ import annotations

import os
import zlib
from typing import Any, NamedTuple, Union

import numpy as np

from ibnnet_mx.size import Size

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
    official: bool = False  # CIFAR-10 as its authors give it
    by_folders: bool = False  # the names of folders are the classes
    one_sided: bool = False  # the names say that this is a training side, and there is no other
    usual: Size | None = None  # the median height and width of the pictures that were looked at


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
