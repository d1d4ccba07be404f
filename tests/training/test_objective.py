"""An objective of another task plugs into the trainer, plain and recomputed, without the trainer knowing of it."""

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import models
from ibnnet_mx.distributed import cluster
from ibnnet_mx.metrics import classification
from ibnnet_mx.training import objective, trainer
from tests.tiny_runs import PLAN, Feed, Notes, batches, make, values


class Squares:
    """The mean square of the distance between the first output and the label: a regression."""

    soft, names = False, ['square']

    def targets(self, data, labels, draw):
        return data, labels

    def loss(self, outputs, targets):
        F = mx.sym if isinstance(outputs, mx.sym.Symbol) else mx.nd
        first = F.reshape(F.slice_axis(outputs, axis=1, begin=0, end=1), shape=(-1,))
        return F.square(first - targets)

    def scores(self, outputs, labels):
        return {'square': float(((outputs[:, 0] - labels) ** 2).sum())}

    def tally(self):
        return Total(self)


class Total:
    def __init__(self, task):
        self._task, self._sum, self._count = task, 0.0, 0

    def add(self, outputs, labels):
        self._sum += self._task.scores(outputs, labels)['square']
        self._count += len(labels)

    def sums(self):
        return {'square': self._sum, 'samples': float(self._count)}


def run_of(task, recompute=None):
    net = models.create('cifar_resnet8', 4)
    return trainer.Trainer(net, PLAN, cluster.connect(), Notes(), recompute, objective=task)


@pytest.mark.parametrize('recompute', [None, 'least'])
def test_a_regression_trains_and_is_measured(recompute):
    feed, run = Feed(batches(8, 8, 8)), run_of(Squares(), recompute)
    before = run.evaluate(feed)
    for _ in range(3):
        run.train_epoch(feed)
    after = run.evaluate(feed)
    assert list(after) == ['square']
    assert after['square'] < before['square']
    assert all(list(note[3]) == ['square'] for note in run.report.batches)


def test_recomputing_changes_no_result_of_it():
    plain, recomputed = run_of(Squares()), run_of(Squares(), 'least')
    for run in (plain, recomputed):
        run.train_epoch(Feed(batches(8, 8)))
    for name, value in values(plain).items():
        np.testing.assert_allclose(values(recomputed)[name], value, rtol=1e-4, atol=1e-6)


def test_the_usual_objective_is_the_classifier_of_the_recipe():
    run = make()
    assert isinstance(run.objective, objective.Classification)
    assert run.objective.names == classification.score_names(run.net.collect_params()['fc1_bias'].shape[0])
