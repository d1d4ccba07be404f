"""Find the best epoch of a prefix by the validation results in its facts."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ibnnet_mx.errors import OptionError
from ibnnet_mx.metrics.improvement import Score, best_of, score_of


class Best(NamedTuple):
    """The epoch that is used if none is named. score: of its validation; None: it has no such result.

    last: the newest epoch. passed: lines about epochs whose .json cannot be read.
    """

    epoch: int
    last: int
    score: Score | None
    passed: tuple[str, ...] = ()

    def line(self) -> str:
        """Return the choice in words, such as: epoch 5 of 8, the best (accuracy 86.20 %)."""
        if self.score is not None:
            result = f'{self.score.metric} {self.score.words()}'
            return f'epoch {self.epoch} of {self.last}, the best ({result})'
        return f'epoch {self.epoch}, the last, because no validation results are with it'


def scores(store: Any, last: int | None = None) -> tuple[dict[int, Score | None], tuple[str, ...]]:
    """Return the validation score of each epoch that has a .json, None if it has none, and lines about damage.

    last: the newest epoch to read; None: all.
    """
    results: dict[int, Score | None] = {}
    passed = []
    for epoch in store.epochs():
        if last is not None and epoch > last:
            continue
        results[epoch] = None
        try:
            results[epoch] = score_of(store.facts(epoch).metrics.get('validation'))
        except ValueError as error:
            passed.append(f'epoch {epoch} is passed over: {error}')
    return results, tuple(passed)


def best_epoch(store: Any) -> Best:
    """Return the epoch with the best validation, of equal ones the newest; without results the last epoch.

    Raises OptionError for prefix if there is no checkpoint.
    """
    results, passed = scores(store)
    best = best_of(results)
    if best is not None:
        return Best(best, max(results), results[best], passed)
    epochs = [epoch for epoch in {*results, *without_facts(store)} if store.path(epoch, 'params').is_file()]
    if not epochs:
        raise OptionError('prefix', store.prefix, f': there is no checkpoint {store.prefix}-NNNN.params')
    return Best(max(epochs), max(epochs), None, passed)


def without_facts(store: Any) -> list[int]:
    """Return the epochs of .params files that have no .json, because another program wrote them."""
    pattern = re.compile(rf'{re.escape(store.symbol_path.name[: -len("-symbol.json")])}-(\d{{4,}})\.params')
    names = (pattern.fullmatch(path.name) for path in store.symbol_path.parent.glob('*.params'))
    return sorted(int(name[1]) for name in names if name and not store.path(int(name[1]), 'json').is_file())
