"""What is done to one picture: parameters drawn from (seed, epoch, record), then crop, warp, colour, mirror.

The draws do not depend on threads, batches or machines, so a stream is the same however it is read.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from ibnnet_mx.recordio.region import Pixels

FILL = 127
DRAWS = 13  # uniform numbers a picture and epoch: 0-3 shape, 4-5 place, 6-11 colour, 12 mirror
RRC_TRIES = 10


class Augment(NamedTuple):
    """Random changes of a training picture, as mxnet 1.9.1's ImageRecordIter makes them; RandomResizedCrop with `area`.

    scale: range of the factor on both sides before the crop; aspect: the ratio of the sides is drawn from 1 +- aspect.
    hls: largest change of hue (of 180), lightness and saturation (of 255), OpenCV's 8-bit units; rotate in degrees;
    shear as a fraction; pad in pixels of value 127 on each side; area and ratio as torchvision's RandomResizedCrop.
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

    @property
    def warps(self) -> bool:
        return self.scale != (1.0, 1.0) or bool(self.aspect or self.rotate or self.shear)


_MIX = [np.uint64(v) for v in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)]


def _scramble(x: np.ndarray) -> np.ndarray:
    """splitmix64's output function (Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * _MIX[1]
    x = (x ^ (x >> np.uint64(27))) * _MIX[2]
    return x ^ (x >> np.uint64(31))


def uniforms(seed: int, epoch: int, records: np.ndarray, draws: int = DRAWS) -> np.ndarray:
    """float64 (n, draws) in [0, 1), a function of seed, epoch and the record's number alone."""
    with np.errstate(over='ignore'):
        state = _scramble(np.asarray([seed], np.uint64) + _MIX[0])
        state = _scramble(state ^ (np.uint64(epoch) + _MIX[0]))
        rows = _scramble(state ^ (np.asarray(records).astype(np.uint64) * _MIX[0] + _MIX[1]))
        bits = _scramble(rows[:, None] + np.arange(1, draws + 1, dtype=np.uint64) * _MIX[0])
    return (bits >> np.uint64(11)) * 2.0**-53


def _between(u: float, low: float, high: float) -> float:
    return low + u * (high - low)


def _enlarge(width: int, height: int, size: int) -> tuple[float, float]:
    """Factors that bring a picture smaller than the crop up to it, first the height, then the width, as mxnet does."""
    factor = size / height if height < size else 1.0
    width = int(width * factor)
    return factor, size / width if width < size else 1.0


def _warp_matrix(augment: Augment, u: np.ndarray, width: int, height: int) -> tuple[np.ndarray, int, int]:
    """2x3 map from the warped picture's pixels to the picture's, and the warped one's width and height.

    The inverse of scale, aspect, shear and rotation about the centre.
    """
    scale = _between(u[0], *augment.scale)
    ratio = _between(u[1], 1 - augment.aspect, 1 + augment.aspect)
    shear = _between(u[2], -augment.shear, augment.shear)
    angle = math.floor(_between(u[3], -augment.rotate, augment.rotate + 1)) * math.pi / 180
    hs = 2 * scale / (1 + ratio)
    ws = ratio * hs
    a, b = math.cos(angle), math.sin(angle)
    m00, m01 = hs * a - shear * b * ws, hs * b + shear * a * ws
    m10, m11 = -b * ws, a * ws
    new_width, new_height = scale * width, scale * height
    tx = (new_width - (m00 * width + m01 * height)) / 2
    ty = (new_height - (m10 * width + m11 * height)) / 2
    det = m00 * m11 - m01 * m10
    i00, i01, i10, i11 = m11 / det, -m01 / det, -m10 / det, m00 / det
    inverse = np.array([[i00, i01, -i00 * tx - i01 * ty], [i10, i11, -i10 * tx - i11 * ty]])
    return inverse, max(int(new_width), 1), max(int(new_height), 1)


def _rrc_box(augment: Augment, u: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """x, y, w, h of torchvision's RandomResizedCrop: ten tries, then the largest central crop within the ratios."""
    low, high = augment.ratio
    tries = uniforms(int(u[0] * 2**53), 0, np.arange(RRC_TRIES), 2)
    for first, second in tries:
        area = _between(first, *(augment.area or (1.0, 1.0))) * width * height
        ratio = math.exp(_between(second, math.log(low), math.log(high)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return math.floor(u[4] * (width - w + 1)), math.floor(u[5] * (height - h + 1)), w, h
    w, h = min(width, round(height * high)), min(height, round(width / low))
    return (width - w) // 2, (height - h) // 2, w, h


def enlarged(picture: Pixels, size: int) -> Pixels:
    """The picture, or where it is smaller than size x size, bilinearly enlarged until it is not."""
    up, right = _enlarge(picture.width, picture.height, size)
    if up * right == 1:
        return picture
    new = max(int(int(picture.width * up) * right), size), max(int(picture.height * up * right), size)
    return Pixels(cv2.resize(picture.whole(), new, interpolation=cv2.INTER_LINEAR))


def _cut(picture: Pixels, size: int, across: float, down: float) -> np.ndarray:
    """A size x size window at a fraction of the free room, the picture enlarged first where it is smaller."""
    picture = enlarged(picture, size)
    x = math.floor(across * (picture.width - size + 1))
    y = math.floor(down * (picture.height - size + 1))
    return picture.window(x, y, x + size, y + size)


def _touched(row: np.ndarray, size: int, limit: int) -> tuple[int, int]:
    """First and one past the last pixel of 0..limit-1, at least one, that sampling by a row of the matrix reads."""
    across, down, shift = row.tolist()
    low = shift + (size - 1) * (min(across, 0) + min(down, 0))
    high = shift + (size - 1) * (max(across, 0) + max(down, 0))
    first = min(max(math.floor(low) - 1, 0), limit - 1)
    return first, max(min(math.floor(high) + 3, limit), first + 1)


def _warp(picture: Pixels, augment: Augment, u: np.ndarray, size: int) -> np.ndarray:
    """A window of the warped picture; the rest of it is neither decoded nor warped."""
    matrix, width, height = _warp_matrix(augment, u, picture.width, picture.height)
    flags, fill = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, (FILL,) * 3
    if min(width, height) < size:
        warped = cv2.warpAffine(picture.whole(), matrix, (width, height), flags=flags, borderValue=fill)
        return _cut(Pixels(warped), size, u[4], u[5])
    matrix[:, 2] += matrix[:, :2] @ (math.floor(u[4] * (width - size + 1)), math.floor(u[5] * (height - size + 1)))
    left, right = _touched(matrix[0], size, picture.width)
    top, bottom = _touched(matrix[1], size, picture.height)
    matrix[:, 2] -= left, top
    part = picture.window(left, top, right, bottom)
    return cv2.warpAffine(part, matrix, (size, size), flags=flags, borderValue=fill)


def _resized_crop(picture: Pixels, augment: Augment, u: np.ndarray, size: int) -> np.ndarray:
    x, y, w, h = _rrc_box(augment, u, picture.width, picture.height)
    method = cv2.INTER_AREA if w > size and h > size else cv2.INTER_LINEAR
    return cv2.resize(picture.window(x, y, x + w, y + h), (size, size), interpolation=method)


def _padded(picture: Pixels, pad: int) -> Pixels:
    if not pad:
        return picture
    return Pixels(cv2.copyMakeBorder(picture.whole(), pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=(FILL,) * 3))


def _jitter(picture: np.ndarray, u: np.ndarray, amounts: tuple[int, int, int]) -> np.ndarray:
    """Hue, lightness and saturation moved by amounts that mxnet draws as (u + 4 u') / 5, which thins the extremes."""
    steps = np.arange(256)
    table = np.empty((1, 256, 3), np.uint8)
    for i, (amount, limit) in enumerate(zip(amounts, (180, 255, 255))):
        change = int(_between((u[2 * i] + 4 * u[2 * i + 1]) / 5, -amount, amount))
        table[0, :, i] = np.clip(steps + change, 0, limit)
    return cv2.cvtColor(cv2.LUT(cv2.cvtColor(picture, cv2.COLOR_BGR2HLS), table), cv2.COLOR_HLS2BGR)


def train_view(picture: Pixels, augment: Augment, u: np.ndarray, size: int) -> np.ndarray:
    """A picture and its uniforms (DRAWS,) -> BGR uint8 (size, size, 3)."""
    if augment.area is not None:
        view = _resized_crop(picture, augment, u, size)
    elif augment.warps:
        view = _warp(picture, augment, u, size)
    else:
        view = _cut(_padded(picture, augment.pad), size, u[4], u[5])
    if any(augment.hls):
        view = _jitter(view, u[6:], augment.hls)
    return cv2.flip(view, 1) if augment.mirror and u[12] < 0.5 else view


def val_view(picture: Pixels, size: int) -> np.ndarray:
    """The central size x size window, the picture enlarged first where it is smaller."""
    picture = enlarged(picture, size)
    x, y = (picture.width - size) // 2, (picture.height - size) // 2
    return picture.window(x, y, x + size, y + size)


def planes(view: np.ndarray, table: np.ndarray, out: np.ndarray) -> None:
    """BGR uint8 (H, W, 3) through table float32 (3, 256) into out float32 (3, H, W), RGB."""
    for plane in range(3):
        cv2.LUT(cv2.extractChannel(view, 2 - plane), table[plane], out[plane])


def pixel_table(mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """float32 (3, 256): (value - mean) / std of each 8-bit value, for each RGB plane."""
    values = np.arange(256, dtype=np.float64)
    return ((values - np.array(mean)[:, None]) / np.array(std)[:, None]).astype(np.float32)
