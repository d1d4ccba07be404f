"""Draw the confusion matrix of an evaluation."""

from __future__ import annotations

import numpy as np

from ibnnet_mx.report.figures import fonts, save_figure

NAMED = 40  # with more classes, the matrix has no names at its sides
COUNTED = 15  # with more classes, the cells have no numbers
MOST = 1000  # with more classes, only those that are confused most are drawn


def draw_confusion(path, result, keys):
    """Draw how often each class (a row) is taken for each other (a column), as shares of the row.

    With more than MOST classes, the NAMED ones with the most mistakes are drawn: the whole matrix of 10,000 classes
    would take 9 GB.

    result: classification.Result. keys: names of the classes. Raises OptionError for confusion.
    """
    with fonts(keys):
        save_figure('confusion', path, _figure(result, keys))


def _figure(result, keys):
    from matplotlib.figure import Figure

    among = np.arange(result.classes) if result.classes <= MOST else result.most_confused(NAMED)
    counts, classes, keys = result.confusion(among), len(among), [keys[number] for number in among]
    shares = counts / np.maximum(np.bincount(result.labels, minlength=result.classes), 1)[among, None]
    side = min(max(4.0, 0.45 * classes + 2.5), 14.0)
    figure = Figure(figsize=(side + 0.8, side), layout='constrained')
    axes = figure.subplots()
    image = axes.imshow(100 * shares, cmap='Blues', vmin=0, vmax=100)
    part = f'\nthe {classes} of {result.classes:,} classes with the most mistakes' if classes < result.classes else ''
    right = np.mean(result.predicted == result.labels)
    axes.set_title(f'{right:.2%} of {len(result.labels):,} pictures are right{part}', fontsize=10)
    axes.set_xlabel('the network says')
    axes.set_ylabel('class of the picture')
    if classes <= NAMED:
        names = [key if len(key) <= 24 else key[:23] + '…' for key in keys]
        axes.set_xticks(range(classes), names, rotation=90, fontsize=8, parse_math=False)  # names may hold $
        axes.set_yticks(range(classes), names, fontsize=8, parse_math=False)
    for row, column in np.argwhere(counts) if classes <= COUNTED else ():
        colour = 'white' if shares[row, column] > 0.5 else 'black'
        axes.text(column, row, counts[row, column], ha='center', va='center', fontsize=7, color=colour)
    numbers = '; numbers: pictures' if classes <= COUNTED else ''
    figure.colorbar(image, label=f'colour: % of the class{numbers}', shrink=0.8)
    return figure
