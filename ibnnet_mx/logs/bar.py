"""The progress bar of an epoch, which fits its terminal: what does not fit beside the bar is left out."""

from __future__ import annotations

import contextlib
import os
import sys
from shutil import get_terminal_size
from typing import Any, Mapping, Sequence

from ibnnet_mx.logs.lines import SHORT
from ibnnet_mx.logs.pace import Pace, clock

LEAST = 10  # characters of the bar
FIRST = ('cross-entropy', 'loss', 'accuracy')  # metrics that are shown before others

RANKS = {'accuracy': 2, 'cross-entropy': 4, 'loss': 4}


def terminal_size() -> tuple[int, int]:
    """Return the columns and rows of the terminal on stderr; 80 x 24 if it tells none."""
    columns, rows = get_terminal_size()
    if not os.environ.get('COLUMNS'):
        with contextlib.suppress(OSError):
            columns, rows = os.get_terminal_size(2)
    return columns or 80, rows or 24


def fitting(columns: int, parts: Sequence[tuple[int, str]]) -> list[str]:
    """Return the texts of [(rank, text)] that fit beside the bar, in their order. The highest ranks go first, rank 0
    stays.
    """
    stay = list(parts)
    while sum(len(text) for _, text in stay) + LEAST > columns:
        last = max(stay, key=lambda part: part[0])
        if not last[0]:
            break
        stay.remove(last)
    return [text for _, text in stay]


def layout(columns: int, label: str, done: tuple[int, int], means: Mapping[str, float], pace: Pace | None) -> str:
    """Return tqdm's format of the bar for so many columns. done: (finished steps, all steps)."""
    at, steps = done
    ordered = [name for name in FIRST if name in means] + [name for name in means if name not in FIRST]
    scores = [
        (RANKS.get(name, 10 + i), f' {SHORT.get(name, name)}={means[name]:.4f}') for i, name in enumerate(ordered)
    ]
    parts = [(0, f'{label}:'), (9, f' {100 * at // max(steps, 1):3d}%'), (0, '|'), (0, '| '), (1, f'{at}/{steps}')]
    parts += scores
    if pace is not None:
        epoch, run = pace.epoch_left(), pace.run_left()
        parts += [(5, f' {clock(epoch)}'), (8, ' left')] if epoch is not None else []
        parts += [(3, f', run {clock(run)}')] if run is not None else []
    texts = [text.replace('{', '{{').replace('}', '}}') for text in fitting(columns, parts)]
    place = texts.index('|')
    return ''.join([*texts[: place + 1], '{bar}', *texts[place + 1 :]])


class Bar:
    """A bar on stderr. label: the name of the epoch. steps: of the epoch, of which first_step are done already."""

    def __init__(self, label: str, steps: int, first_step: int, pace: Pace | None) -> None:
        from tqdm import tqdm

        self._label, self._steps, self._at, self._pace = label, steps, first_step, pace
        self._columns, rows = terminal_size()
        self._columns -= 1  # a terminal may wrap a line that reaches its edge
        look = {'leave': False, 'ncols': self._columns, 'nrows': rows, 'bar_format': self._format({})}
        self._bar = tqdm(total=steps, initial=first_step, **look)

    def _format(self, means: Mapping[str, float]) -> str:
        return layout(self._columns, self._label, (self._at, self._steps), means, self._pace)

    def step(self, means: Mapping[str, float]) -> None:
        """Show that a step is done, and the means so far."""
        self._at += 1
        self._bar.bar_format = self._format(means)
        self._bar.update()

    def write(self, text: str, file: Any = None) -> None:
        """Write a line above the bar."""
        self._bar.write(text, file=file or sys.stderr)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()
