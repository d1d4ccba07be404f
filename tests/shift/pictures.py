"""Pictures to shift, and the draws that shift them."""

import cv2
import numpy as np


def pictures(count, side, seed=0):
    """uint8 (count, side, side, 3) with large and small shapes in them, as photographs have."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        layers = [
            cv2.resize(draw.standard_normal((cells, cells, 3)), (side, side), interpolation=cv2.INTER_CUBIC)
            / cells**0.7
            for cells in (2, 4, 8, 16)
        ]
        one = sum(layers)
        found.append(255 * (one - one.min()) / (one.max() - one.min()))
    return np.stack(found).astype(np.uint8)


def draws(count, seed=0):
    return [np.random.default_rng([seed, number]) for number in range(count)]
