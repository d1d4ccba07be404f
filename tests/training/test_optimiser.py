"""SGD with momentum by one operator, against its formulas and mxnet's own."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.base import MXNetError

from ibnnet_mx import operators
from ibnnet_mx.training import optimiser

RATES = dict(learning_rate=0.1, momentum=0.9, wd=1e-2)
SHAPES = [(7,), (32, 16, 3, 3), (1,), (300, 200), (32, 32, 1, 1)]
needs_operators = pytest.mark.skipif(not operators.fused(), reason='ibnnet build operators has built none')


def drawn(seed):
    draw = np.random.RandomState(seed)
    return [draw.normal(size=shape).astype(np.float32) for shape in SHAPES]


def updated(optimizer, steps=3, between=lambda weights: None):
    """(weights, states) after steps with the same gradients for all; between(weights) before each step."""
    optimizer.set_lr_mult({1: 0.1})
    optimizer.set_wd_mult({0: 0.0})
    optimizer.rescale_grad = 1 / 8
    updater, weights = mx.optimizer.get_updater(optimizer), [mx.nd.array(a) for a in drawn(0)]
    for step in range(steps):
        between(weights)
        updater(list(range(len(SHAPES))), [mx.nd.array(a) for a in drawn(1 + step)], weights)
    return [w.asnumpy() for w in weights], [updater.states[i].asnumpy() for i in range(len(SHAPES))]


def formulas(name, steps=3):
    weights, states = [a.astype(np.float64) for a in drawn(0)], [0.0] * len(SHAPES)
    for step in range(steps):
        for i, gradient in enumerate(drawn(1 + step)):
            slope = (0.01 if i == 1 else 0.1) * (gradient / 8 + (0.0 if i == 0 else 1e-2) * weights[i])
            states[i] = 0.9 * states[i] - slope
            weights[i] = weights[i] + (0.9 * states[i] - slope if name == 'nag' else states[i])
    return weights, states


def near(found, wanted):
    for one, other in zip(found, wanted):
        np.testing.assert_allclose(one, other, rtol=0, atol=5e-7 * np.abs(other).max())


@needs_operators
@pytest.mark.parametrize('name', ['sgd', 'nag'])
def test_together_is_the_formulas_and_one_by_one(name):
    together = optimiser.make(name, [mx.cpu()], **RATES)
    assert type(together) is optimiser.Together
    for found, wanted, other in zip(updated(together), formulas(name), updated(optimiser.NAMES[name](**RATES))):
        near(found, wanted)
        near(found, other)


@needs_operators
def test_weights_in_the_layout_of_onednn_are_updated_alike():
    """As after an evaluation: a convolution in prediction mode leaves its weight reordered."""

    def reorder(weights):
        x = mx.nd.ones((1, 16, 8, 8))
        mx.nd.Convolution(x, weights[1], kernel=(3, 3), num_filter=32, no_bias=True).wait_to_read()

    plain, moved = (
        updated(optimiser.make('nag', [mx.cpu()], **RATES), between=f) for f in (lambda weights: None, reorder)
    )
    for one, other in zip(plain, moved):
        assert all(np.array_equal(a, b) for a, b in zip(one, other))


@needs_operators
def test_what_does_not_belong_together_is_refused():
    with pytest.raises(MXNetError, match='a gradient or state has another shape than its weight'):
        mx.nd.ibnnet_update(mx.nd.ones(2), mx.nd.ones(3), mx.nd.ones(2), lrs=(0.1,), wds=(0,))
    with pytest.raises(MXNetError, match='lrs needs a number for each weight'):
        mx.nd.ibnnet_update(*[mx.nd.ones(2)] * 3, lrs=(0.1, 0.2), wds=(0,))[0].wait_to_read()


def test_elsewhere_mxnets_own_are_used(monkeypatch):
    assert type(optimiser.make('nag', [mx.gpu(0)], **RATES)) is optimiser.Nesterov
    assert type(optimiser.make('sgd', [mx.cpu()], **{**RATES, 'momentum': 0.0})) is mx.optimizer.SGD
    monkeypatch.setattr(operators, 'fused', lambda: False)
    assert type(optimiser.make('nag', [mx.cpu()], **RATES)) is optimiser.Nesterov
    for found, wanted in zip(updated(optimiser.make('nag', [mx.cpu()], **RATES)), formulas('nag')):
        near(found, wanted)


@pytest.mark.parametrize('bad', [None, 0, 99, 100, 450])
def test_whether_all_values_are_finite(bad):
    """Of more arrays than mxnet's operator takes."""
    arrays = [mx.nd.ones((3, 2)) for _ in range(451)]
    if bad is not None:
        arrays[bad][1, 1] = float('inf') if bad % 2 else float('nan')
    assert optimiser.all_finite(arrays).asscalar() == (bad is None)
