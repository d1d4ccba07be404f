"""Record files of pictures whose brightness tells their class."""

from __future__ import annotations

import numpy as np

from ibnnet_mx import data
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


class Model:
    """Tells classes by brightness; what it is fed are values of this mean and std."""

    names, classes, size, fixed = (), CLASSES, 32, False

    def __init__(self, label='--model a', mean=0.0, std=1.0, offset=0.0):
        self.label, self.offset, self.input = label, offset, data.Input(32, (mean,) * 3, (std,) * 3)

    def predict(self, pictures):
        bright = pictures.asnumpy().mean(axis=(1, 2, 3)) * self.input.std[0] + self.input.mean[0] + self.offset
        return (-np.abs(bright[:, None] - 40 - 50 * np.arange(CLASSES)) / 10).astype(np.float32)
