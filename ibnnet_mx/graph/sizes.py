"""The size of the pictures that a symbol takes, as far as its layers tell it."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any, Mapping, NamedTuple

import mxnet as mx

from ibnnet_mx.errors import no_memory
from ibnnet_mx.size import Pixels, Size

USUAL = (
    (224, 32, 28, 64, 96, 112, 48, 56, 84, 100, 120, 128, 144, 150, 160, 180, 192, 200, 227, 240, 256, 288, 299)
    + (300, 320, 331, 336, 380, 384, 400, 416, 448, 480, 512)
)  # fmt: skip
OBLONG = ((256, 128), (384, 128), (384, 192), (160, 64), (128, 64))  # of re-identification, tried last
MOST = 640  # pixels of a side that is tried
COARSE, FINE = 16, 2  # how many pixels of a picture a cell of the last maps covers, in networks for 224 and for 32


class PictureSize(NamedTuple):
    """The size of a network's pictures. fixed: the network takes no other; else it is a guess from its layers."""

    size: Size
    fixed: bool


def infer(symbol: Any, shapes: Mapping[str, Any]) -> list[Any] | None:
    """Return the shapes of a symbol's results; None if the layers do not fit. mxnet's own words are not printed."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter('ignore')  # about unknown shapes
        try:
            return symbol.infer_shape(**shapes)[1]
        except mx.base.MXNetError as error:
            if no_memory(error):
                raise
            return None


def picture_size(symbol: Any, shapes: Mapping[str, Any]) -> PictureSize | None:
    """Return the size of a symbol's pictures; None if its layers fit no size. shapes: {input: shape} without 'data'.

    A dense layer behind a Flatten fixes the size. A network that ends in a global mean takes any size: then the maps
    before it tell how much it shrinks pictures, by 32 (and more than 16) those for ImageNet, less those for CIFAR.
    """

    def fits(size: Pixels) -> bool:
        return infer(symbol, {**shapes, 'data': (1, 3, *Size.of(size))}) is not None

    several = [side for side in (224, 192, 32) if fits(side)]
    if len(several) > 1:
        return PictureSize(Size.of(_usual(symbol, shapes)), fixed=False)
    if several:
        return PictureSize(Size.of(several[0]), fixed=True)
    tried: list[Pixels] = [*USUAL, *(n for n in range(8, MOST + 1) if n not in USUAL), *OBLONG]
    fixed = next(filter(fits, tried), None)
    return None if fixed is None else PictureSize(Size.of(fixed), fixed=True)


def _usual(symbol: Any, shapes: Mapping[str, Any]) -> int:
    """Return 32 for a network that shrinks pictures as networks for CIFAR do, else 224."""
    results = infer(symbol.get_internals(), {**shapes, 'data': (1, 3, 224, 224)}) or []
    sides = [shape[2] for shape in results if len(shape) == 4 and shape[2] == shape[3] > 1]
    covered = 224 / sides[-1] if sides else 1
    return 32 if FINE <= covered < COARSE else 224
