"""The scores of classification: logits and labels -> exact numbers over a data set. numpy only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Sequence

import numpy as np

DEPTH = ('accuracy', 1), ('top_k_accuracy_5', 5)


@dataclass(frozen=True)
class Result:
    """The predictions of a network of `classes`, and their mean scores. top5 is None with fewer than five classes.

    labels, predicted: int64 (count,); predicted is -1 if a picture's logits hold NaN. top1, top5: fractions;
    cross_entropy: nats. confidence: float64 (count,), the predicted class's probability, NaN if the logits give none.
    """

    labels: np.ndarray
    predicted: np.ndarray
    classes: int
    top1: float
    top5: float | None
    cross_entropy: float
    confidence: np.ndarray

    @property
    def count(self) -> int:
        """Return the number of pictures."""
        return len(self.labels)

    def per_class(self) -> list[tuple[int, int, int]]:
        """Return (class, pictures, right ones) of each class that has pictures."""
        counts = np.bincount(self.labels)
        right = np.bincount(self.labels[self.labels == self.predicted], minlength=len(counts))
        return [(int(label), int(counts[label]), int(right[label])) for label in np.flatnonzero(counts)]

    def confusion(self, among: Sequence[int] | None = None) -> np.ndarray:
        """Return int64 (classes, classes): pictures of each class (rows) by predicted class (columns). NaN predicts
        nothing.

        among: rising numbers of the classes that rows and columns stand for; None: all. A matrix of 10,000 classes has
        800 MB.
        """
        classes = np.arange(self.classes) if among is None else np.asarray(among)
        counts = np.zeros((len(classes), len(classes)), np.int64)
        seen = np.isin(self.labels, classes) & np.isin(self.predicted, classes)
        places = (np.searchsorted(classes, each[seen]) for each in (self.labels, self.predicted))
        np.add.at(counts, tuple(places), 1)
        return counts

    def most_confused(self, count: int) -> np.ndarray:
        """Return the numbers of the `count` classes that are most often mistaken for others or others for them, rising.

        Equally often: the lower numbers.
        """
        wrong = (self.labels != self.predicted) & (self.predicted >= 0)
        mistakes = sum(np.bincount(each[wrong], minlength=self.classes) for each in (self.labels, self.predicted))
        return np.sort(np.argsort(-np.asarray(mistakes), kind='stable')[:count])

    def calibration_error(self, bins: int = 15) -> float:
        """Return the expected calibration error, arXiv:1706.04599: |share right - mean confidence| over `bins` equal
        intervals.

        The mean is weighted by the pictures in each interval (a, b] of confidence. NaN if one confidence is NaN.
        """
        if np.isnan(self.confidence).any():
            return math.nan
        place = np.clip(np.ceil(self.confidence * bins).astype(int) - 1, 0, bins - 1)
        right = (self.labels == self.predicted).astype(np.float64)
        gaps = np.bincount(place, right - self.confidence, minlength=bins)
        return float(np.abs(gaps).sum() / self.count)


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return sums over the rows of logits (n, classes): correct in the first and the first five, and nats of cross
    entropy.

    Of equal logits the lower class comes first, as with argmax; a row with NaN is wrong.
    """
    values, classes = logits.astype(np.float64), labels.astype(np.int64)[:, None]
    labelled = np.take_along_axis(values, classes, axis=1)
    before = ~(values <= labelled) | (values == labelled) & (np.arange(values.shape[1]) < classes)
    rank = np.where(np.isnan(values).any(axis=1), values.shape[1], before.sum(axis=1))
    top = values.max(axis=1, keepdims=True)
    with np.errstate(invalid='ignore'):  # logits may be infinite
        nats = np.log(np.exp(values - top).sum(axis=1, keepdims=True)) + top - labelled
    sums = {name: float((rank < k).sum()) for name, k in DEPTH if values.shape[1] >= k}
    return dict(sums, **{'cross-entropy': float(nats.sum())})


def score_names(classes: int) -> list[str]:
    """Return the names of the scores of a network with so many classes."""
    return list(scores(np.zeros((0, classes)), np.zeros(0)))


def predictions(logits: np.ndarray) -> np.ndarray:
    """Return int64 (n,): the class of the largest logit, the lowest of equal ones as in scores(); -1 for a row with
    NaN.
    """
    return np.where(np.isnan(logits).any(axis=1), -1, logits.argmax(axis=1))


@np.errstate(invalid='ignore')
def average_crops(logits: np.ndarray, crops: int) -> np.ndarray:
    """Return the logarithm of the mean over the crops of the softmax, (n x crops, classes) -> (n, classes);
    arXiv:1512.03385.
    """
    if crops == 1:
        return logits
    values = logits.astype(np.float64)
    values = values - values.max(axis=1, keepdims=True)
    values = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
    values = values.reshape(-1, crops, values.shape[1])
    top = values.max(axis=1)
    return np.log(np.exp(values - top[:, None]).mean(axis=1)) + top


@np.errstate(invalid='ignore')
def confidences(logits: np.ndarray) -> np.ndarray:
    """Return float64 (n,): the largest softmax of each row; NaN for a row with NaN."""
    values = logits.astype(np.float64)
    return 1 / np.exp(values - values.max(axis=1, keepdims=True)).sum(axis=1)


class Tally:
    """The predictions and sums of scores of the batches so far."""

    def __init__(self) -> None:
        self._labels: list[np.ndarray] = []
        self._predicted: list[np.ndarray] = []
        self._confidence: list[np.ndarray] = []
        self._total = {'cross-entropy': 0.0}
        self._classes = 0

    def add(self, logits: np.ndarray, labels: np.ndarray) -> None:
        """Add a batch: logits (n, classes), labels int64 (n,)."""
        self._labels.append(labels)
        self._predicted.append(predictions(logits))
        self._confidence.append(confidences(logits))
        self._classes = logits.shape[1]
        self._total = {name: self._total.get(name, 0.0) + value for name, value in scores(logits, labels).items()}

    def sums(self) -> dict[str, float]:
        """Return {score: sum over the pictures, 'samples': how many these are}."""
        return dict(self._total, samples=float(sum(map(len, self._labels))))

    def result(self) -> Result:
        """Return the Result of all batches. Raises ValueError if there was no picture."""
        if not self._labels:
            raise ValueError('none of the pictures could be read, so that there is nothing to evaluate')
        every = np.concatenate(self._labels)
        means = {name: value / len(every) for name, value in self._total.items()}
        facts = means['accuracy'], means.get('top_k_accuracy_5'), means['cross-entropy']
        return Result(every, np.concatenate(self._predicted), self._classes, *facts, np.concatenate(self._confidence))


def evaluate(
    predict: Callable[[Any], np.ndarray],
    batches: Iterable[tuple[Any, Any, int]],
    tally: Any,
    crops: int = 1,
    between: Callable[[], object] | None = None,
) -> Any:
    """Add what predict says of all batches to a tally, and return the tally.

    predict: data of n x crops pictures -> outputs (n x crops, classes), for any size of batches. batches: (data, label,
    real), of which only the first `real` pictures count. tally: Tally or the like. between: called after each batch.
    """
    for data, label, real in batches:
        if real:
            outputs = average_crops(predict(data), crops)[:real]
            labels = label if isinstance(label, np.ndarray) else label.asnumpy()
            tally.add(outputs, labels[:real].astype(np.int64))
        if between is not None:
            between()
    return tally
