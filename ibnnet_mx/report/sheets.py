"""Sheets of pictures as a network sees them, with their classes and what the network says."""

from __future__ import annotations

import cv2
import numpy as np

from ibnnet_mx import data, shift
from ibnnet_mx.errors import OptionError
from ibnnet_mx.metrics import classification
from ibnnet_mx.recordio.inspection import sheet

MOST = 24  # pictures of a sheet


def _taken(pictures, places):
    """The pictures (n, S, S, 3) at some places of an Evaluation, their labels, and their positions in the file."""
    chosen, labels, places_of, wanted, count = [], [], [], set(places), 0
    for batch, positions, labels_of in pictures.raw():
        for number in range(len(batch)):
            if count + number in wanted:
                chosen.append(batch[number])
                labels.append(int(labels_of[number]))
                places_of.append(int(positions[number]))
        count += len(batch)
        if len(chosen) == len(wanted):
            break
    return np.stack(chosen), labels, places_of


def draw_sheet(path, pictures, model, keys, wanted, seed):
    """Pictures as the network sees them, each with its class and what the network says; with shifts, the first one.

    pictures: data.Evaluation of raw pixels. keys: names of the classes. wanted: (name, severity) pairs, [] for none.
    """

    def said(seen):
        return classification.predictions(model.predict(data.normalise(seen, model.input))).tolist()

    def name(number):
        return 'NaN' if number < 0 else keys[number]

    if not wanted:
        seen, labels, _ = _taken(pictures, sheet.spread(pictures.count, MOST).tolist())
        cells = [
            sheet.Cell([picture[..., ::-1]], name(label), f'says {name(answers)}')
            for picture, label, answers in zip(seen, labels, said(seen))
        ]
    else:
        seen, _, position = _taken(pictures, [0])
        severities = sorted({severity for _, severity in wanted})
        empty, cells = np.full_like(seen[0], sheet.EMPTY), []
        for which in dict.fromkeys(one for one, _ in wanted):
            levels = [level for level in severities if (which, level) in wanted]
            changed = {level: shift.apply(seen, position, which, level, seed)[0] for level in levels}
            answers = said(np.stack([seen[0], *changed.values()]))
            words = ', '.join(f'{level}: {name(one)}' for level, one in zip(['clean', *levels], answers))
            tiles = [seen[0], *(changed.get(level, empty) for level in severities)]
            cells.append(sheet.Cell([tile[..., ::-1] for tile in tiles], which, words))
    try:
        drawn = sheet.lay_cells(cells, 'use a smaller `crop_size` or fewer of `shift`')
    except ValueError as error:
        raise OptionError('sheet', path, f': {error}') from None
    if not cv2.imwrite(path, drawn):
        raise OptionError('sheet', path, 'cannot be written: name another file')
