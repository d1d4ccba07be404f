"""The pictures that evaluate.py draws: what the network sees, and what it takes for what."""

from __future__ import annotations

import os
import sys

import numpy as np

from ibnnet_mx import shift
from ibnnet_mx.cli import plot
from ibnnet_mx.recordio import sheet

MOST = 24  # pictures of a sheet
NAMED = 40  # classes up to which a confusion matrix has their names at its sides
COUNTED = 15  # classes up to which it has the numbers in its cells


def check(sheet_file, confusion_file):
    """ValueError names the option whose file is of a kind that cannot be drawn, or lies in no folder."""
    for option, path, suffixes in (
        ('--sheet', sheet_file, sheet.SUFFIXES),
        ('--confusion', confusion_file, plot.SUFFIXES),
    ):
        if path is None:
            continue
        if os.path.splitext(path)[1].lower() not in suffixes:
            raise ValueError(f'{option} {path}: the name must end in {", ".join(suffixes)}')
        folder = os.path.dirname(os.path.abspath(path))
        if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
            raise ValueError(f'{option} {path}: {folder} is no folder that can be written')
    if confusion_file is not None:
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            raise ValueError('--confusion needs matplotlib: pip install matplotlib') from None


def _taken(pictures, places):
    """The pictures (n, S, S, 3) at some places of an Evaluation, and their labels."""
    kept, labels, wanted, count = [], [], set(places), 0
    for batch, _, own in pictures.raw():
        for number in range(len(batch)):
            if count + number in wanted:
                kept.append(batch[number])
                labels.append(int(own[number]))
        count += len(batch)
    return np.stack(kept), labels


def draw_sheet(path, pictures, model, keys, wanted, seed):
    """Pictures as the network sees them, each with its class and what the network says; with shifts, the first one.

    pictures: data.Evaluation of raw pixels. keys: names of the classes. wanted: (name, severity) pairs, [] for none.
    """
    import cv2

    from ibnnet_mx import data, scoring

    def said(seen):
        return scoring.predictions(model.predict(data.normalised(seen, model.input))).tolist()

    def name(number):
        return 'NaN' if number < 0 else keys[number]

    if not wanted:
        seen, labels = _taken(pictures, sheet.spread(pictures.count, MOST).tolist())
        cells = [
            sheet.Cell([picture[..., ::-1]], name(label), f'says {name(told)}')
            for picture, label, told in zip(seen, labels, said(seen))
        ]
    else:
        seen, labels = _taken(pictures, [0])
        severities = sorted({severity for _, severity in wanted})
        empty, cells = np.full_like(seen[0], sheet.EMPTY), []
        for which in dict.fromkeys(one for one, _ in wanted):
            there = [level for level in severities if (which, level) in wanted]
            changed = {level: shift.apply(seen, [0], which, level, seed)[0] for level in there}
            told = said(np.stack([seen[0], *changed.values()]))
            words = ', '.join(f'{level}: {name(one)}' for level, one in zip(['clean', *there], told))
            tiles = [seen[0], *(changed.get(level, empty) for level in severities)]
            cells.append(sheet.Cell([tile[..., ::-1] for tile in tiles], which, words))
    if not cv2.imwrite(path, sheet.of_cells(cells)):
        raise ValueError(f'--sheet {path} cannot be written')
    print(f'evaluate: --sheet {path} is written', file=sys.stderr)


def draw_confusion(path, counts, keys):
    """counts: int (classes, classes), rows the pictures' classes. Each row is coloured by its shares."""
    from matplotlib.figure import Figure

    classes = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(4.0, 0.45 * classes + 2.5), 14.0)
    figure = Figure(figsize=(side + 0.8, side), layout='constrained')
    axes = figure.subplots()
    image = axes.imshow(100 * shares, cmap='Blues', vmin=0, vmax=100)
    axes.set_xlabel('the network says')
    axes.set_ylabel('class of the picture')
    if classes <= NAMED:
        names = [key if len(key) <= 24 else key[:23] + '…' for key in keys]
        axes.set_xticks(range(classes), names, rotation=90, fontsize=8)
        axes.set_yticks(range(classes), names, fontsize=8)
    for row, column in np.argwhere(counts) if classes <= COUNTED else ():
        colour = 'white' if shares[row, column] > 0.5 else 'black'
        axes.text(column, row, counts[row, column], ha='center', va='center', fontsize=7, color=colour)
    figure.colorbar(image, label='% of the class', shrink=0.8)
    figure.savefig(path, dpi=110)
    print(f'evaluate: --confusion {path} is written', file=sys.stderr)
