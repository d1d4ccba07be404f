"""One step of training: what it changes, on one device, on two, and with recomputed activations."""

from dataclasses import replace

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd

from tests.tiny_runs import CLASSES, PLAN, arrays, batches, equal, make, scatter, values

BARE = replace(PLAN, mom=0.0, wd=0.0, lr=1.0)
MODELS = [
    'cifar_resnet8',
    'cifar_resnet8_v2',
    'cifar_resnet8_ibn_a',
    'cifar_resnet8_ibn_b',
    'cifar_resnet8_v2_ibn_a',
    'cifar_resnet8_v2_ibn_b',
]


def trained(run):
    return {n: a for n, a in values(run).items() if 'running_' not in n}


def moved(run, data, label, rate=1.0):
    """{parameter: what one step adds to it}."""
    before = trained(run)
    run.step(data, label, rate)
    after = trained(run)
    return {name: after[name] - before[name] for name in before}


def close(one, other, tolerance):
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=tolerance, err_msg=name)


def test_a_step_subtracts_rate_times_the_mean_gradient_of_the_rows():
    (data, label), net = batches(6)[0], make(plan=BARE).net
    with autograd.record():
        logits = net(data)
        loss = -mx.nd.pick(mx.nd.log_softmax(logits), label).mean()
    loss.backward()
    gradients = {n: p.grad().asnumpy() for n, p in net.collect_params().items() if p.grad_req != 'null'}
    steps = moved(make(plan=BARE), data, label, 0.5)
    assert max(np.abs(g).max() for g in gradients.values()) > 0.01
    close({n: steps[n] for n in gradients}, {n: -0.5 * g for n, g in gradients.items()}, 1e-5)


@pytest.mark.parametrize('kvstore', ['local', 'device'])
def test_two_devices_are_one(kvstore):
    """With InstanceNorm no picture sees its batch, so that nothing but rounding may differ; 5 rows are 2 and 3."""
    one, two = (make('cifar_resnet8', replace(PLAN, norm='in'), cpus, False, kvstore) for cpus in (1, 2))
    assert equal(values(one), values(two))
    for data, label in batches(8, 5, 1, 8):
        expected = one.step(data, label, 0.05)[0].asnumpy()
        found = np.concatenate([part.asnumpy() for part in two.step(data, label, 0.05)])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert equal(values(two, 0), values(two, 1))
    close(values(one), values(two), 1e-5)


def test_running_statistics_become_the_mean_of_the_devices():
    run = make(cpus=2)
    run.step(*batches(8)[0], 0.05)
    both = [values(run, device) for device in (0, 1)]
    names = [n for n in both[0] if 'running_' in n]
    assert any(not np.array_equal(both[0][n], both[1][n]) for n in names)
    run.cluster.average([p for p in run.net.collect_params().values() if 'running_' in p.name])
    for device in (0, 1):
        after = values(run, device)
        close({n: after[n] for n in names}, {n: (both[0][n] + both[1][n]) / 2 for n in names}, 1e-5)
        assert equal({n: a for n, a in after.items() if n not in names}, trained(run))


@pytest.mark.parametrize('cpus', [1, 2])
@pytest.mark.parametrize('model', MODELS)
def test_recomputing_changes_nothing(model, cpus):
    """Weights, running statistics, optimiser state and logits, bit for bit; a smaller batch in between."""
    plain, thrifty = (make(model, cpus=cpus, recompute=recompute) for recompute in (False, True))
    for data, label in batches(8, 8, 5, 8):
        expected, found = (run.step(data, label, 0.05) for run in (plain, thrifty))
        for a, b in zip(expected, found):
            assert np.array_equal(a.asnumpy(), b.asnumpy())
    for device in range(cpus):
        assert equal(values(plain, device), values(thrifty, device))
    assert equal(arrays(plain.states()), arrays(thrifty.states()))


def test_recomputing_takes_soft_labels():
    plan = replace(PLAN, label_smoothing=0.1)
    plain, thrifty = make(plan=plan), make(plan=plan, recompute=True)
    for data, label in batches(4, 4):
        soft = mx.nd.one_hot(label, CLASSES, 0.9, 0.1 / 3)
        plain.step(data, soft, 0.05)
        thrifty.step(data, soft, 0.05)
    assert equal(values(plain), values(thrifty))


@pytest.mark.parametrize('recompute', [False, True])
def test_logits_of_a_step_outlive_the_next_one(recompute):
    """They are read while the next step runs."""
    run = make(recompute=recompute)
    (logits,) = run.step(*batches(4, seed=3)[0], 0.05)
    before = logits.asnumpy()
    run.step(*batches(4, seed=4)[0], 0.05)
    assert np.array_equal(logits.asnumpy(), before)


def norm_of(steps):
    return np.sqrt(sum((step.astype(np.float64) ** 2).sum() for step in steps.values()))


@pytest.mark.parametrize('cpus', [1, 2])
def test_clipping_bounds_the_norm_of_the_whole_gradient_and_keeps_its_direction(cpus):
    batch = batches(8)[0]
    free = moved(make(plan=BARE, cpus=cpus), *batch)
    clipped = moved(make(plan=replace(BARE, clip_gradient=0.1), cpus=cpus), *batch)
    assert norm_of(free) > 0.2
    assert norm_of(clipped) == pytest.approx(0.1, rel=1e-3)
    close(clipped, {n: step * 0.1 / norm_of(free) for n, step in free.items()}, 1e-5)


def test_a_bound_that_is_not_met_changes_nothing():
    batch, large = batches(8)[0], replace(BARE, clip_gradient=1e6)
    assert equal(moved(make(plan=BARE), *batch), moved(make(plan=large), *batch))


@pytest.mark.parametrize('spared', [(), ('beta', 'bias'), ('gamma', 'beta', 'bias')])
def test_decay_spares_the_given_endings_only(spared):
    found = []
    for wd in (0.0, 0.5):
        run = make(plan=replace(BARE, wd=wd, no_decay=spared))
        scatter(run)
        before = trained(run)
        found.append(moved(run, *batches(4)[0], 0.1))
    for name, array in before.items():
        if run.net.collect_params()[name].grad_req == 'null':
            continue  # bn_data has no scale
        decay = 0.0 if name.endswith(spared) else -0.1 * 0.5 * array
        np.testing.assert_allclose(found[1][name] - found[0][name], decay, atol=1e-6, err_msg=name)


def test_zero_gamma_starts_every_unit_as_the_shortcut_alone():
    run = make('cifar_resnet8', replace(PLAN, zero_gamma=True))
    x = mx.nd.array(np.random.RandomState(0).randn(2, 16, 8, 8))
    for training in (False, True):
        with autograd.record(train_mode=training):
            y = run.net.features[1](x)
        assert np.array_equal(y.asnumpy(), np.maximum(x.asnumpy(), 0))
    assert not np.array_equal(make('cifar_resnet8').net.features[1](x).asnumpy(), np.maximum(x.asnumpy(), 0))


def test_weights_start_from_the_seed_alone():
    first = values(make())
    mx.random.seed(99)
    assert equal(first, values(make(cpus=2), device=1))
    assert not equal(first, values(make(plan=replace(PLAN, seed=1))))


def test_states_are_each_parameters_own_momentum():
    """After one step of SGD the momentum is what the step added."""
    run = make(plan=replace(PLAN, wd=0.0))
    assert run.states() == {}
    steps = moved(run, *batches(4)[0], 0.05)
    states = arrays(run.states())
    assert states.keys() == {n for n, p in run.net.collect_params().items() if p.grad_req != 'null'}
    close(states, {n: steps[n] for n in states}, 1e-6)


@pytest.mark.parametrize('evaluated', [False, True])
@pytest.mark.parametrize(('optimizer', 'momentum'), [('sgd', 0.9), ('nag', 0.9), ('nag', 0.0)])
def test_an_update_follows_its_formula(optimizer, momentum, evaluated):
    """Decay of the weight before the step; an evaluation leaves weights in oneDNN's layout and must change nothing."""
    run = make('cifar_resnet8', replace(PLAN, optimizer=optimizer, mom=momentum, wd=0.5, no_decay=()))
    weights, states = trained(run), {}
    for data, label in batches(4, 4, 4):
        run.step(data, label, 0.1)
        for name, weight in weights.items():
            g = run.net.collect_params()[name].grad().asnumpy() / 4 + 0.5 * weight
            states[name] = momentum * states.get(name, 0) - 0.1 * g
            weights[name] = weight + (momentum * states[name] - 0.1 * g if optimizer == 'nag' else states[name])
        if evaluated:
            run.net(data).wait_to_read()
    close(trained(run), weights, 2e-5)
    close(arrays(run.states()), states if momentum else {}, 2e-5)


@pytest.mark.parametrize(('before', 'after'), [(1, 1), (2, 2), (1, 2)])
def test_states_carry_over_to_every_device(before, after):
    plan = replace(PLAN, norm='in')
    old, new = make('cifar_resnet8', plan, before), make('cifar_resnet8', plan, after)
    old.step(*batches(8)[0], 0.05)
    for name, array in values(old).items():
        new.net.collect_params()[name].set_data(mx.nd.array(array))
    new.set_states(arrays(old.states()))
    for run in (old, new):
        run.step(*batches(8, seed=5)[0], 0.05)
    assert equal(values(new, 0), values(new, after - 1))
    close(values(old), values(new), 0 if before == after else 1e-5)


@pytest.mark.parametrize('states', [{'nobody': np.zeros(3, 'f')}, {'fc1_bias': np.zeros(CLASSES + 1, 'f')}])
def test_states_of_another_network_are_refused(states):
    with pytest.raises(ValueError, match=f'the optimiser state does not fit the network: {next(iter(states))}'):
        make().set_states(states)


def test_states_of_another_type_are_refused():
    with pytest.raises(ValueError, match='the optimiser state must be float32, not float64: fc1_bias'):
        make().set_states({'fc1_bias': np.zeros(CLASSES)})
