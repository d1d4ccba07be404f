"""What validation sees of a picture: brought to size, then its central window, or ten windows."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ibnnet_mx.recordio import augment
from ibnnet_mx.recordio.pictures import CIFAR_SIDE, MAX_SIDE, check_sides, scaled_size, to_short_side, to_square
from ibnnet_mx.recordio.region import Pixels

SMALL = 64  # crops up to this size are of pictures that were brought to size whole, as CIFAR-10's are
CROPS = (1, 10)


class View(NamedTuple):
    """short: what the short side is brought to first, None: the picture as it is. square: all of it to short x short.

    crops 1: the central window; 10: four corners, the centre, and their mirrors (Krizhevsky et al. 2012).
    """

    short: int | None = None
    square: bool = False
    crops: int = 1


def usual_short(size: int) -> int:
    """The short side of a picture for a crop of `size`: 256 for 224."""
    return round(size * 256 / 224)


def choose(size: int, resize: int | None, crops: int, packed: bool) -> View:
    """The View that --crop-size, --resize and --crops ask for, of packed records or of picture files.

    Records are pictures that were brought to size. Files are brought to 256/224 of the crop, small ones (CIFAR-10)
    whole to the crop, or 32x32. ValueError names the option.
    """
    if not 1 <= size <= MAX_SIDE:
        raise ValueError(f'--crop-size {size} must be from 1 to {MAX_SIDE}')
    if crops not in CROPS:
        raise ValueError(f'--crops {crops} must be 1 (the centre) or 10 (corners, centre and their mirrors)')
    if resize is not None and not size <= resize <= MAX_SIDE:
        raise ValueError(
            f'--resize {resize} is not from --crop-size {size} to {MAX_SIDE}: the crop must fit in the resized picture'
        )
    if resize is not None or packed:
        return View(resize, False, crops)
    return View(max(size, CIFAR_SIDE), True, crops) if size <= SMALL else View(usual_short(size), False, crops)


def shrunk(picture: np.ndarray, short: int) -> np.ndarray:
    """BGR uint8 with its short side at `short` pixels. PictureError for a strip.

    Bilinear as the packer does it, so that files and the records made of them look the same, but to less than half by
    the mean over areas: bilinear then leaves pixels out, and is far from what torch's networks see (PIL's filter; RMS
    of the difference for 150 photographs at a factor of 3: 11 of 255, areas 3; at 1.5: 4 and 2).
    """
    check_sides(picture, short)
    if min(picture.shape[:2]) <= 2 * short:
        return to_short_side(picture, short)
    height, width = scaled_size(picture.shape[0], picture.shape[1], short)
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _prepared(picture: Pixels, view: View) -> Pixels:
    if view.short is None:
        return picture
    change = to_square if view.square else shrunk
    return Pixels(change(picture.whole(), view.short))


def windows(picture: Pixels, size: int, view: View) -> list[np.ndarray]:
    """view.crops BGR uint8 (size, size, 3); a smaller picture is enlarged first. PictureError for a strip.

    Ten: the corners from left to right and top to bottom, the centre, then the mirror of each.
    """
    picture = _prepared(picture, view)
    if view.crops == 1:
        return [augment.val_view(picture, size)]
    whole = augment.enlarged(Pixels(picture.whole()), size)
    right, bottom = whole.width - size, whole.height - size
    places = [(0, 0), (right, 0), (0, bottom), (right, bottom), (right // 2, bottom // 2)]
    five = [whole.window(x, y, x + size, y + size) for x, y in places]
    return five + [cv2.flip(window, 1) for window in five]
