"""Find the best epoch of a prefix by the validation results in its facts."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ibnnet_mx.errors import OptionError


class Best(NamedTuple):
    """The epoch that is used if none is named. accuracy: of its validation, a share of 1; None: it has no such result.

    last: the newest epoch. passed: lines about epochs whose .json cannot be read.
    """

    epoch: int
    last: int
    accuracy: float | None
    passed: tuple[str, ...] = ()

    def line(self) -> str:
        """Return the choice in words, such as: epoch 5 of 8, the best (86.2 %)."""
        if self.accuracy is not None:
            return f'epoch {self.epoch} of {self.last}, the best ({100 * self.accuracy:.1f} %)'
        return f'epoch {self.epoch}, the last, because no validation results are with it'


def accuracies(store: Any) -> tuple[dict[int, float | None], tuple[str, ...]]:
    """Return the validation accuracy of each epoch that has a .json, None if it has none, and lines about damage."""
    scores: dict[int, float | None] = {}
    passed = []
    for epoch in store.epochs():
        scores[epoch] = None
        try:
            accuracy = store.facts(epoch).metrics.get('validation', {}).get('accuracy')
        except ValueError as error:
            passed.append(f'epoch {epoch} is passed over: {error}')
            continue
        if accuracy is not None and accuracy == accuracy:
            scores[epoch] = float(accuracy)
    return scores, tuple(passed)


def best_epoch(store: Any) -> Best:
    """Return the epoch with the highest validation accuracy, of equal ones the newest; without results the last epoch.

    Raises OptionError for prefix if there is no checkpoint.
    """
    scores, passed = accuracies(store)
    validated = {epoch: score for epoch, score in scores.items() if score is not None}
    if validated:
        epoch = max(validated, key=lambda each: (validated[each], each))
        return Best(epoch, max(scores), validated[epoch], passed)
    epochs = [epoch for epoch in {*scores, *_without_facts(store)} if store.path(epoch, 'params').is_file()]
    if not epochs:
        raise OptionError('prefix', store.prefix, f': there is no checkpoint {store.prefix}-NNNN.params')
    return Best(max(epochs), max(epochs), None, passed)


def _without_facts(store: Any) -> list[int]:
    """Return the epochs of .params files, which may be of another program and have no .json."""
    pattern = re.compile(rf'{re.escape(store.symbol_path.name[: -len("-symbol.json")])}-(\d{{4,}})\.params')
    names = (pattern.fullmatch(path.name) for path in store.symbol_path.parent.glob('*.params'))
    return [int(name[1]) for name in names if name]
