"""The changes that training makes to pictures: rows of geometry drawn from (seed, epoch, record): crop, warp, colour,
mirror.

The draws do not depend on threads, batches or machines, so that a stream is the same for any reader.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ibnnet_mx.recordio.pixels import geometry
from ibnnet_mx.recordio.pixels.geometry import AREA, LINEAR, ROW
from ibnnet_mx.size import Pixels, Size

DRAWS = 13  # uniform numbers a picture and epoch: 0-3 shape, 4-5 place, 6-11 colour, 12 mirror
RRC_TRIES = 10
MIDDLE = 0.4999999  # as a uniform number it takes the middle of the places, of two the first


class Augment(NamedTuple):
    """Random changes of a training picture, as mxnet 1.9.1's ImageRecordIter makes them; with `area`,
    RandomResizedCrop.

    scale: range of the factor on both sides before the crop; aspect: the ratio of the sides is drawn from 1 +- aspect.
    hls: largest change of hue (of 180), lightness and saturation (of 255), OpenCV's 8-bit units; rotate: in degrees;
    shear: a fraction; pad: pixels on each side; area and ratio: as in torchvision's RandomResizedCrop. centre: True
    cuts the crop from the middle instead of a random place. fill: the value outside of the picture.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    aspect: float = 0.0
    hls: tuple[int, int, int] = (0, 0, 0)
    rotate: int = 0
    shear: float = 0.0
    pad: int = 0
    mirror: bool = True
    area: tuple[float, float] | None = None
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    centre: bool = False
    fill: int = 127

    @property
    def warps(self) -> bool:
        """Return True if pictures change their shape, not only their place."""
        return self.scale != (1.0, 1.0) or bool(self.aspect or self.rotate or self.shear)


_MIX = [np.uint64(v) for v in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)]


def _scramble(x: np.ndarray) -> np.ndarray:
    """Apply splitmix64's output function (Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * _MIX[1]
    x = (x ^ (x >> np.uint64(27))) * _MIX[2]
    return x ^ (x >> np.uint64(31))


def _streams(seeds: np.ndarray, epoch: int, records: np.ndarray, draws: int) -> np.ndarray:
    """Return float64 (seeds, records, draws) in [0, 1)."""
    with np.errstate(over='ignore'):
        state = _scramble(seeds.astype(np.uint64)[:, None] + _MIX[0])
        state = _scramble(state ^ (np.uint64(epoch) + _MIX[0]))
        rows = _scramble(state ^ (np.asarray(records).astype(np.uint64) * _MIX[0] + _MIX[1]))
        bits = _scramble(rows[..., None] + np.arange(1, draws + 1, dtype=np.uint64) * _MIX[0])
    return (bits >> np.uint64(11)) * 2.0**-53


def uniforms(seed: int, epoch: int, records: np.ndarray, draws: int = DRAWS) -> np.ndarray:
    """Return float64 (n, draws) in [0, 1), a function of seed, epoch and the record's number alone."""
    return _streams(np.asarray([seed], np.uint64), epoch, records, draws)[0]


def _between(u: np.ndarray, low: float, high: float) -> np.ndarray:
    return low + u * (high - low)


def _place(u: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Return one of 0..room, the places of a window."""
    return np.floor(u * (room + 1)).astype(np.int64)


def warps(augment: Augment, u: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return maps (n, 6) from the warped pictures' pixels to the pictures', and the warped widths and heights (n, 2).

    A map is the inverse of scale, aspect, shear and rotation about the centre.
    """
    width, height = sizes.T
    scale = _between(u[:, 0], *augment.scale)
    ratio = _between(u[:, 1], 1 - augment.aspect, 1 + augment.aspect)
    shear = _between(u[:, 2], -augment.shear, augment.shear)
    angle = np.floor(_between(u[:, 3], -augment.rotate, augment.rotate + 1)) * math.pi / 180
    hs = 2 * scale / (1 + ratio)
    ws = ratio * hs
    a, b = np.cos(angle), np.sin(angle)
    m00, m01 = hs * a - shear * b * ws, hs * b + shear * a * ws
    m10, m11 = -b * ws, a * ws
    new_width, new_height = scale * width, scale * height
    tx = (new_width - (m00 * width + m01 * height)) / 2
    ty = (new_height - (m10 * width + m11 * height)) / 2
    det = m00 * m11 - m01 * m10
    i00, i01, i10, i11 = m11 / det, -m01 / det, -m10 / det, m00 / det
    inverse = np.stack([i00, i01, -i00 * tx - i01 * ty, i10, i11, -i10 * tx - i11 * ty], axis=1)
    return inverse, np.maximum(np.stack([new_width, new_height], axis=1).astype(np.int64), 1)


def _shifts(sizes: np.ndarray, pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the same as warps() for pictures that only get a border."""
    matrix = np.zeros((len(sizes), 6))
    matrix[:, [0, 4]], matrix[:, [2, 5]] = 1, -pad
    return matrix, sizes + 2 * pad


def _warp(rows: np.ndarray, warped: tuple[np.ndarray, np.ndarray], u: np.ndarray, size: Size) -> None:
    """Fill rows that warp and show a window. A warped picture that is too small is computed first, then enlarged."""
    matrix, full = warped
    small = (full < size.wide_high).any(1)
    x, y = _places(u, full, size)
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, 0] * x + matrix[:, 1] * y
    shifted[:, 5] += matrix[:, 3] * x + matrix[:, 4] * y
    geometry.warp(rows['last'], shifted, *size.wide_high)
    for i in np.flatnonzero(small):
        one, few = slice(i, i + 1), full[i : i + 1]
        geometry.warp(rows['first'][one], matrix[one], few[:, 0], few[:, 1])
        _window(rows['last'][one], few, u[one], size)


def _places(u: np.ndarray, full: np.ndarray, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y (n,) of windows of `size` in pictures of widths and heights full (n, 2)."""
    return _place(u[:, 4], full[:, 0] - size.width), _place(u[:, 5], full[:, 1] - size.height)


def _window(steps: np.ndarray, sizes: np.ndarray, u: np.ndarray, size: Size) -> None:
    """Cut a window at a fraction of the free room. A picture that is smaller is enlarged."""
    full = geometry.enlarged(sizes, size)
    geometry.resize(steps, geometry.whole(sizes), full, LINEAR)
    geometry.cut(steps, size, *_places(u, full, size))


def resized_boxes(augment: Augment, u: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return boxes (n, 4) of torchvision's RandomResizedCrop: ten tries, then the largest central crop within the
    ratios.
    """
    low, high = augment.ratio
    tries = _streams((u[:, 0] * 2**53).astype(np.uint64), 0, np.arange(RRC_TRIES), 2)
    width, height = sizes[:, :1], sizes[:, 1:]
    area = _between(tries[..., 0], *(augment.area or (1.0, 1.0))) * (width * height)
    ratio = np.exp(_between(tries[..., 1], math.log(low), math.log(high)))
    w, h = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    fitting, chosen = fits.any(1), fits.argmax(1)
    pick = np.arange(len(sizes)), chosen
    width, height = sizes.T
    w = np.where(fitting, w[pick], np.minimum(width, np.rint(height * high)))
    h = np.where(fitting, h[pick], np.minimum(height, np.rint(width / low)))
    x = np.where(fitting, np.floor(u[:, 4] * (width - w + 1)), (width - w) // 2)
    y = np.where(fitting, np.floor(u[:, 5] * (height - h + 1)), (height - h) // 2)
    return np.stack([x, y, x + w, y + h], axis=1).astype(np.int64)


def _resized_crop(rows: np.ndarray, augment: Augment, u: np.ndarray, sizes: np.ndarray, size: Size) -> None:
    box = resized_boxes(augment, u, sizes)
    shrinks = (box[:, 2:] - box[:, :2] > size.wide_high).all(1)
    full = np.broadcast_to(size.wide_high, (len(box), 2))
    geometry.resize(rows['last'], box, full, np.where(shrinks, AREA, LINEAR))


def _changes(u: np.ndarray, amounts: tuple[int, int, int]) -> np.ndarray:
    """Return moves (n, 3) of hue, lightness, saturation. mxnet draws them as (u + 4 u') / 5, which makes extremes
    rare.
    """
    mixed = (u[:, 6:12:2] + 4 * u[:, 7:12:2]) / 5
    amount = np.array(amounts)
    return (mixed * (2 * amount) - amount).astype(np.int32)


def draw_rows(augment: Augment, u: np.ndarray, sizes: np.ndarray, pixels: Pixels) -> np.ndarray:
    """Return ROW (n,) of views. u: (n, DRAWS) uniforms; sizes: (n, 2), the pictures' widths and heights.

    pixels: the size of a view, a side or (height, width).
    """
    rows, size = np.zeros(len(u), ROW), Size.of(pixels, 'size')
    rows['fill'] = augment.fill
    if augment.centre:
        u = u.copy()
        u[:, 4:6] = MIDDLE
    if augment.area is not None:
        _resized_crop(rows, augment, u, sizes, size)
    elif augment.warps:
        _warp(rows, warps(augment, u, sizes), u, size)
    elif augment.pad:
        _warp(rows, _shifts(sizes, augment.pad), u, size)
    else:
        _window(rows['last'], sizes, u, size)
    if any(augment.hls):
        rows['hls'] = _changes(u, augment.hls)
    if augment.mirror:
        rows['mirror'] = u[:, 12] < 0.5
    return rows
