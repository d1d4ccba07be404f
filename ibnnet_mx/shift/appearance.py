"""Changes of appearance: the content of a picture stays where it is, its colours change.

They are this project's own, after IBN-Net (arXiv:1807.09441, section 3.1), by which InstanceNorm removes changes of
brightness, contrast, colours and style. Pictures are float32 (n, H, W, 3) in 0..1, RGB; draws: a numpy Generator for
each.
"""

from __future__ import annotations

import cv2
import numpy as np

from ibnnet_mx.shift import blur
from ibnnet_mx.shift.noise import Draws
from ibnnet_mx.shift.weather import GREY


def _either(draws: Draws, factor: float) -> np.ndarray:
    """Return float32 (n, 1, 1, 1): the factor or its inverse, each as often."""
    signs = [1 if draw.random() < 0.5 else -1 for draw in draws]
    return (np.float32(factor) ** np.array(signs, np.float32)).reshape(-1, 1, 1, 1)


def exposure(x: np.ndarray, draws: Draws, factor: float) -> np.ndarray:
    """Return all values times the factor, or divided by it."""
    return x * _either(draws, factor)


def contrast_gain(x: np.ndarray, draws: Draws, factor: float) -> np.ndarray:
    """Return each plane with its differences from its mean times the factor, or divided by it."""
    means = x.mean(axis=(1, 2), keepdims=True)
    return (x - means) * _either(draws, factor) + means


def color_cast(x: np.ndarray, draws: Draws, strength: float) -> np.ndarray:
    """Return planes times exp(strength * direction): a random direction of length 1 whose parts add up to 0."""
    directions = np.stack([draw.standard_normal(3) for draw in draws])
    directions -= directions.mean(axis=1, keepdims=True)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return x * np.exp(strength * directions).astype(np.float32)[:, None, None]


def hue(x: np.ndarray, draws: Draws, degrees: float) -> np.ndarray:
    """Turn HSV's hue by so many degrees, to either side. Value and saturation stay."""
    lines = x.reshape(-1, *x.shape[2:])
    colours = cv2.cvtColor(lines, cv2.COLOR_RGB2HSV).reshape(x.shape)
    turns = np.array([degrees if draw.random() < 0.5 else -degrees for draw in draws], np.float32)
    colours[..., 0] = (colours[..., 0] + turns[:, None, None]) % 360
    return cv2.cvtColor(colours.reshape(lines.shape), cv2.COLOR_HSV2RGB).reshape(x.shape)


def style(x: np.ndarray, draws: Draws, share: float) -> np.ndarray:
    """Change each plane's mean and deviation by `share`, to means near 0.45 and deviations from 0.12 to 0.32.

    The statistics of a picture are its style, arXiv:1703.06868. Half of a mean's change is common to the planes.
    """
    means = np.stack([0.45 + 0.1 * (draw.standard_normal(1) + draw.standard_normal(3)) for draw in draws])
    wide = np.stack([draw.uniform(0.12, 0.32, 3) for draw in draws])
    mean, spread = x.mean(axis=(1, 2), keepdims=True), x.std(axis=(1, 2), keepdims=True)
    means, wide = (values.astype(np.float32)[:, None, None] for values in (means, wide))
    other = (x - mean) * (wide / np.maximum(spread, np.float32(1 / 255))) + means
    return x + np.float32(share) * (np.clip(other, 0, 1) - x)


def grayscale(x: np.ndarray, draws: Draws, share: float) -> np.ndarray:
    """Move pictures by `share` towards their luminance."""
    return x + np.float32(share) * ((x @ GREY)[..., None] - x)


def invert(x: np.ndarray, draws: Draws, threshold: float) -> np.ndarray:
    """Return 1 - x for x at or above the threshold: solarised, and at 0 a negative."""
    return np.where(x >= np.float32(threshold), 1 - x, x)


def sketch(x: np.ndarray, draws: Draws, share: float) -> np.ndarray:
    """Move pictures by `share` towards a pencil drawing: luminance over blurred luminance, white if nothing changes."""
    grey = (x @ GREY)[..., None]
    around = blur.gaussian(grey, min(x.shape[1:3]) / 32)
    drawing = np.clip(grey / np.maximum(around.reshape(grey.shape), np.float32(1 / 255)), 0, 1) ** 3
    return x + np.float32(share) * (drawing - x)
