"""Objectives: the loss that a run minimises and its scores. The trainer knows neither softmax nor classes."""

from __future__ import annotations

from typing import Any, Protocol

import mxnet as mx
import numpy as np
from mxnet import gluon

from ibnnet_mx.metrics import classification


class Objective(Protocol):
    """The task of a run: it makes targets from labels, and computes loss and scores from the network's outputs."""

    names: list[str]  # of the scores
    soft: bool  # True if targets are distributions, so that labels cannot take their place

    def targets(self, data: Any, labels: Any, draw: Any) -> tuple[Any, Any]:
        """Return the pictures (n, 3, S, S) to train on and their targets. draw(): the batch's RandomState of numpy."""

    def loss(self, outputs: Any, targets: Any) -> Any:
        """Return the loss (n,) of each picture, an NDArray from NDArrays or a symbol from symbols."""

    def scores(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Return {name: sum over the pictures}."""

    def tally(self) -> Any:
        """Return an object for validation, with add(outputs, labels) and sums() -> {name: sum, 'samples': n}."""


class Classification:
    """Cross entropy of softmax over classes, with label smoothing (arXiv:1512.00567) and mixup (arXiv:1710.09412).

    classes: their count. smoothing: the share of a target that is spread over all classes. mixup: alpha of the beta
    distribution of the pictures' shares; 0: no mixup.
    """

    def __init__(self, classes: int, smoothing: float = 0.0, mixup: float = 0.0) -> None:
        self._classes, self._smoothing, self._mixup = classes, smoothing, mixup
        self.soft = smoothing > 0 or mixup > 0
        self.loss = gluon.loss.SoftmaxCrossEntropyLoss(sparse_label=not self.soft)
        self.names = classification.score_names(classes)
        self.scores, self.tally = classification.scores, classification.Tally

    def targets(self, data: Any, labels: Any, draw: Any) -> tuple[Any, Any]:
        """Return the pictures and their targets: classes, or distributions with smoothing or mixup."""
        if not self.soft:
            return data, labels
        even = self._smoothing / self._classes
        target = mx.nd.one_hot(labels, self._classes, 1 - self._smoothing + even, even)
        if self._mixup > 0:
            random = draw()
            share = random.beta(self._mixup, self._mixup)
            other = mx.nd.array(random.permutation(data.shape[0]))
            data = share * data + (1 - share) * mx.nd.take(data, other)
            target = share * target + (1 - share) * mx.nd.take(target, other)
        return data, target


def of_classifier(net: Any, recipe: Any) -> Classification:
    """Return the objective that a recipe gives to a network with a classifier."""
    classes = net.collect_params()['fc1_bias'].shape[0]
    return Classification(classes, recipe.label_smoothing, recipe.mixup)
