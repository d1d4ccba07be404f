"""Draw predictions for ibnnet predict --plot and --explain: each picture beside the networks' answers."""

from __future__ import annotations

import os

import numpy as np

from ibnnet_mx.inference import gradcam
from ibnnet_mx.recordio.pixels.exif import APPLY
from ibnnet_mx.recordio.pixels.pictures import read_picture
from ibnnet_mx.report.figures import save_figure

MOST = 12  # pictures in a drawing; more would be too small to read
RED = 0.88  # the place of the brightest red in 'turbo'; beyond it colours become darker
STRONGEST = 0.65  # opacity of the colour at the hottest place


def overlay(crop, heat):
    """Return a crop, uint8 (H, W, 3), covered by the colours of its heat map (h, w), which is enlarged to it.

    The hottest place is red. A place with heat 0 or NaN stays as it was.
    """
    from matplotlib import colormaps

    large = gradcam.enlarged(np.nan_to_num(heat, nan=0, posinf=0), crop.shape[:2])
    share = (large / (large.max() or 1))[:, :, None]
    colours = 255 * colormaps['turbo'](RED * share[:, :, 0])[:, :, :3]
    return np.rint(crop + STRONGEST * share * (colours - crop)).astype(np.uint8)


def draw_predictions(option, path, results, seen=False, heat=False, shift=None, exif=APPLY):
    """Draw the first MOST pictures. results: (picture file, [predictor.Result of each network]).

    seen: draw the pixels that the first network saw instead of the file's. heat: draw the overlay of each network too.
    shift: the change of the pictures, written beside their names. exif: as in read_picture(). option: the name of the
    option, for errors.
    Raises OptionError if the file cannot be written.
    """
    from matplotlib.figure import Figure

    shown = results[:MOST]
    several = len(shown[0][1]) > 1
    kinds = [kind for _ in shown[0][1] for kind in (['heat', 'bars'] if heat else ['bars'])]
    widths = [1, *(1 if kind == 'heat' else 2 for kind in kinds)]
    figure = Figure(figsize=(3 * sum(widths), 2.4 * len(shown)), layout='constrained')
    for row, (file, views) in zip(figure.subplots(len(shown), len(widths), squeeze=False, width_ratios=widths), shown):
        title = ', '.join(filter(None, [os.path.basename(file), shift]))
        _picture(row[0], views[0].crop if seen else _photograph(file, exif), title)
        cells = iter(row[1:])
        for view in views:
            if heat:
                _picture(next(cells), overlay(view.crop, view.heat), f'for {_short(view.explained, 30)}')
            _bars(next(cells), view.top, view.network if several else '')
    save_figure(option, path, figure)


def _photograph(file, exif):
    return read_picture(file, exif=exif)[:, :, ::-1]


def _short(text, most=40):
    return text if len(text) <= most else text[: most - 1] + '…'


def _picture(axes, pixels, title):
    axes.imshow(pixels)
    axes.set_title(title, fontsize=9, parse_math=False)  # names may hold $
    axes.axis('off')


def _bars(axes, top, title):
    values = [p for _, _, p in top]
    places = range(len(top))
    axes.barh(places, values, color=['tab:blue'] + ['tab:gray'] * (len(top) - 1))
    axes.set_yticks(places, [_short(name) for _, name, _ in top], fontsize=9, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    for place, value in zip(places, values):
        inside = value > 0.85
        axes.text(
            value,
            place,
            f' {value:.1%} ',
            va='center',
            ha='right' if inside else 'left',
            fontsize=8,
            color='white' if inside else 'black',
        )
    axes.set_xlabel('probability', fontsize=8)
    axes.set_title(title if len(title) <= 60 else f'…{title[-59:]}', fontsize=8, parse_math=False)
