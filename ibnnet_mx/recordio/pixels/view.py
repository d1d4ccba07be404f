"""The views of validation: a picture is brought to size, then its central window is cut, or ten windows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ibnnet_mx.errors import OptionError
from ibnnet_mx.recordio.pixels import geometry
from ibnnet_mx.recordio.pixels.geometry import AREA, LINEAR, ROW
from ibnnet_mx.recordio.pixels.pictures import CIFAR_SIDE, PictureError, check_sides, scaled_size
from ibnnet_mx.size import MAX_SIDE, Pixels, Size

CROPS = (1, 10)
FAR = 2  # pictures so many times as large as usual show a corner of themselves in a central crop


class View(NamedTuple):
    """The way to the views. short: the short side is brought to it first. whole: all of the picture is brought to this
    size, whatever its aspect. Both None: the picture stays as it is.

    crops 1: the central window; 10: four corners, the centre, and their mirrors (Krizhevsky et al. 2012).
    """

    short: int | None = None
    whole: Size | None = None
    crops: int = 1

    @property
    def resized(self) -> int | Size | None:
        """The size that pictures are brought to, as a report holds it; None if they stay as they are."""
        return self.short if self.whole is None else self.whole.plain


def usual_short(side: int) -> int:
    """Return the short side of a picture for a crop of `side`: 256 for 224."""
    return round(side * 256 / 224)


def choose_view(pixels: Pixels, resize: int | None, crops: int, packed: bool) -> View:
    """Return the View of packed records, or of picture files, for a crop of a side or (height, width).

    Records are pictures that were brought to size. Files are brought to it by usual_view().
    Raises OptionError for size, resize or crops.
    """
    size = Size.of(pixels, 'size')
    if crops not in CROPS:
        raise OptionError('crops', crops, 'must be 1 (the centre) or 10 (corners, centre and their mirrors)')
    if resize is not None and not max(size) <= resize <= MAX_SIDE:
        raise OptionError(
            'resize', resize, f'is not from `size` {max(size)} to {MAX_SIDE}: the crop must fit in the resized picture'
        )
    return View(resize, None, crops) if resize is not None or packed else usual_view(size, crops)


def usual_view(pixels: Pixels, crops: int = 1) -> View:
    """Return the View of pictures that were not brought to size for a crop.

    The short side is brought to 256/224 of a square crop. Small pictures (CIFAR-10) are brought whole to the crop, or
    to 32x32. Pictures for a crop that is not square are brought whole to it, as in re-identification; for ten crops to
    256/224 of it.
    """
    size = Size.of(pixels, 'size')
    if size.square and not size.small:
        return View(usual_short(size.height), None, crops)
    whole = Size(*(max(side, CIFAR_SIDE) for side in size)) if size.square else size
    if crops > 1 and not size.square:
        whole = Size(*map(usual_short, size))
    return View(None, whole, crops)


def far_larger(picture: Size, size: Size) -> bool:
    """Return True if pictures are so large that a central crop of `size` shows little of them.

    480 pixels for a crop of 224, as the packer makes them, are not.
    """
    usual = [usual_short(size.height)] * 2 if size.square and not size.small else size
    return all(side >= FAR * other for side, other in zip(picture, usual))


def far_smaller(picture: Size, size: Size) -> bool:
    """Return True if pictures must be enlarged to twice their sides for a crop of `size`."""
    return any(FAR * side <= other for side, other in zip(picture, size))


def _methods(sizes: np.ndarray, view: View) -> np.ndarray:
    """Return the method by which each picture is brought to size.

    It is bilinear, as the packer does it, so that files and the records made of them look the same. Below half of the
    size it is the mean over areas. Bilinear then leaves pixels out, and is far from the input of torch's networks
    (PIL's filter; RMS of the difference for 150 photographs at a factor of 3: 11 of 255, areas 3; at 1.5: 4 and 2).
    """
    if view.whole is not None:
        return np.where((sizes > view.whole.wide_high).all(1), AREA, LINEAR)
    return np.where(sizes.min(1) > 2 * (view.short or 0), AREA, LINEAR)


def _full(sizes: np.ndarray, size: Size, view: View) -> np.ndarray:
    if view.whole is not None:
        return np.broadcast_to(view.whole.wide_high, sizes.shape)
    if view.short is None:
        return geometry.enlarged(sizes, size)
    height, width = np.array([scaled_size(h, w, view.short) for w, h in sizes.tolist()]).T
    return geometry.enlarged(np.stack([width, height], axis=1), size)


def refusal(width: int, height: int, view: View) -> str | None:
    """Return why a picture of that size cannot be brought to size (it is a strip); None if it can."""
    if view.short is None:
        return None
    try:
        check_sides((height, width), view.short)
    except PictureError as error:
        return str(error)
    return None


def view_rows(sizes: np.ndarray, pixels: Pixels, view: View) -> np.ndarray:
    """Return ROW (n, view.crops) of views. sizes: (n, 2), width, height. Smaller pictures are enlarged.

    pixels: the size of a view, a side or (height, width).
    Ten views: the corners from left to right and top to bottom, the centre, then the mirror of each.
    """
    rows, size = np.zeros((len(sizes), view.crops), ROW), Size.of(pixels, 'size')
    full = _full(sizes, size, view)
    kind = LINEAR if view.resized is None else _methods(sizes, view)
    right, bottom = (full - size.wide_high).T
    zero = np.zeros_like(right)
    places = [(zero, zero), (right, zero), (zero, bottom), (right, bottom), (right // 2, bottom // 2)]
    for number in range(view.crops):
        steps = rows['last'][:, number]
        geometry.resize(steps, geometry.whole(sizes), full, kind)
        geometry.cut(steps, size, *(places[number % 5] if view.crops > 1 else places[4]))
    rows['mirror'][:, 5:] = 1
    return rows
