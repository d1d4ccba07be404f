"""Record files of pictures whose brightness tells their class."""

from __future__ import annotations

import numpy as np

from tests.record_sets import png, write

CLASSES = 4


def picture(number):
    """A gradient of a brightness that tells the class, number % CLASSES, and of a tint of its own."""
    ramp = np.linspace(-12, 12, 32)[:, None, None] + np.random.default_rng(number).uniform(-6, 6, 3)
    return np.clip(np.broadcast_to(40 + 50 * (number % CLASSES) + ramp, (32, 32, 3)), 0, 255).astype(np.uint8)


def write_graded(folder):
    """30 pictures, as the validation records of CIFAR-10."""
    write(folder / 'cifar10_val.rec', [png(picture(n)[..., ::-1]) for n in range(30)], [n % CLASSES for n in range(30)])
    return folder
