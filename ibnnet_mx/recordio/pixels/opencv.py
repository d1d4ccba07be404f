"""Rows of geometry carried out by OpenCV, a picture at a time."""

from __future__ import annotations

import math

import cv2
import numpy as np

from ibnnet_mx.recordio.pixels.geometry import AREA, NONE, WARP
from ibnnet_mx.recordio.pixels.pictures import PictureError
from ibnnet_mx.recordio.pixels.region import Decoded
from ibnnet_mx.recordio.pixels.view import View, refusal, view_rows
from ibnnet_mx.size import Pixels


def _touched(row: np.ndarray, width: int, height: int, limit: int) -> tuple[int, int]:
    """Return the first and one past the last pixel of 0..limit-1, at least one, that sampling by a row of the matrix
    reads.
    """
    across, down, shift = row.tolist()
    low = shift + (width - 1) * min(across, 0) + (height - 1) * min(down, 0)
    high = shift + (width - 1) * max(across, 0) + (height - 1) * max(down, 0)
    first = min(max(math.floor(low) - 1, 0), limit - 1)
    return first, max(min(math.floor(high) + 3, limit), first + 1)


def _warp(picture: Decoded, step: np.void, fill: int) -> np.ndarray:
    matrix, width, height = step['matrix'].reshape(2, 3).copy(), int(step['width']), int(step['height'])
    left, right = _touched(matrix[0], width, height, picture.width)
    top, bottom = _touched(matrix[1], width, height, picture.height)
    matrix[:, 2] -= left, top
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    part = picture.window(left, top, right, bottom)
    return cv2.warpAffine(part, matrix, (width, height), flags=flags, borderValue=(fill,) * 3)


def _resized(picture: Decoded, step: np.void) -> Decoded:
    left, top, right, bottom = step['box'].tolist()
    full = int(step['full_width']), int(step['full_height'])
    if full == (right - left, bottom - top) == (picture.width, picture.height):
        return picture
    part, method = (
        picture.window(left, top, right, bottom),
        cv2.INTER_AREA if step['kind'] == AREA else cv2.INTER_LINEAR,
    )
    return Decoded(cv2.resize(part, full, interpolation=method))


def jitter(picture: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """Return BGR with its hue (of 180), lightness and saturation (of 255) moved by `changes` (3,) and clipped."""
    steps = np.arange(256)
    table = np.empty((1, 256, 3), np.uint8)
    for i, limit in enumerate((180, 255, 255)):
        table[0, :, i] = np.clip(steps + changes[i], 0, limit)
    return cv2.cvtColor(cv2.LUT(cv2.cvtColor(picture, cv2.COLOR_BGR2HLS), table), cv2.COLOR_HLS2BGR)


def views(picture: Decoded, rows: np.ndarray) -> list[np.ndarray]:
    """Return BGR uint8 (height, width, 3) of each of rows (n,). Raises PictureError if the pixels cannot be decoded."""
    made: list[np.ndarray] = []
    resized: dict[bytes, Decoded] = {}  # ten crops are of one resized picture
    for row in rows:
        base = picture if row['first']['kind'] == NONE else Decoded(_warp(picture, row['first'], int(row['fill'])))
        step = row['last']
        if step['kind'] == WARP:
            view = _warp(base, step, int(row['fill']))
        else:
            key = b''.join(step[name].tobytes() for name in ('box', 'kind', 'full_width', 'full_height'))
            resized[key] = resized.get(key) or _resized(base, step)
            x, y = int(step['x']), int(step['y'])
            view = resized[key].window(x, y, x + int(step['width']), y + int(step['height']))
        if row['hls'].any():
            view = jitter(view, row['hls'])
        made.append(cv2.flip(view, 1) if row['mirror'] else view)
    return made


def windows(picture: Decoded, size: Pixels, view: View) -> list[np.ndarray]:
    """Return the view.crops of validation, BGR uint8 (height, width, 3). Raises PictureError for a strip."""
    refused = refusal(picture.width, picture.height, view)
    if refused:
        raise PictureError(refused)
    (rows,) = view_rows(np.array([[picture.width, picture.height]]), size, view)
    return views(picture, rows)


def pixel_table(mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """Return float32 (3, 256): (value - mean) / std of each 8-bit value, for each RGB plane."""
    values = np.arange(256, dtype=np.float64)
    return ((values - np.array(mean)[:, None]) / np.array(std)[:, None]).astype(np.float32)


def planes(view: np.ndarray, table: np.ndarray | None, out: np.ndarray) -> None:
    """Write BGR uint8 (H, W, 3) through table float32 (3, 256) to out float32 (3, H, W), RGB; as bytes without a
    table.
    """
    for plane in range(3):
        channel = cv2.extractChannel(view, 2 - plane)
        if table is None:
            out[plane] = channel
        else:
            cv2.LUT(channel, table[plane], out[plane])
