"""The split of pictures into a training and a validation side, at random or by class."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Sequence

import numpy as np

from ibnnet_mx.errors import OptionError
from ibnnet_mx.recordio.sources import Sample, SourceError

CLASS, RANDOM = 'class', 'random'
NAMED = 5  # a line names at most so many classes


def shuffled(count: int, seed: int) -> np.ndarray:
    """Return the numbers 0..count-1, int64 (count,), in random order."""
    return np.random.RandomState(seed).permutation(count)


def shuffle(samples: list[Sample], seed: int) -> list[Sample]:
    """Return the samples in random order."""
    return [samples[i] for i in shuffled(len(samples), seed)]


def split(samples: list[Sample], ratio: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Split a shuffle of all: floor(N x ratio) for training, the others for validation in the order of the source."""
    _check_count(samples)
    order = shuffled(len(samples), seed)
    count = min(max(int(len(samples) * Fraction(repr(ratio))), 1), len(samples) - 1)
    return [samples[i] for i in order[:count]], [samples[i] for i in np.sort(order[count:])]


def split_by_class(samples: list[Sample], ratio: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Split the pictures of each class: the part `ratio` of them for training, the others for validation.

    The order of both sides is that of split(). A class of two pictures or more has one on each side at least, a single
    picture stays in training. Otherwise the training side has floor(N x ratio) pictures, as in split(). Raises
    OptionError if no class has two pictures.
    """
    _check_count(samples)
    classes = np.unique(_labels(samples), return_inverse=True)[1]
    counts = np.bincount(classes)
    if counts.max() < 2:
        raise OptionError(
            'split',
            CLASS,
            f'needs classes of two pictures, and each of the {len(counts)} classes has one: add pictures, or '
            f'use `split` {RANDOM}, with which some classes have no training picture',
        )
    order = shuffled(len(samples), seed)
    by_class = order[np.argsort(classes[order], kind='stable')]  # class after class, each in random order
    ranks = np.empty(len(samples), np.int64)
    ranks[by_class] = np.arange(len(samples)) - np.repeat(np.cumsum(counts) - counts, counts)
    trains = ranks < _training_counts(counts, Fraction(repr(ratio)))[classes]
    return [samples[i] for i in order[trains[order]]], [samples[i] for i in np.flatnonzero(~trains)]


def _training_counts(counts: np.ndarray, ratio: Fraction) -> np.ndarray:
    """Return the training pictures of each class, int64: rounded so that the sum is floor(N x ratio), then bounded."""
    exact = [int(count) * ratio for count in counts]
    floors = [int(share) for share in exact]
    rest = int(int(counts.sum()) * ratio) - sum(floors)
    for label in sorted(range(len(exact)), key=lambda label: floors[label] - exact[label])[:rest]:
        floors[label] += 1
    return np.clip(floors, 1, np.maximum(counts - 1, 1))


def _check_count(samples: list[Sample]) -> None:
    if len(samples) < 2:
        raise SourceError(
            f'{len(samples)} picture cannot be split into a training and a validation side: two are needed'
        )


def _labels(samples: Sequence[Sample]) -> np.ndarray:
    return np.array([sample.labels[0] for sample in samples])


def describe_missing(train: list[Sample], val: list[Sample], classes: list[str]) -> list[str]:
    """Return lines about the classes that have pictures on one side only; [] if there are none, or no classes."""
    if not classes:
        return []
    sides = {'training': np.unique(_labels(train)), 'validation': np.unique(_labels(val))}
    present = np.union1d(*sides.values())
    lines = []
    for side, labels in sides.items():
        missing: Any = np.setdiff1d(present, labels).astype(int).tolist()
        if missing:
            names = ', '.join(classes[label] for label in missing[:NAMED]) + (', ...' if len(missing) > NAMED else '')
            lines.append(f'{len(missing)} of {len(present)} classes have no {side} picture: {names}')
    return lines
