"""The views of validation: a picture is brought to size, then its central window is cut, or ten windows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ibnnet_mx.errors import OptionError
from ibnnet_mx.recordio.pixels import geometry
from ibnnet_mx.recordio.pixels.geometry import AREA, LINEAR, ROW
from ibnnet_mx.recordio.pixels.pictures import CIFAR_SIDE, MAX_SIDE, PictureError, check_sides, scaled_size

SMALL = 64  # crops up to this size are of pictures that were brought to size whole, as CIFAR-10's are
CROPS = (1, 10)


class View(NamedTuple):
    """The way to the views. short: the short side is brought to it first; None: the picture stays as it is. square: all
    of the picture is brought to short x short.

    crops 1: the central window; 10: four corners, the centre, and their mirrors (Krizhevsky et al. 2012).
    """

    short: int | None = None
    square: bool = False
    crops: int = 1


def usual_short(size: int) -> int:
    """Return the short side of a picture for a crop of `size`: 256 for 224."""
    return round(size * 256 / 224)


def choose_view(size: int, resize: int | None, crops: int, packed: bool) -> View:
    """Return the View of packed records, or of picture files, for a crop of size x size pixels.

    Records are pictures that were brought to size. Files are brought to 256/224 of the crop, small ones (CIFAR-10)
    whole to the crop, or 32x32. Raises OptionError for size, resize or crops.
    """
    if not 1 <= size <= MAX_SIDE:
        raise OptionError('size', size, f'must be from 1 to {MAX_SIDE}')
    if crops not in CROPS:
        raise OptionError('crops', crops, 'must be 1 (the centre) or 10 (corners, centre and their mirrors)')
    if resize is not None and not size <= resize <= MAX_SIDE:
        raise OptionError(
            'resize', resize, f'is not from `size` {size} to {MAX_SIDE}: the crop must fit in the resized picture'
        )
    if resize is not None or packed:
        return View(resize, False, crops)
    return View(max(size, CIFAR_SIDE), True, crops) if size <= SMALL else View(usual_short(size), False, crops)


def _methods(sizes: np.ndarray, view: View) -> np.ndarray:
    """Return the method by which each picture is brought to view.short.

    It is bilinear, as the packer does it, so that files and the records made of them look the same. Below half of the
    size it is the mean over areas. Bilinear then leaves pixels out, and is far from the input of torch's networks
    (PIL's filter; RMS of the difference for 150 photographs at a factor of 3: 11 of 255, areas 3; at 1.5: 4 and 2).
    """
    short = view.short or 0
    return np.where(sizes.min(1) > (short if view.square else 2 * short), AREA, LINEAR)


def _full(sizes: np.ndarray, size: int, view: View) -> np.ndarray:
    if view.short is None:
        return geometry.enlarged(sizes, size)
    if view.square:
        return np.full_like(sizes, view.short)
    height, width = np.array([scaled_size(h, w, view.short) for w, h in sizes.tolist()]).T
    return geometry.enlarged(np.stack([width, height], axis=1), size)


def refusal(width: int, height: int, view: View) -> str | None:
    """Return why a picture of that size cannot be brought to size (it is a strip); None if it can."""
    if view.short is None or view.square:
        return None
    try:
        check_sides((height, width), view.short)
    except PictureError as error:
        return str(error)
    return None


def view_rows(sizes: np.ndarray, size: int, view: View) -> np.ndarray:
    """Return ROW (n, view.crops) of size x size views. sizes: (n, 2), width, height. Smaller pictures are enlarged.

    Ten views: the corners from left to right and top to bottom, the centre, then the mirror of each.
    """
    rows = np.zeros((len(sizes), view.crops), ROW)
    full, kind = _full(sizes, size, view), LINEAR if view.short is None else _methods(sizes, view)
    right, bottom = (full - size).T
    zero = np.zeros_like(right)
    places = [(zero, zero), (right, zero), (zero, bottom), (right, bottom), (right // 2, bottom // 2)]
    for number in range(view.crops):
        steps = rows['last'][:, number]
        geometry.resize(steps, geometry.whole(sizes), full, kind)
        geometry.cut(steps, size, *(places[number % 5] if view.crops > 1 else places[4]))
    rows['mirror'][:, 5:] = 1
    return rows
