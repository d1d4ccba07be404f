"""The picture of predict.py --plot: each photograph beside bars of its most probable classes."""

from __future__ import annotations

import os

from ibnnet_mx.cli.plot import SUFFIXES

MOST = 12  # pictures drawn; more would be too small to read


def check(path):
    """ValueError names --plot where the file's kind cannot be drawn or matplotlib is missing."""
    if os.path.splitext(path)[1].lower() not in SUFFIXES:
        raise ValueError(f'--plot {path}: the name must end in {", ".join(SUFFIXES)}')
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ValueError('--plot needs matplotlib: pip install matplotlib') from None


def draw(results, path):
    """results: (picture file, rows of (label, name, probability)); writes path."""
    import cv2
    from matplotlib.figure import Figure

    shown = results[:MOST]
    figure = Figure(figsize=(9, 2.4 * len(shown)), layout='constrained')
    axes = figure.subplots(len(shown), 2, squeeze=False, width_ratios=(1, 2))
    for (left, right), (file, top) in zip(axes, shown):
        left.imshow(cv2.imread(file, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)[:, :, ::-1])
        left.set_title(os.path.basename(file), fontsize=9)
        left.axis('off')
        names = [name if len(name) <= 40 else name[:39] + '…' for _, name, _ in top]
        values = [p for _, _, p in top]
        places = range(len(top))
        right.barh(places, values, color=['tab:blue'] + ['tab:gray'] * (len(top) - 1))
        right.set_yticks(places, names, fontsize=9)
        right.invert_yaxis()
        right.set_xlim(0, 1)
        for place, value in zip(places, values):
            inside = value > 0.85
            right.text(
                value,
                place,
                f' {value:.1%} ',
                va='center',
                ha='right' if inside else 'left',
                fontsize=8,
                color='white' if inside else 'black',
            )
        right.set_xlabel('probability', fontsize=8)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    figure.savefig(path, dpi=110)
