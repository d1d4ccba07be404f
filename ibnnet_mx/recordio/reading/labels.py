"""The labels that a reader gives: which of several, and of which records."""

from __future__ import annotations

from typing import Any

import numpy as np

from ibnnet_mx.errors import OptionError
from ibnnet_mx.recordio.format import RecordError
from ibnnet_mx.recordio.pixels.pictures import PictureError
from ibnnet_mx.recordio.pixels.region import open_picture
from ibnnet_mx.recordio.reading.options import Options

BLOCK = 1 << 18  # records that are looked at together


def choose(path: str, labels: np.ndarray, options: Options) -> np.ndarray:
    """Return float32 (n,), or (n, width) for several, of all labels (n, width) of a file.

    Records with several labels are refused unless the options say what to take of them, as mxnet refuses another
    label_width than the records have. Raises OptionError.
    """
    width, column, count = options.label_width, options.label_column, labels.shape[1]
    if column is not None and column >= count:
        raise OptionError('label_column', column, f': {path} holds {count} labels a record, counted from 0')
    if width != count and (column is None or width != 1):
        way_out = '' if count == 1 else ': `label_column` K takes one of them as the class, counted from 0'
        raise OptionError('label_width', width, f': {path} holds {count} labels a record{way_out}')
    return labels[:, column or 0] if count == 1 or column is not None else labels


def of_pictures(records: Any, labels: np.ndarray, max_bad: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions int32 (n,) of the records that can be pictures, and their labels.

    A record without a payload is none. With max_bad, neither are the records of the highest class if they are at most
    so many and none of them can be read: damage made up their class, or all its pictures are skipped.
    """
    empty = np.concatenate([_are_empty(records, first) for first in range(0, len(records), BLOCK)])
    positions = np.flatnonzero(~empty).astype(np.int32)  # a reader keeps them
    labels = labels[positions] if empty.any() else labels
    while max_bad and len(labels) and labels.ndim == 1:
        top = labels == labels.max()
        if top.sum() > max_bad or any(_can_be_read(records, int(position)) for position in positions[top]):
            break
        positions, labels = positions[~top], labels[~top]
    return positions, labels


def _are_empty(records: Any, first: int) -> np.ndarray:
    """Return bool (BLOCK or fewer,): True for the records from `first` on that have no payload."""
    numbers = np.arange(first, min(first + BLOCK, len(records)))
    spans = records.spans(numbers)
    return np.zeros(len(numbers), bool) if spans is None else (spans[2] != 0) & (spans[3] == 0)


def _can_be_read(records: Any, position: int) -> bool:
    try:
        open_picture(records.read(position).payload)
    except (PictureError, RecordError):
        return False
    return True
