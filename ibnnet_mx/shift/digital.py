"""Digital corruptions of arXiv:1903.12261. Pictures are float32 (n, H, W, 3) in 0..1; draws: a Generator for each."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from ibnnet_mx.shift.noise import Draws


def contrast(x: np.ndarray, draws: Draws, share: float) -> np.ndarray:
    """Return each plane with its differences from its mean times `share`."""
    means = x.mean(axis=(1, 2), keepdims=True)
    return (x - means) * np.float32(share) + means


@lru_cache(maxsize=64)
def _smoothing(side: int, sigma: float) -> np.ndarray:
    """Return float32 (side, side): it convolves a row with a Gaussian that is cut off at 3 sigma, mirrored at the
    edges.
    """
    reach = int(3 * sigma + 0.5)
    if not reach:
        return np.eye(side, dtype=np.float32)
    steps = np.arange(-reach, reach + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    places = (np.arange(side)[:, None] + steps) % (2 * side)
    places = np.where(places < side, places, 2 * side - 1 - places)
    matrix = np.zeros((side, side))
    np.add.at(matrix, (np.arange(side)[:, None], places), weights / weights.sum())
    return matrix.astype(np.float32)


def elastic_transform(x: np.ndarray, draws: Draws, strength: float, sigma: float, corners: float) -> np.ndarray:
    """Stretch pictures at three points by up to `corners`, then move them by smooth noise; all three are shares of the
    short side.

    The noise is uniform in -1..1, convolved with a Gaussian of deviation sigma, times strength.
    """
    height, width = x.shape[1:3]
    side = min(height, width)
    upright, lying = (_smoothing(length, sigma * side) for length in (height, width))
    middle = np.array([width // 2, height // 2], np.float32)
    points = np.array([[1, 1], [1, -1], [-1, -1]], np.float32) * (side // 3) + middle
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    stretched = []
    for one, draw in zip(x, draws):
        shifted = points + draw.uniform(-corners * side, corners * side, (3, 2)).astype(np.float32)
        bent = cv2.warpAffine(
            one, cv2.getAffineTransform(points, shifted), (width, height), borderMode=cv2.BORDER_REFLECT_101
        )
        noise = draw.random((2, height, width), np.float32) * 2 - 1
        right, down = upright @ noise @ lying.T * (strength * side)
        bent = cv2.remap(bent, columns + right, rows + down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        stretched.append(bent)
    return np.stack(stretched)


def _boxes(wide: int, narrow: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first pixel and the number of pixels of each of `narrow` boxes. A pixel belongs to the box of its
    centre.

    Pillow's BOX does the same. For a centre on the edge of two boxes it may take the other one, at sides such as 29.
    """
    scale = wide / narrow
    ends = ((np.arange(narrow) + 0.5) * scale + 0.5 * scale + 0.5).astype(int)
    starts = np.concatenate([[0], ends[:-1]])
    return starts, (ends - starts).astype(np.float32)


def pixelate(x: np.ndarray, draws: Draws, share: float) -> np.ndarray:
    """Bring pictures to `share` of their side by means over boxes, in 8 bits after each direction, and back."""
    down, across = ((side, max(int(side * share), 1)) for side in x.shape[1:3])
    starts, counts = _boxes(*across)
    x = np.rint(np.add.reduceat(x, starts, axis=2) * (255 / counts)[:, None])
    starts, counts = _boxes(*down)
    x = np.rint(np.add.reduceat(x, starts, axis=1) / counts[:, None, None]) / 255
    rows, columns = (((np.arange(side) + 0.5) * (few / side)).astype(int) for side, few in (down, across))
    return x[:, rows][:, :, columns]


def jpeg_compression(x: np.ndarray, draws: Draws, quality: int) -> np.ndarray:
    """Store pictures as JPEG, with colours at half the resolution, and read them again."""
    pictures = np.rint(x * 255).astype(np.uint8)
    decoded = []
    for one in pictures:
        _, stored = cv2.imencode('.jpg', one[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded.append(cv2.imdecode(stored, cv2.IMREAD_COLOR)[:, :, ::-1])
    return np.stack(decoded).astype(np.float32) / 255
