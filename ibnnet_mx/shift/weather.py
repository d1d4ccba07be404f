"""Weather of arXiv:1903.12261. Pictures are float32 (n, H, W, 3) in 0..1, RGB; draws: a numpy Generator for each."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from ibnnet_mx.shift import blur
from ibnnet_mx.shift.noise import Draws

GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
# Mean and deviation of R, G and B in 0..255 of the five photographs that hendrycks/robustness lays over pictures.
PANES = (
    ((78, 149, 166), (27, 16, 15)),
    ((201, 205, 214), (21, 22, 23)),
    ((201, 205, 214), (21, 22, 23)),
    ((138, 153, 165), (28, 28, 30)),
    ((112, 123, 135), (44, 43, 42)),
)
PANE = 512  # pixels


def snow(x: np.ndarray, draws: Draws, mean: float, deviation: float, zoom: float, *rest: float) -> np.ndarray:
    """Return pictures under flakes in motion, and whitened. rest: least, radius, sigma, share.

    Flakes are normal noise of that mean and deviation, enlarged by zoom. Values below `least` are left out, the others
    are moved as in blur.moved. The picture keeps a `share` of itself; the rest of it becomes as bright as snow.
    """
    least, radius, sigma, share = rest
    layers = []
    for draw in draws:
        flakes = draw.standard_normal(x.shape[1:3], np.float32) * np.float32(deviation) + np.float32(mean)
        flakes = blur.zoomed(flakes, zoom)
        flakes = (np.clip(np.where(flakes < least, 0, flakes), 0, 1) * 255).astype(np.uint8)
        layer = blur.moved(flakes, int(radius), sigma, draw.uniform(-135, -45)).astype(np.float32) / 255
        layers.append(layer + np.rot90(layer, 2))
    whiter = np.maximum(x, (x @ GREY * 1.5 + 0.5)[..., None])
    return np.float32(share) * x + np.float32(1 - share) * whiter + np.stack(layers)[..., None]


def _needles(draw: np.random.Generator, count: int, length: float) -> np.ndarray:
    """Return float32 (PANE, PANE): crystals with side branches at 60 degrees, brighter if they lie over each other."""
    paper = np.zeros((PANE, PANE), np.float32)
    for place, angle, size in zip(
        draw.uniform(0, PANE, (count, 2)), draw.uniform(0, 2 * np.pi, count), draw.gamma(3, length / 3, count)
    ):
        layer, along = np.zeros_like(paper, np.uint8), np.array([np.cos(angle), np.sin(angle)])
        lines = [(place, place + size * along)]
        for share in np.arange(0.15, 1, 0.1):
            for side in (-np.pi / 3, np.pi / 3):
                turned = np.array([np.cos(angle + side), np.sin(angle + side)])
                root = place + share * size * along
                lines.append((root, root + 0.35 * (1 - share) * size * turned))
        for line in lines:
            begin, end = (np.round(point * 16).astype(int).tolist() for point in line)
            cv2.line(layer, begin, end, (255,), 1, cv2.LINE_AA, shift=4)
        paper += layer * np.float32(draw.uniform(0.3, 1) / 255)
    return paper


@lru_cache(maxsize=None)
def panes() -> tuple[np.ndarray, ...]:
    """Return float32 (PANE, PANE, 3) in 0..1: frosted panes with the colours of PANES.

    The original lays photographs over the pictures. These panes are drawn, with the photographs' means and deviations:
    a picture loses as much, and the patterns differ.
    """
    drawn = []
    for number, (mean, deviation) in enumerate(PANES):
        draw = np.random.default_rng(number)
        ice = np.zeros((PANE, PANE), np.float32)
        for level, cells in enumerate((4, 8, 16, 32, 64)):
            octave = draw.standard_normal((cells, cells), np.float32)
            ice += cv2.resize(octave, (PANE, PANE), interpolation=cv2.INTER_CUBIC) * 0.6**level
        crystals = cv2.GaussianBlur(_needles(draw, 500, 90.0), (0, 0), 0.7)
        relief = ice / ice.std() + 1.2 * crystals / crystals.std()
        relief = (relief - relief.mean()) / relief.std()
        pane = relief[..., None] * np.array(deviation, np.float32) + np.array(mean, np.float32)
        drawn.append((np.clip(pane, 0, 255) / 255).astype(np.float32))
    return tuple(drawn)


def frost(x: np.ndarray, draws: Draws, share: float, strength: float) -> np.ndarray:
    """Return share * x + strength * a piece of a frosted pane, at a fifth of its size for pictures of 32 pixels."""
    shape = np.array(x.shape[1:3])
    pieces = []
    for draw in draws:
        pane = panes()[draw.integers(len(PANES))]
        high, wide = taken = np.minimum(PANE, shape * 5 if shape.min() <= 64 else shape)
        top, left = draw.integers(0, PANE - taken + 1)
        piece = pane[top : top + high, left : left + wide]
        same = (taken == shape).all()
        pieces.append(piece if same else cv2.resize(piece, x.shape[2:0:-1], interpolation=cv2.INTER_AREA))
    return np.float32(share) * x + np.float32(strength) * np.stack(pieces)


def plasma(u: np.ndarray, decay: float) -> np.ndarray:
    """Return float32 (n, M, M) in 0..1, M a power of two: clouds by the diamond-square algorithm on a torus.

    u: uniform in -1..1, (n, M, M), by which each point is moved. Halving the grid divides the movement by decay
    squared.
    """
    clouds, step, reach = np.zeros_like(u), u.shape[1], np.float32(1)
    while step >= 2:
        half = step // 2
        corners = clouds[:, ::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=1)
        centres = (pairs + np.roll(pairs, -1, axis=2)) / 4 + reach * u[:, half::step, half::step]
        clouds[:, half::step, half::step] = centres
        for axis, place in ((1, np.s_[:, ::step, half::step]), (2, np.s_[:, half::step, ::step])):
            around = centres + np.roll(centres, 1, axis=axis) + corners + np.roll(corners, -1, axis=3 - axis)
            clouds[place] = around / 4 + reach * u[place]
        step, reach = half, reach / np.float32(decay**2)
    clouds -= clouds.min(axis=(1, 2), keepdims=True)
    return clouds / clouds.max(axis=(1, 2), keepdims=True)


def fog(x: np.ndarray, draws: Draws, strength: float, decay: float) -> np.ndarray:
    """Return x + strength * clouds, then darkened so that the picture's brightest value stays the same."""
    height, width = x.shape[1:3]
    cells = 1 << (max(height, width) - 1).bit_length()
    clouds = plasma(np.stack([draw.random((cells, cells), np.float32) * 2 - 1 for draw in draws]), decay)
    brightest = x.max(axis=(1, 2, 3), keepdims=True)
    clouds = np.float32(strength) * clouds[:, :height, :width, None]
    return (x + clouds) * brightest / (brightest + np.float32(strength))


def brightness(x: np.ndarray, draws: Draws, more: float) -> np.ndarray:
    """Raise HSV's value by `more`; hue and saturation stay."""
    value = x.max(axis=3, keepdims=True)
    higher = np.minimum(value + np.float32(more), 1)
    return np.where(value > 0, x * (higher / np.maximum(value, np.float32(1e-6))), higher)
