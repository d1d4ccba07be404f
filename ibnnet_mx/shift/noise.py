"""Noise of arXiv:1903.12261. Pictures are float32 (n, H, W, 3) in 0..1; draws: a numpy Generator for each."""

from __future__ import annotations

from typing import Sequence

import numpy as np

Draws = Sequence[np.random.Generator]


def gaussian_noise(x: np.ndarray, draws: Draws, deviation: float) -> np.ndarray:
    """Return x + deviation * N(0, 1): an electronic sensor in low light."""
    noise = np.stack([draw.standard_normal(x.shape[1:], np.float32) for draw in draws])
    noise *= np.float32(deviation)
    noise += x
    return noise


def shot_noise(x: np.ndarray, draws: Draws, photons: float) -> np.ndarray:
    """Return Poisson(photons * x) / photons: white light comes in `photons` pieces."""
    counts = np.stack([draw.poisson(one) for draw, one in zip(draws, x * np.float32(photons))])
    return counts.astype(np.float32) / np.float32(photons)


def impulse_noise(x: np.ndarray, draws: Draws, share: float) -> np.ndarray:
    """Add salt and pepper: a `share` of all values becomes 0 or 1, each as often."""
    u = np.stack([draw.random(x.shape[1:], np.float32) for draw in draws])
    return np.where(u >= np.float32(share), x, (u < np.float32(share / 2)).astype(np.float32))
