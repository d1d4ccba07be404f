"""Blurs of arXiv:1903.12261. Pictures are float32 (n, H, W, 3) in 0..1; draws: a numpy Generator for each."""

from __future__ import annotations

import math

import cv2
import numpy as np

from ibnnet_mx.shift.noise import Draws


def gaussian(x: np.ndarray, sigma: float) -> np.ndarray:
    """Convolve (n, H, W, C) with a Gaussian that is cut off at 4 sigma. Edges are repeated."""
    reach = int(4 * sigma + 0.5)
    if not reach:
        return x
    size = (2 * reach + 1,) * 2
    return np.stack([cv2.GaussianBlur(one, size, sigma, borderType=cv2.BORDER_REPLICATE) for one in x])


def defocus_blur(x: np.ndarray, draws: Draws, radius: float, softness: float) -> np.ndarray:
    """A lens out of focus: the mean over a disc whose edge is softened by a Gaussian of deviation `softness`."""
    reach = max(8, int(radius))
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (rows**2 + columns**2 <= radius**2).astype(np.float32)
    soft = (3, 3) if radius <= 8 else (5, 5)
    kernel = cv2.GaussianBlur(disc / disc.sum(), soft, softness)
    columns = np.flatnonzero(kernel.any(axis=0))
    kernel = kernel[columns[0] : columns[-1] + 1, columns[0] : columns[-1] + 1]
    return np.stack([cv2.filter2D(one, -1, kernel) for one in x])


def _waves(height: int, width: int, reach: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (rows, columns) of the pixels that glass_blur changes, in groups. The order within a group does not
    matter.

    The pixels are changed from the last to the first, and each looks at -reach..reach-1 around itself. In neighbouring
    rows of a group the columns differ by 2 * reach, so that none looks at another of the group. A pixel that comes
    before another one, and is looked at by it or looks at it, is in an earlier group.
    """
    down, across = (np.arange(side - reach, reach, -1) for side in (height, width))
    rows, columns = np.meshgrid(down, across, indexing='ij')
    turn = ((height - rows) * 2 * reach + width - columns).ravel()
    order = np.argsort(turn, kind='stable')
    ends = np.flatnonzero(np.diff(turn[order])) + 1
    return list(zip(np.split(rows.ravel()[order], ends), np.split(columns.ravel()[order], ends)))


def glass_blur(x: np.ndarray, draws: Draws, sigma: float, reach: int, rounds: int) -> np.ndarray:
    """Return pictures behind frosted glass: blurred, each pixel replaced by one up to `reach` away, then blurred again.

    The paper speaks of swaps. The program that made the published sets assigns two views of one array to each other,
    which copies. This function copies too, so its pictures are comparable to those sets.
    """
    seen = (gaussian(x, sigma) * 255).astype(np.uint8)
    pictures = np.arange(len(x))[:, None]
    height, width = shape = x.shape[1:3]
    waves = _waves(height, width, reach)
    for _ in range(rounds):
        steps = np.stack([draw.integers(-reach, reach, (2, *shape), np.int8) for draw in draws])
        for rows, columns in waves:
            down, right = steps[:, 0, rows, columns], steps[:, 1, rows, columns]
            seen[:, rows, columns] = seen[pictures, rows + down, columns + right]
    return gaussian(seen.astype(np.float32) / 255, sigma)


def moved(x: np.ndarray, radius: int, sigma: float, angle: float) -> np.ndarray:
    """Blur (H, W) or (H, W, C) as by motion: 2 * radius + 1 pixels at `angle` degrees, with the weights of half a
    Gaussian.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    turn = math.radians(angle)
    down, right = (np.ceil(steps * slope - 0.5).astype(int) for slope in (math.sin(turn), math.cos(turn)))
    top, left = min(down.min(), 0), min(right.min(), 0)
    kernel = np.zeros((down.max() - top + 1, right.max() - left + 1), np.float32)
    np.add.at(kernel, (down - top, right - left), weights / weights.sum())
    return cv2.filter2D(x, -1, kernel, anchor=(-int(left), -int(top)), borderType=cv2.BORDER_REPLICATE)


def motion_blur(x: np.ndarray, draws: Draws, radius: int, sigma: float) -> np.ndarray:
    """A camera that moves, at an angle from -45 to 45 degrees."""
    return np.stack([moved(one, radius, sigma, draw.uniform(-45, 45)) for one, draw in zip(x, draws)])


def _zoom(side: int, factor: float) -> tuple[float, float]:
    """Return how far apart the pixels of an enlarged middle are in a side's pixels, and where the first is."""
    middle = math.ceil(side / factor)
    large = round(middle * factor)
    scale = (middle - 1) / max(large - 1, 1)
    return scale, (large - side) // 2 * scale + (side - middle) // 2


def zoomed(x: np.ndarray, factor: float) -> np.ndarray:
    """Enlarge the middle of (H, W) or (H, W, C), bilinear. The corner pixels of the enlarged part stay corners."""
    (down, top), (right, left) = (_zoom(side, factor) for side in x.shape[:2])
    mapping = np.array([[right, 0, left], [0, down, top]])
    return cv2.warpAffine(
        x, mapping, x.shape[1::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )


def zoom_blur(x: np.ndarray, draws: Draws, largest: float, step: float) -> np.ndarray:
    """A camera that comes nearer: the mean of the picture and its enlargements by 1, 1 + step ... largest."""
    factors = 1 + step * np.arange(round((largest - 1) / step) + 1)
    return np.stack([(one + sum(zoomed(one, factor) for factor in factors)) / (len(factors) + 1) for one in x])
