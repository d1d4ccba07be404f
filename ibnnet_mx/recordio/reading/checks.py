"""Checks of the readers' arguments, before anything is read."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from ibnnet_mx.recordio.pixels.augment import Augment
from ibnnet_mx.recordio.pixels.exif import check_exif

MOST = 1 << 20  # pictures of a batch
SIDE = 1 << 14  # pixels of a crop or a border


def check_whole(name: str, value: Any, low: int, high: int | None = None) -> None:
    """Raise ValueError if `value` is no whole number of low..high."""
    span = f'from {low} to {high}' if high is not None else f'of at least {low}'
    fits = isinstance(value, Integral) and not isinstance(value, bool)
    if not fits or value < low or (high is not None and value > high):
        raise ValueError(f'{name} {value!r}: a whole number {span} is needed')


def check_real(name: str, value: Any, low: float, high: float) -> None:
    """Raise ValueError if `value` is no number of low..high."""
    if not isinstance(value, Real) or isinstance(value, bool) or not low <= float(value) <= high:
        raise ValueError(f'{name} {value!r}: a number from {low:g} to {high:g} is needed')


def _check_span(name: str, value: Any, low: float, high: float) -> None:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f'{name} {value!r}: two numbers are needed, the least and the most')
    for number in value:
        check_real(name, number, low, high)
    if value[0] > value[1]:
        raise ValueError(f'{name} {value!r}: the first number must not be larger than the second')


def _check_three(name: str, value: Any) -> list[Any]:
    numbers = list(value) if hasattr(value, '__len__') else []
    if len(numbers) != 3:
        raise ValueError(f'{name} {value!r}: three numbers are needed')
    return numbers


def check_augment(changes: Any) -> None:
    """Raise ValueError for an Augment with a value that cannot be."""
    if changes is None:
        return
    if not isinstance(changes, Augment):
        raise ValueError(f'augment {changes!r} is no Augment: use None, or Augment(**AUGMENT[2]) of ibnnet_mx.recipe')
    _check_span('Augment.scale', changes.scale, 0.01, 100)
    _check_span('Augment.ratio', changes.ratio, 0.01, 100)
    if changes.area is not None:
        _check_span('Augment.area', changes.area, 1e-6, 100)
        if changes.warps or changes.pad:
            raise ValueError(f'Augment.area {changes.area!r} is all there is to shape: leave scale, aspect and pad out')
    check_real('Augment.aspect', changes.aspect, 0, 0.99)
    check_real('Augment.shear', changes.shear, 0, 10)
    check_whole('Augment.rotate', changes.rotate, 0, 180)
    check_whole('Augment.pad', changes.pad, 0, SIDE)
    check_whole('Augment.fill', changes.fill, 0, 255)
    for amount, most in zip(_check_three('Augment.hls', changes.hls), (180, 255, 255)):
        check_whole('Augment.hls', amount, 0, most)
    if changes.warps and changes.pad:
        raise ValueError(f'Augment.pad {changes.pad} has no place if pictures are warped: leave it or the warp out')


def check_normalisation(scale: Any) -> None:
    """Raise ValueError unless `scale` is None (bytes), or mean and std of three planes, finite, with a std that
    divides.
    """
    if scale is None:
        return
    if not hasattr(scale, '__len__') or len(scale) != 2:
        raise ValueError(f'normalise {scale!r}: mean and std are needed, three numbers each')
    for mean in _check_three('normalise: mean', scale[0]):
        check_real('normalise: mean', mean, -1e6, 1e6)
    for std in _check_three('normalise: std', scale[1]):
        check_real('normalise: std', std, -math.inf, math.inf)
        if not 1e-6 <= abs(std) <= 1e6:
            raise ValueError(f'normalise: std {std!r} is no divisor')


def _sampler_alone(given: Any) -> None:
    if not callable(getattr(given.sampler, 'batches', None)):
        raise ValueError(f'sampler {given.sampler!r} has no method batches(labels, epoch, batch_size, share)')
    for name, unset in (('shuffle', None), ('every', 1), ('limit', None)):
        if getattr(given, name) != unset:
            raise ValueError(
                f'{name} {getattr(given, name)!r} is for the usual order: the sampler decides, leave it out'
            )


def check_batches(steps: Any, records: int, rows: int | None) -> None:
    """Raise ValueError if a sampler's steps are no positions of records, or have more than `rows`. None: any number."""
    for number, positions in enumerate(steps):
        if getattr(positions, 'ndim', None) != 1 or positions.dtype.kind not in 'iu':
            raise ValueError(f'sampler: step {number} is no array of positions, whole numbers (n,)')
        if len(positions) and not 0 <= positions.min() <= positions.max() < records:
            raise ValueError(f'sampler: step {number} has a position outside of 0 to {records - 1}')
        if rows is not None and len(positions) > rows:
            raise ValueError(f'sampler: step {number} has {len(positions)} records, its share of a batch is {rows}')


def check_options(given: Any) -> None:
    """Raise ValueError for an option of a reader that cannot be."""
    check_whole('seed', given.seed, 0, 2**63 - 1)
    if not isinstance(given.share, (tuple, list)) or len(given.share) != 2:
        raise ValueError(f'share {given.share!r}: a pair is needed, this rank and how many there are')
    check_whole('share: how many', given.share[1], 1)
    check_whole('share: rank', given.share[0], 0, given.share[1] - 1)
    if given.sampler is not None:
        _sampler_alone(given)
    for name, low in (('every', 1), ('max_bad', 0), ('label_width', 1)):
        check_whole(name, getattr(given, name), low)
    if given.label_column is not None:
        check_whole('label_column', given.label_column, 0)
    if given.threads is not None:
        check_whole('threads', given.threads, 1, 1024)
    if given.keep not in (True, False):
        raise ValueError(f'keep {given.keep!r} must be True or False')
    for name in ('native', 'shuffle'):
        if getattr(given, name) not in (None, True, False):
            raise ValueError(f'{name} {getattr(given, name)!r} must be None, True or False')
    check_exif(given.exif)
    if not callable(given.report):
        raise ValueError(f'report {given.report!r} must be a function of a text')
