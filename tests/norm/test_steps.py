"""MABN, Batch Renormalization and BatchNorm of small parts against their formulas in float64, step by step."""

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd
from mxnet.gluon import nn

from ibnnet_mx import norm, operators
from ibnnet_mx.models.blocks import chain
from tests import norm_formulas
from tests.tiny_runs import Alone

CHANNELS = 16


def ways(layer):
    """(name, what is called): the layer itself, hybridized, within a block of another kind, within a Network."""
    yield 'imperative', layer
    layer.hybridize()
    yield 'hybridized', layer
    outer = nn.HybridSequential(prefix='')
    outer.add(layer)
    outer.hybridize(static_alloc=True, static_shape=True)
    yield 'inside', outer
    net = Alone(layer)
    net.hybridize(static_alloc=True, static_shape=True)
    yield 'network', net


WAYS = (
    'imperative',
    'hybridized',
    'inside',
    'network',
    'native',
)  # the last: a Network with the operators of operators/cpp


def way(layer, wanted, monkeypatch):
    layer.initialize()
    if wanted == 'native' and not operators.loaded():
        pytest.skip('ibnnet build operators has built no operators')
    if wanted != 'native':
        monkeypatch.setattr(operators, 'loaded', lambda: False)
    return next(call for name, call in ways(layer) if name == wanted.replace('native', 'network'))


def step(call, layer, x, g):
    """(y, dx, dgamma, dbeta) of a training step."""
    x = mx.nd.array(x)
    x.attach_grad()
    with autograd.record():
        y = call(x)
    y.backward(mx.nd.array(g))
    return [a.asnumpy() for a in (y, x.grad, layer.gamma.grad(), layer.beta.grad())]


def draw(seed, rows, size=5):
    """Pictures, the gradient of what becomes of them, and a scale that moves from step to step."""
    rs = np.random.RandomState(seed)
    scale = rs.uniform(0.3, 3, (1, CHANNELS, 1, 1))
    return rs.standard_normal((rows, CHANNELS, size, size)) * scale + 0.3, rs.standard_normal(
        (rows, CHANNELS, size, size)
    )


def near(found, wanted, tolerance=1e-5):
    wanted = np.asarray(wanted)
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max() + 1e-9


def affine(layer):
    rs = np.random.RandomState(9)
    gamma, beta = rs.uniform(0.5, 1.5, CHANNELS), rs.uniform(-1, 1, CHANNELS)
    layer.gamma.set_data(mx.nd.array(gamma))
    layer.beta.set_data(mx.nd.array(beta))
    return layer.gamma.data().asnumpy().astype(float), layer.beta.data().asnumpy().astype(float)


def set_state(layer, state):
    for name, array in state.items():
        getattr(layer, name).set_data(mx.nd.array(array))


MABNS = {  # variant, B, real_B, warmup_iters, iters at the start, pictures of a batch
    'formal': ('formal', 2, 8, 7, 0, 2),
    'formal, free': ('formal', 2, 8, 7, 998, 2),
    'formal, one slot': ('formal', 4, 4, 0, 998, 4),
    'cls': ('cls', 2, 8, 100, 0, 8),
    'cls, free': ('cls', 2, 8, 100, 97, 8),
    'cls, one slot': ('cls', 4, 4, 100, 97, 4),
}


@pytest.mark.parametrize('how', WAYS)
@pytest.mark.parametrize('case', MABNS)
def test_mabn_is_its_formula(case, how, monkeypatch):
    """Forward, backward, state and prediction, through warm-up and the clipped ratio."""
    variant, small, whole, warmup, begin, rows = MABNS[case]
    layer = norm.MABN2d(CHANNELS, small, whole, 1e-5, 0.9, warmup, variant)
    call = way(layer, how, monkeypatch)
    gamma, beta = affine(layer)
    kind = norm_formulas.Formal if variant == 'formal' else norm_formulas.Cls
    wanted = kind(CHANNELS, small, whole, 1e-5, 0.9, warmup)
    rs = np.random.RandomState(1)
    for name, array in wanted.state.items():
        drawn = rs.uniform(0.01, 30, array.shape) if name in ('running_var', 'pre_x2') else np.zeros(array.shape)
        wanted.state[name] = drawn.astype(np.float32).astype(float)
    wanted.state['iters'][0] = begin
    set_state(layer, wanted.state)
    for t in range(12):
        x, g = draw(t, rows)
        for found, expected in zip(step(call, layer, x, g), wanted(x, g, gamma, beta)):
            near(found, expected)
        for name, expected in wanted.state.items():
            near(getattr(layer, name).data().asnumpy(), expected)
    x, _ = draw(99, 3)
    usual = norm_formulas.column(wanted.state['running_var'].ravel())
    near(
        call(mx.nd.array(x)).asnumpy(),
        norm_formulas.column(gamma) * x / np.sqrt(usual + 1e-5) + norm_formulas.column(beta),
    )


@pytest.mark.parametrize('how', ['imperative', 'network', 'native'])
def test_more_parts_than_the_window_and_fewer(how, monkeypatch):
    """cls: batches of any count of parts slide over one stream of parts, as batches of the usual size do."""
    layers = [norm.MABN2d(CHANNELS, 2, 8, variant='cls') for _ in range(2)]
    calls = [way(layer, how, monkeypatch) for layer in layers]
    for layer in layers:
        layer.iters.set_data(mx.nd.array([5]))
    stream = [draw(t, 8) for t in range(3)]
    whole = [step(calls[0], layers[0], x, g) for x, g in stream]
    x, g = (np.concatenate(parts) for parts in zip(*stream))
    cut = [step(calls[1], layers[1], x[a:b], g[a:b]) for a, b in ((0, 12), (12, 14), (14, 24))]
    near(np.concatenate([part[0] for part in cut]), np.concatenate([part[0] for part in whole]))
    near(np.concatenate([part[1] for part in cut]), np.concatenate([part[1] for part in whole]))
    for name in ('pre_x2', 'pre_gz'):
        near(getattr(layers[1], name).data().asnumpy(), getattr(layers[0], name).data().asnumpy())


@pytest.mark.parametrize('how', WAYS)
def test_batch_renorm_is_its_formula(how, monkeypatch):
    """Through its ramp: r and d bound by 1 and 0, by something between, and by r_max and d_max."""
    ramp = norm.Ramp(2.0, 0.5, warmup_iters=3, r_iters=9, d_iters=6)
    layer = norm.BatchNorm2d(CHANNELS, momentum=0.9, ramp=ramp)
    call = way(layer, how, monkeypatch)
    gamma, beta = affine(layer)
    rs = np.random.RandomState(2)
    statistics = [rs.uniform(-1, 1, CHANNELS).astype('f').astype(float), rs.uniform(0.1, 9, CHANNELS).astype('f')]
    set_state(layer, dict(running_mean=statistics[0], running_var=statistics[1]))
    for t in range(12):
        bounds = 1 + min(max((t - 3) / 6, 0), 1), 0.5 * min(max((t - 3) / 3, 0), 1)
        x, g = draw(t, 2)
        *wanted, mean, var = norm_formulas.batch_renorm(x, g, gamma, beta, statistics, bounds, 1e-5)
        for found, expected in zip(step(call, layer, x, g), wanted):
            near(found, expected, 2e-5)
        statistics = [0.9 * old + 0.1 * new for old, new in zip(statistics, (mean, var))]
        near(layer.running_mean.data().asnumpy(), statistics[0])
        near(layer.running_var.data().asnumpy(), statistics[1])
        assert layer.iters.data().asscalar() == t + 1
    x, _ = draw(99, 3)
    mean, var = map(norm_formulas.column, statistics)
    wanted = norm_formulas.column(gamma) * (x - mean) / np.sqrt(var + 1e-5) + norm_formulas.column(beta)
    near(call(mx.nd.array(x)).asnumpy(), wanted)


@pytest.mark.parametrize('how', ['imperative', 'hybridized', 'network', 'native'])
@pytest.mark.parametrize('size', [None, 2])
def test_without_correction_batch_renorm_is_batch_norm(how, size, monkeypatch):
    """r = 1 and d = 0 in the first warmup_iters steps: outputs, gradients, statistics and predictions."""
    rows = 6
    layer = norm.BatchNorm2d(CHANNELS, size, ramp=norm.Ramp())
    plain = nn.BatchNorm(momentum=0.9, in_channels=CHANNELS)
    plain.initialize()
    if how == 'hybridized' and size:
        pytest.skip('a layer alone cannot know its batches once it is hybridized')
    call = way(layer, how, monkeypatch)
    affine(layer), affine(plain)
    for t in range(4):
        x, g = draw(t, rows)
        parts = [slice(i, rows, rows // size) for i in range(rows // size)] if size else [slice(rows)]
        before = [plain.running_mean.data().asnumpy(), plain.running_var.data().asnumpy()]
        found, after, wanted = step(call, layer, x, g), [], []
        for part in parts:
            plain.running_mean.set_data(mx.nd.array(before[0]))
            plain.running_var.set_data(mx.nd.array(before[1]))
            wanted.append(step(plain, plain, x[part], g[part]))
            mx.nd.waitall()
            after.append([plain.running_mean.data().asnumpy(), plain.running_var.data().asnumpy()])
        for part, expected in zip(parts, wanted):
            near(found[0][part], expected[0], 1e-6)
            near(found[1][part], expected[1], 1e-6)
        near(found[2], sum(w[2] for w in wanted), 1e-6)
        near(found[3], sum(w[3] for w in wanted), 1e-6)
        statistics = [np.mean([a[i] for a in after], axis=0) for i in (0, 1)]
        near(layer.running_mean.data().asnumpy(), statistics[0])
        near(layer.running_var.data().asnumpy(), statistics[1])
        plain.running_mean.set_data(mx.nd.array(statistics[0]))
        plain.running_var.set_data(mx.nd.array(statistics[1]))
    x, _ = draw(9, rows)
    near(call(mx.nd.array(x)).asnumpy(), plain(mx.nd.array(x)).asnumpy())


def makers():
    yield 'mabn', lambda: norm.MABN2d(CHANNELS, 2, 8)
    yield 'cls', lambda: norm.MABN2d(CHANNELS, 2, 4, variant='cls')
    yield 'brn', lambda: norm.BatchNorm2d(CHANNELS, ramp=norm.Ramp(warmup_iters=0))


def states(layer):
    return {n: p.data().asnumpy() for n, p in layer.collect_params().items() if isinstance(p, norm.State)}


@pytest.mark.parametrize('how', WAYS)
@pytest.mark.parametrize('make', [make for _, make in makers()], ids=[name for name, _ in makers()])
def test_only_a_training_step_moves_the_state(make, how, monkeypatch):
    """Not a prediction, recorded or not, not a forward pass alone, and not training with frozen statistics."""
    layer = make()
    call = way(layer, how, monkeypatch)
    x, g = draw(0, 4)
    step(call, layer, x, g)
    before = states(layer)
    call(mx.nd.array(x))
    x = mx.nd.array(x)
    x.attach_grad()
    with autograd.record(train_mode=False):
        y = call(x)
    y.backward()
    mx.nd.waitall()  # a static graph of mxnet's takes the mode of its next call where it has not run yet
    with autograd.record():
        call(x)
    mx.nd.waitall()
    factor = layer.gamma.data() / (layer.running_var.data().reshape((-1,)) + 1e-5).sqrt()
    near(x.grad.asnumpy(), np.broadcast_to(factor.asnumpy().reshape(1, -1, 1, 1), x.shape))
    after = states(layer)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    step(call, layer, *draw(1, 4))
    assert all(not np.array_equal(before[name], array) for name, array in states(layer).items())


@pytest.mark.parametrize('hybrid', [False, True])
@pytest.mark.parametrize('make', [make for _, make in makers()], ids=[name for name, _ in makers()])
def test_frozen_layers_train_as_they_predict(make, hybrid):
    layer = make()
    layer.initialize()
    affine(layer)
    step(layer, layer, *draw(0, 4))
    norm.freeze_statistics(chain(layer))
    if hybrid:
        layer.hybridize()
    before, (x, g) = states(layer), draw(1, 4)
    y, dx, dgamma, _ = step(layer, layer, x, g)
    near(y, layer(mx.nd.array(x)).asnumpy())
    factor = (layer.gamma.data() / (layer.running_var.data().reshape((-1,)) + 1e-5).sqrt()).asnumpy()
    near(dx, g * norm_formulas.column(factor))
    assert np.abs(dgamma).min() > 0
    assert all(np.array_equal(before[name], array) for name, array in states(layer).items())


@pytest.mark.parametrize('how', WAYS)
def test_centred_convolution(how, monkeypatch):
    """The convolution of W - mean, and dW' - mean as its gradient; groups, stride, dilation and a bias."""
    layer = norm.CenConv2d(CHANNELS, 8, 3, strides=2, padding=2, dilation=2, groups=2, use_bias=True)
    call = way(layer, how, monkeypatch)
    plain = nn.Conv2D(8, 3, 2, 2, 2, 2, in_channels=CHANNELS)
    plain.initialize()
    x, _ = draw(0, 3, 9)
    rs = np.random.RandomState(4)
    weight, bias = rs.standard_normal((8, CHANNELS // 2, 3, 3)) + 0.5, rs.standard_normal(8)
    layer.weight.set_data(mx.nd.array(weight))
    plain.weight.set_data(mx.nd.array(weight - weight.mean((1, 2, 3), keepdims=True)))
    for block in (layer, plain):
        block.bias.set_data(mx.nd.array(bias))
    found = []
    for block, run in ((layer, call), (plain, plain)):
        pictures = mx.nd.array(x)
        pictures.attach_grad()
        with autograd.record():
            y = run(pictures)
            loss = (y * y * y).sum()
        loss.backward()
        slope = block.weight.grad().asnumpy()
        slope = slope if block is layer else slope - slope.mean((1, 2, 3), keepdims=True)
        found.append([y.asnumpy(), pictures.grad.asnumpy(), slope, block.bias.grad().asnumpy()])
    for own, wanted in zip(*found):
        near(own, wanted)
    near(call(mx.nd.array(x)).asnumpy(), plain(mx.nd.array(x)).asnumpy())
