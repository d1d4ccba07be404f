"""Draw predictions for ibnnet predict --plot and --explain: each picture beside the networks' answers."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from ibnnet_mx.inference import gradcam
from ibnnet_mx.recordio.pixels.exif import APPLY
from ibnnet_mx.recordio.pixels.pictures import read_picture
from ibnnet_mx.report.figures import fonts, save_figure

MOST = 12  # pictures in a drawing; more would be too small to read
RED = 0.88  # the place of the brightest red in 'turbo'; beyond it colours become darker
STRONGEST = 0.65  # opacity of the colour at the hottest place


def overlay(crop, heat):
    """Return a crop, uint8 (H, W, 3), covered by the colours of its heat map (h, w), which is enlarged to it.

    The hottest place is red. A place with heat 0 or NaN stays as it was.
    """
    large = gradcam.enlarged(np.nan_to_num(heat, nan=0, posinf=0), crop.shape[:2])
    share = (large / (large.max() or 1))[:, :, None]
    colours = 255 * _colours()(share[:, :, 0])[:, :, :3]
    return np.rint(crop + STRONGEST * share * (colours - crop)).astype(np.uint8)


def _colours():
    """Return the colours of heat 0..1: 'turbo' up to its brightest red."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps['turbo'](np.linspace(0, RED, 256)))


class Look(NamedTuple):
    """The look of a drawing of predictions.

    seen: draw the pixels that the first network saw instead of the file's. heat: draw the overlay of each network too.
    shift: the change of the pictures, written beside their names. exif: as in read_picture().
    of: count of all pictures.
    """

    seen: bool = False
    heat: bool = False
    shift: str | None = None
    exif: str = APPLY
    of: int = 0


def words_of(results):
    """Return the texts of a drawing of results: names of files and classes."""
    files = [os.path.basename(file) for file, _ in results]
    return [*files, *(name for _, views in results for view in views for _, name, _ in view.top)]


def draw_predictions(option, path, results, look):
    """Draw the first MOST pictures. results: (picture file, [predictor.Result of each network]).

    look: a Look. option: the name of the option, for errors. Raises OptionError if the file cannot be written.
    """
    with fonts(words_of(results)):
        save_figure(option, path, _figure(results[:MOST], look))


def _figure(shown, look):
    from matplotlib.figure import Figure

    several = len(shown[0][1]) > 1
    kinds = [kind for _ in shown[0][1] for kind in (['heat', 'bars'] if look.heat else ['bars'])]
    widths = [1, *(1 if kind == 'heat' else 2 for kind in kinds)]
    figure = Figure(figsize=(3 * sum(widths), 2.4 * len(shown) + 0.6 * look.heat), layout='constrained')
    grid = figure.subplots(len(shown), len(widths), squeeze=False, width_ratios=widths)
    for row, (file, views) in zip(grid, shown):
        title = ', '.join(filter(None, [os.path.basename(file), look.shift]))
        _picture(row[0], views[0].crop if look.seen else _photograph(file, look.exif), title)
        cells = iter(row[1:])
        for view in views:
            if look.heat:
                _picture(next(cells), overlay(view.crop, view.heat), f'for {_short(view.explained, 30)}')
            _bars(next(cells), view.top, view.title if several else '')
    if look.heat:
        _scale(figure, [axes for axes, kind in zip(grid[-1, 1:], kinds) if kind == 'heat'])
    if look.of > len(shown):
        figure.supxlabel(f'the first {len(shown)} of {look.of:,} pictures', fontsize=9)
    return figure


def _scale(figure, columns):
    """Draw the scale of the heat below each column of maps."""
    from matplotlib.cm import ScalarMappable

    for axes in columns:
        bar = figure.colorbar(ScalarMappable(cmap=_colours()), ax=axes, location='bottom', shrink=0.8, aspect=15)
        bar.set_ticks([0, 1], labels=['not at all', 'most'], fontsize=8)
        bar.set_label('speaks for the class', fontsize=8)


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
