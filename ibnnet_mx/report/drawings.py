"""The pictures that evaluate.py draws: what the network sees, and what it takes for what."""

from __future__ import annotations

import os
import sys

import numpy as np

from ibnnet_mx import shift
from ibnnet_mx.files import outputs
from ibnnet_mx.recordio.inspection import sheet
from ibnnet_mx.report import explanations

MOST = 24  # pictures of a sheet
NAMED = 40  # classes up to which a confusion matrix has their names at its sides
COUNTED = 15  # classes up to which it has the numbers in its cells


def check(sheet_file, confusion_file):
    """ValueError names the option whose file is of a kind that cannot be drawn, or that is not its own."""
    if sheet_file is not None:
        if os.path.splitext(sheet_file)[1].lower() not in sheet.SUFFIXES:
            raise ValueError(f'--sheet {sheet_file}: the name must end in {", ".join(sheet.SUFFIXES)}')
        outputs.writable('--sheet', sheet_file)
    if confusion_file is not None:
        explanations.check('--confusion', confusion_file)
        if sheet_file is not None and os.path.abspath(sheet_file) == os.path.abspath(confusion_file):
            raise ValueError(f'--sheet {sheet_file} is the file of --confusion: name another')


def _taken(pictures, places):
    """The pictures (n, S, S, 3) at some places of an Evaluation, their labels, and their positions in the file."""
    kept, labels, found, wanted, count = [], [], [], set(places), 0
    for batch, positions, own in pictures.raw():
        for number in range(len(batch)):
            if count + number in wanted:
                kept.append(batch[number])
                labels.append(int(own[number]))
                found.append(int(positions[number]))
        count += len(batch)
        if len(kept) == len(wanted):
            break
    return np.stack(kept), labels, found


def draw_sheet(path, pictures, model, keys, wanted, seed):
    """Pictures as the network sees them, each with its class and what the network says; with shifts, the first one.

    pictures: data.Evaluation of raw pixels. keys: names of the classes. wanted: (name, severity) pairs, [] for none.
    """
    import cv2

    from ibnnet_mx import data
    from ibnnet_mx.metrics import classification

    def said(seen):
        return classification.predictions(model.predict(data.normalised(seen, model.input))).tolist()

    def name(number):
        return 'NaN' if number < 0 else keys[number]

    if not wanted:
        seen, labels, _ = _taken(pictures, sheet.spread(pictures.count, MOST).tolist())
        cells = [
            sheet.Cell([picture[..., ::-1]], name(label), f'says {name(told)}')
            for picture, label, told in zip(seen, labels, said(seen))
        ]
    else:
        seen, _, position = _taken(pictures, [0])
        severities = sorted({severity for _, severity in wanted})
        empty, cells = np.full_like(seen[0], sheet.EMPTY), []
        for which in dict.fromkeys(one for one, _ in wanted):
            there = [level for level in severities if (which, level) in wanted]
            changed = {level: shift.apply(seen, position, which, level, seed)[0] for level in there}
            told = said(np.stack([seen[0], *changed.values()]))
            words = ', '.join(f'{level}: {name(one)}' for level, one in zip(['clean', *there], told))
            tiles = [seen[0], *(changed.get(level, empty) for level in severities)]
            cells.append(sheet.Cell([tile[..., ::-1] for tile in tiles], which, words))
    try:
        drawn = sheet.of_cells(cells, 'use a smaller --crop-size or fewer of --shift')
    except ValueError as error:
        raise ValueError(f'--sheet {path}: {error}') from None
    if not cv2.imwrite(path, drawn):
        raise ValueError(f'--sheet {path} cannot be written: name another file')
    print(f'evaluate: --sheet {path} is written', file=sys.stderr)


def draw_confusion(path, result, keys):
    """result: classification.Result. Rows are the pictures' classes, coloured by shares of the class."""
    from matplotlib.figure import Figure

    counts, classes = result.confusion(), result.classes
    shares = counts / np.maximum(np.bincount(result.labels, minlength=classes), 1)[:, None]
    side = min(max(4.0, 0.45 * classes + 2.5), 14.0)
    figure = Figure(figsize=(side + 0.8, side), layout='constrained')
    axes = figure.subplots()
    image = axes.imshow(100 * shares, cmap='Blues', vmin=0, vmax=100)
    axes.set_xlabel('the network says')
    axes.set_ylabel('class of the picture')
    if classes <= NAMED:
        names = [key if len(key) <= 24 else key[:23] + '…' for key in keys]
        axes.set_xticks(range(classes), names, rotation=90, fontsize=8, parse_math=False)  # names may hold $
        axes.set_yticks(range(classes), names, fontsize=8, parse_math=False)
    for row, column in np.argwhere(counts) if classes <= COUNTED else ():
        colour = 'white' if shares[row, column] > 0.5 else 'black'
        axes.text(column, row, counts[row, column], ha='center', va='center', fontsize=7, color=colour)
    figure.colorbar(image, label='% of the class', shrink=0.8)
    explanations.save('--confusion', path, figure)
    print(f'evaluate: --confusion {path} is written', file=sys.stderr)
