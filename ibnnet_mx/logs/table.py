"""The table of a run on a terminal: a line for each epoch, at most 79 columns wide."""

from __future__ import annotations

from typing import Mapping

from ibnnet_mx.logs.pace import clock
from ibnnet_mx.metrics.improvement import LOSSES, Score, score_of

WIDTHS = {'rate': 10, 'train': 9, 'loss': 9, 'validation': 13, 'best': 10, 'time': 8, 'left': 10}


class Table:
    """Makes the lines. epochs: of the whole run. best: the best score of the epochs before.

    An epoch is named by the count of epochs that are done, as the files of its checkpoint are.
    """

    def __init__(self, epochs: int, best: Score | None = None) -> None:
        self._epochs, self.best = epochs, best
        self._first = max(5, 2 * len(str(epochs)) + 1)
        self._has_head = False

    def lines(
        self,
        epoch: int,
        rate: float | None,
        means: tuple[Mapping[str, float], Mapping[str, float]],
        seconds: float,
        left: float | None,
    ) -> list[str]:
        """Return the lines of a finished epoch, the first time with a head. means: of training and of validation.

        seconds: of the epoch. left: those that the run still takes; None if that is not known.
        """
        train, validation = means
        score, trained = score_of(validation), score_of(train)
        is_better = score is not None and score.beats(self.best)
        self.best = score if is_better else self.best
        loss = next((train[name] for name in LOSSES if name in train), None)
        cells = {
            'rate': '-' if rate is None else f'{rate:.4g}',
            'train': trained.words() if trained else '-',
            'loss': '-' if loss is None else f'{loss:.4f}',
            'validation': (score.words() if score else '-') + (' *' if is_better else '  '),
            'best': self.best.words() if self.best else '-',
            'time': clock(seconds),
            'left': '-' if left is None else clock(left),
        }
        head = (
            [] if self._has_head else ['epoch'.rjust(self._first) + ''.join(name.rjust(WIDTHS[name]) for name in cells)]
        )
        self._has_head = True
        row = f'{epoch}/{self._epochs}'.rjust(self._first)
        return [*head, row + ''.join(text.rjust(WIDTHS[name]) for name, text in cells.items())]
