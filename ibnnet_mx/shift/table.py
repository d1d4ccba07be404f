"""The table of shifts: their groups, and the strength of each at severities 1 to 5. Pure Python."""

from __future__ import annotations

import difflib
from typing import Any

from ibnnet_mx.errors import OptionError

SEVERITIES = (1, 2, 3, 4, 5)
SMALL = 48  # pictures up to this side take the constants of 32 pixels, larger ones those of 224

# The four groups of arXiv:1903.12261, and the changes of appearance of IBN-Net (arXiv:1807.09441).
GROUPS: dict[str, tuple[str, ...]] = {
    'noise': ('gaussian_noise', 'shot_noise', 'impulse_noise'),
    'blur': ('defocus_blur', 'glass_blur', 'motion_blur', 'zoom_blur'),
    'weather': ('snow', 'frost', 'fog', 'brightness'),
    'digital': ('contrast', 'elastic_transform', 'pixelate', 'jpeg_compression'),
    'appearance': ('exposure', 'contrast_gain', 'color_cast', 'hue', 'style', 'grayscale', 'invert', 'sketch'),
}
CORRUPTIONS = tuple(name for group in ('noise', 'blur', 'weather', 'digital') for name in GROUPS[group])
NAMES = tuple(name for names in GROUPS.values() for name in names)

# name: five severities at 32 pixels (CIFAR-10-C), five at 224 (ImageNet-C). The numbers are those of
# hendrycks/robustness, ImageNet-C/create_c/make_cifar_c.py and make_imagenet_c.py; the function of that
# name explains each. zoom_blur: the largest factor and the step from 1 up to it.
CONSTANTS: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    'gaussian_noise': ((0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38)),
    'shot_noise': ((500, 250, 100, 75, 50), (60, 25, 12, 5, 3)),
    'impulse_noise': ((0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27)),
    'defocus_blur': (
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    'glass_blur': (
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    ),
    'motion_blur': (
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    'zoom_blur': (
        ((1.06, 0.01), (1.11, 0.01), (1.15, 0.01), (1.20, 0.01), (1.25, 0.01)),
        ((1.11, 0.01), (1.15, 0.01), (1.20, 0.02), (1.24, 0.02), (1.30, 0.03)),
    ),
    'snow': (
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    'frost': (
        ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    ),
    'fog': (
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    'brightness': ((0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5)),
    'contrast': ((0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
    'elastic_transform': (
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        tuple(
            tuple(244 / 224 * share for share in row)  # the original's side of 224 is 244 here
            for row in ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
        ),
    ),
    'pixelate': ((0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25)),
    'jpeg_compression': ((80, 65, 58, 50, 40), (25, 18, 15, 10, 7)),
}
# This project's own, the same at every size.
APPEARANCE: dict[str, tuple[float, ...]] = {
    'exposure': (1.2, 1.45, 1.75, 2.1, 2.6),
    'contrast_gain': (1.2, 1.5, 1.9, 2.5, 3.5),
    'color_cast': (0.1, 0.2, 0.3, 0.45, 0.6),
    'hue': (20, 45, 80, 120, 180),
    'style': (0.2, 0.4, 0.6, 0.8, 1.0),
    'grayscale': (0.2, 0.4, 0.6, 0.8, 1.0),
    'invert': (0.9, 0.7, 0.5, 0.25, 0.0),
    'sketch': (0.2, 0.4, 0.6, 0.8, 1.0),
}


def constants(name: str, severity: int, side: int) -> tuple[Any, ...]:
    """Return the numbers that the function of that name takes for pictures whose short side has so many pixels."""
    severities = APPEARANCE.get(name) or CONSTANTS[name][side > SMALL]
    row = severities[severity - 1]
    return row if isinstance(row, tuple) else (row,)


def group_of(name: str) -> str:
    """Return the group of a shift."""
    return next(group for group, names in GROUPS.items() if name in names)


def chosen(text: str) -> list[tuple[str, int]]:
    """Return (name, severity) of each shift that a text asks for, in the order of the table.

    text: names or groups, separated by commas, each with or without a :severity, such as 'all', 'blur',
    'fog:3,noise:5', 'appearance'; 'all' means the 15 corruptions. Raises OptionError for shift.
    """
    wanted = set()
    for part in text.split(','):
        word, colon, level = part.strip().partition(':')
        names = CORRUPTIONS if word == 'all' else GROUPS.get(word, (word,))
        if names[0] not in NAMES:
            known = ['all', *GROUPS, *NAMES]
            near = difflib.get_close_matches(word, known, 2)
            hint = f': did you mean {" or ".join(near)}?' if near else ';'
            raise OptionError('shift', text, f': there is no {word!r}{hint} there are {", ".join(known)}')
        if colon and level not in map(str, SEVERITIES):
            raise OptionError('shift', text, f': severity {level!r} of {word} must be 1, 2, 3, 4 or 5')
        wanted |= {(name, severity) for name in names for severity in ((int(level),) if colon else SEVERITIES)}
    return sorted(wanted, key=lambda one: (NAMES.index(one[0]), one[1]))
