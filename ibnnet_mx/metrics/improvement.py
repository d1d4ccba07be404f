"""Compare the validation results of epochs: by the accuracy, and if a task has none, by its loss."""

from __future__ import annotations

from typing import Mapping, NamedTuple

ACCURACY, LOSSES = 'accuracy', ('cross-entropy', 'loss')


class Score(NamedTuple):
    """The result by which epochs are compared. metric: its name in the log. rises: True if more is better."""

    metric: str
    value: float
    rises: bool

    def beats(self, other: Score | None) -> bool:
        """Return True if this is better than another score. Any number is better than none and than nan."""
        if self.value != self.value:
            return False
        if other is None or other.value != other.value:
            return True
        return self.value > other.value if self.rises else self.value < other.value

    def words(self) -> str:
        """Return the value as it is told: 86.21 % of an accuracy, 0.4312 of a loss."""
        return f'{100 * self.value:.2f} %' if self.rises else f'{self.value:.4f}'


def score_of(metrics: Mapping[str, float] | None) -> Score | None:
    """Return the score of {metric: mean}; None if there is no result."""
    if not metrics:
        return None
    if ACCURACY in metrics:
        return Score(ACCURACY, float(metrics[ACCURACY]), True)
    name = next((loss for loss in LOSSES if loss in metrics), next(iter(metrics)))
    return Score(name, float(metrics[name]), False)


def best_of(scores: Mapping[int, Score | None]) -> int | None:
    """Return the epoch with the best of {epoch: score}, the newest of equal ones; None if no epoch has a number."""
    best: tuple[int, Score] | None = None
    for epoch, score in sorted(scores.items(), key=lambda item: item[0]):
        if score is not None and score.value == score.value and (best is None or not best[1].beats(score)):
            best = epoch, score
    return None if best is None else best[0]
