"""Writes shifts.json: what every shift made of three pictures when it was held against its sources.

python -m tests.goldens.shifts; the numbers were taken when the constants agreed with CIFAR-10-C's and ImageNet-C's and
the corruptions with PyPI's imagecorruptions (tests/shift/test_shift.py), on machines that may have neither.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from ibnnet_mx import shift

PATH = Path(__file__).with_name('shifts.json')
SIDES = (32, 64)  # the constants of CIFAR-10-C, those of ImageNet-C
POSITIONS = (0, 5, 11)


def pictures(side):
    """uint8 (3, side, side, 3): waves of three lengths and a step, without any library's resizing."""
    y, x = np.mgrid[:side, :side] / side
    found = []
    for number in range(len(POSITIONS)):
        planes = [
            np.sin(6 * x + plane + number)
            + 0.5 * np.cos(17 * y * (1 + 0.2 * plane))
            + 0.4 * np.sin(40 * (x + y * number))
            for plane in range(3)
        ]
        one = np.stack(planes, axis=2) + 0.6 * (x + y > 1)[..., None]
        found.append(255 * (one - one.min()) / (one.max() - one.min()))
    return np.stack(found).astype(np.uint8)


def measures(name, severity, side):
    """Of each picture: its mean, its mean change, and three weighted means, which tell where the change is."""
    x = pictures(side)
    y = shift.apply(x, POSITIONS, name, severity).astype(float)
    down, across = np.mgrid[:side, :side] / side - 0.5
    weights = [down, across, np.sin(50 * down) * np.sin(50 * across)]
    found = [y.mean(axis=(1, 2, 3)), np.abs(y - x).mean(axis=(1, 2, 3))]
    found += [(y.mean(axis=3) * weight).mean(axis=(1, 2)) for weight in weights]
    return np.stack(found, axis=1)


def main():
    table = {
        name: {
            str(side): [np.round(measures(name, severity, side), 2).tolist() for severity in shift.SEVERITIES]
            for side in SIDES
        }
        for name in shift.NAMES
    }
    rows = (f'"{name}": {json.dumps(sides)}' for name, sides in table.items())
    PATH.write_text('{\n' + ',\n'.join(rows) + '\n}\n')
    print(PATH, len(table))


if __name__ == '__main__':
    sys.exit(main())
