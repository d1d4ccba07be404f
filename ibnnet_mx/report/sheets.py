"""Draw sheets of pictures as a network sees them, with their classes and the network's answers."""

from __future__ import annotations

import os

import cv2
import numpy as np

from ibnnet_mx import data, shift
from ibnnet_mx.errors import OptionError
from ibnnet_mx.files import outputs
from ibnnet_mx.metrics import classification
from ibnnet_mx.recordio.inspection import sheet

MOST = 24  # pictures on a sheet


def _pick(pictures, numbers):
    """Return some pictures (n, H, W, 3) of an Evaluation by their numbers, their labels, and positions in the file."""
    chosen, chosen_labels, chosen_positions, wanted, count = [], [], [], set(numbers), 0
    for batch, positions, labels in pictures.raw():
        for row in range(len(batch)):
            if count + row in wanted:
                chosen.append(batch[row])
                chosen_labels.append(int(labels[row]))
                chosen_positions.append(int(positions[row]))
        count += len(batch)
        if len(chosen) == len(wanted):
            break
    return np.stack(chosen), chosen_labels, chosen_positions


def draw_sheet(path, pictures, model, keys, wanted, seed):
    """Draw pictures with their classes and the network's answers. With shifts, draw the first picture for each.
    Return what is shown, in words.

    pictures: data.Evaluation of raw pixels. keys: names of the classes. wanted: (name, severity) pairs; [] for none.
    seed: of the shifts. Raises OptionError for sheet.
    """

    def answers_to(seen):
        return classification.predictions(model.predict(data.normalise(seen, model.input))).tolist()

    def name(number):
        return 'NaN' if number < 0 else keys[number]

    if not wanted:
        seen, labels, _ = _pick(pictures, sheet.spread(pictures.count, MOST).tolist())
        cells = [
            sheet.Cell([picture[..., ::-1]], name(label), f'says {name(answer)}', answer == label)
            for picture, label, answer in zip(seen, labels, answers_to(seen))
        ]
    else:
        seen, _, position = _pick(pictures, [0])
        severities = sorted({severity for _, severity in wanted})
        empty, cells = np.full_like(seen[0], sheet.EMPTY), []
        for which in dict.fromkeys(one for one, _ in wanted):
            levels = [level for level in severities if (which, level) in wanted]
            changed = {level: shift.apply(seen, position, which, level, seed)[0] for level in levels}
            answers = answers_to(np.stack([seen[0], *changed.values()]))
            words = ', '.join(f'{level}: {name(one)}' for level, one in zip(['clean', *levels], answers))
            tiles = [seen[0], *(changed.get(level, empty) for level in severities)]
            cells.append(sheet.Cell([tile[..., ::-1] for tile in tiles], which, words))
    try:
        drawn = sheet.lay_cells(cells, 'use a smaller `crop_size` or fewer of `shift`')
    except ValueError as error:
        raise OptionError('sheet', path, f': {error}') from None
    done, encoded = cv2.imencode(os.path.splitext(path)[1], drawn)
    if not done:
        raise OptionError('sheet', path, f': {drawn.shape[1]}x{drawn.shape[0]} pixels are too many; use .png')
    outputs.write_output('sheet', path, encoded.tobytes())
    return 'the first picture under each shift' if wanted else f'{len(cells)} of {pictures.count:,} pictures'
