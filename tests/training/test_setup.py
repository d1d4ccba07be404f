"""Parts that do not learn or learn at a rate of their own, and starting from other weights: on the trainer."""

import json
from dataclasses import replace

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import models
from ibnnet_mx.training import setup
from tests.conftest import thorough
from tests.refusals import refused
from tests.tiny_runs import CLASSES, PLAN, Feed, arrays, batches, equal, make, scatter, values

MODELS = ['cifar_resnet8', 'cifar_resnet8_v2', 'cifar_resnet8_ibn_a', 'cifar_resnet8_v2_ibn_b']
HARD = replace(PLAN, wd=0.1, no_decay=(), clip_gradient=5.0)  # everything that could move what should stand still
LOW = ('stem', 'stage1')


def names_of(run, *parts):
    """Names of all values of some parts."""
    return {name for part in parts for name in run.net.parts()[part].collect_params()}


def only(found, names):
    return {name: array for name, array in found.items() if name in names}


def after(run, steps=(8, 8, 5), rate=0.05):
    """(values before, values after) some steps, none of them 0 or 1 by chance."""
    scatter(run)
    for name, param in run.net.collect_params().items():
        if name == 'bn_data_gamma':  # it has no say: mxnet itself writes 1 into it
            param.set_data(mx.nd.ones_like(param.data(run.cluster.contexts[0])))
    before = values(run)
    for data, label in batches(*steps):
        run.step(data, label, rate)
    return before, values(run)


def test_parts_are_named_from_the_stem_to_the_head():
    net = models.create('cifar_resnet8_v2')
    assert list(net.parts()) == ['stem', 'stage1', 'stage2', 'stage3', 'neck', 'embedding', 'head']
    assert list(models.create('cifar_resnet8', features='stage2').parts()) == ['stem', 'stage1', 'stage2']
    held = [name for part in net.parts().values() for name in part.collect_params()]
    assert sorted(held) == sorted(net.collect_params())


@pytest.mark.parametrize('optimizer', ['sgd', 'nag'])
@pytest.mark.parametrize('parts', [LOW, ('stage3',), ('body',), ('stage2', 'head')])
@pytest.mark.parametrize('model', MODELS)
def test_frozen_parts_stand_still_and_the_others_move(model, parts, optimizer):
    run = make(model, replace(HARD, freeze=parts, optimizer=optimizer))
    body = [part for part in run.net.parts() if part != 'head']
    frozen = names_of(run, *(body if parts == ('body',) else parts))
    before, now = after(run)
    assert equal(only(before, frozen), only(now, frozen))
    assert {name for name in now if not np.array_equal(before[name], now[name])} == (
        now.keys() - frozen - {'bn_data_gamma'}
    )
    assert any('running_' in name for name in frozen) or model.endswith('ibn_b')


def test_what_is_frozen_has_neither_gradient_nor_optimiser_state():
    run = make(plan=replace(HARD, freeze=LOW))
    after(run)
    params, frozen = run.net.collect_params(), names_of(run, *LOW)
    assert all(params[name]._grad is None and params[name].grad_req == 'null' for name in frozen)
    learning = {name for name, param in params.items() if param.grad_req != 'null'}
    assert run.states().keys() == learning
    assert learning == {name for name in params.keys() - frozen if 'running_' not in name}


def backward_convolutions(run):
    """How many gradients of convolutions one step computes, as the profiler counts operators."""
    (batch,) = batches(8)
    run.step(*batch, 0.05)
    mx.nd.waitall()
    mx.profiler.set_state('run')
    run.step(*batch, 0.05)
    mx.nd.waitall()
    mx.profiler.set_state('stop')
    counted = json.loads(mx.profiler.dumps(reset=True, format='json'))['Time']['operator']
    kinds = ('_backward_Convolution', '_backward_ibnnet_winograd')
    return sum(entry['Count'] for name, entry in counted.items() if any(kind in name for kind in kinds))


@pytest.mark.parametrize('recompute', [False, True])
def test_the_backward_pass_ends_above_what_is_frozen(recompute, tmp_path, monkeypatch):
    """Of 9 convolutions 3 are below stage2."""
    monkeypatch.setenv('MXNET_EXEC_BULK_EXEC_TRAIN', '0')  # operators one by one, so that they are counted
    mx.profiler.set_config(profile_symbolic=True, aggregate_stats=True, filename=str(tmp_path / 'profile.json'))
    runs = [make('cifar_resnet8', replace(PLAN, freeze=parts), 1, recompute) for parts in ((), LOW, ('body',))]
    assert [backward_convolutions(run) for run in runs] == [9, 6, 0]


@pytest.mark.parametrize('recompute', [False, True])
@pytest.mark.parametrize('model', MODELS)
def test_a_frozen_body_normalises_in_training_as_in_prediction(model, recompute):
    run = make(model, replace(PLAN, freeze=('body',)), recompute=recompute)
    scatter(run)
    for data, label in batches(8, 5):
        expected = run.net(data).asnumpy()
        (found,) = run.step(data, label, 0.05)
        np.testing.assert_allclose(found.asnumpy(), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize('cpus', [1, 2])
@pytest.mark.parametrize('parts', [LOW, *thorough(('stage2',), ('body',))])
@pytest.mark.parametrize('model', MODELS)
def test_recomputing_changes_nothing(model, parts, cpus):
    plan = replace(HARD, freeze=parts, lr_mult=(('head', 2.0),))
    plain, thrifty = (make(model, plan, cpus, recompute) for recompute in (False, True))
    found = [after(run, (8, 8, 5, 8))[1] for run in (plain, thrifty)]
    assert equal(*found)
    assert equal(values(plain, cpus - 1), values(thrifty, cpus - 1))
    assert equal(arrays(plain.states()), arrays(thrifty.states()))


@pytest.mark.parametrize('cpus', [2, 3])
def test_frozen_parts_stand_still_on_several_devices(cpus):
    """A third of three times a number is often its neighbour."""
    run = make(plan=replace(HARD, freeze=('stem', 'stage2')), cpus=cpus)
    scatter(run)
    frozen = names_of(run, 'stem', 'stage2') - {'bn_data_gamma'}
    before = only(values(run), frozen)
    for _ in range(2):
        run.train_epoch(Feed(batches(8, 1)))  # the second batch leaves devices without a picture
        for device in range(cpus):
            assert equal(only(values(run, device), frozen), before)
    assert equal(values(run, 0), values(run, cpus - 1))


@pytest.mark.parametrize(('optimizer', 'wd'), [('sgd', 0.0), ('sgd', 0.5), ('nag', 0.0), ('nag', 0.5)])
def test_a_factor_of_the_rate_is_one_of_the_step(optimizer, wd):
    plan = replace(PLAN, optimizer=optimizer, mom=0.0, wd=wd, no_decay=())
    steps = []
    for factors in ((), (('body', 0.5), ('head', 0.1), ('stage2', 0.0), ('body', 0.1), ('stage3', 2.0))):
        before, now = after(make('cifar_resnet8', replace(plan, lr_mult=factors)), (8,), 1.0)
        steps.append({name: now[name] - before[name] for name in now if 'running_' not in name})
    plain, found = steps
    for name, step in plain.items():
        factor = 2.0 if 'stage3' in name else 0.1
        assert np.abs(step).max() > 0
        np.testing.assert_allclose(found[name], factor * step, rtol=1e-3, atol=1e-6, err_msg=name)


@pytest.mark.parametrize('optimizer', ['sgd', 'nag'])
def test_a_factor_of_zero_stands_still_and_lets_the_statistics_move(optimizer):
    run = make('cifar_resnet8', replace(HARD, optimizer=optimizer, lr_mult=(('stage1', 0.0),)))
    before, now = after(run)
    for name in names_of(run, 'stage1'):
        assert np.array_equal(before[name], now[name]) == ('running_' not in name), name


def test_momentum_holds_the_factor():
    run = make(plan=replace(PLAN, wd=0.0, lr_mult=(('body', 0.1),)))
    before, now = after(run, (8,))
    for name, state in arrays(run.states()).items():
        np.testing.assert_allclose(now[name] - before[name], state, rtol=1e-3, atol=1e-6)


PARTS = 'the parts with weights are stem, stage1, stage2, stage3, head; body is all but the head'


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        (dict(freeze=('stage4',)), f'--freeze stage4: {PARTS}'),
        (dict(freeze=('embedding',)), f'--freeze embedding: {PARTS}'),  # a mean: nothing of it could stand still
        (dict(lr_mult=(('fc1', 1.0),)), f'--lr-mult fc1: {PARTS}'),
        (dict(freeze=('body', 'head')), '--freeze body,head leaves no part that learns: freeze fewer parts'),
        (
            dict(freeze=('stem', 'stage1', 'stage2', 'stage3', 'head')),
            '--freeze stem,stage1,stage2,stage3,head leaves no part',
        ),
        (
            dict(freeze=('stage1',), lr_mult=(('body', 0.1), ('stage1', 0.5))),
            '--lr-mult stage1=0.5: --freeze stops stage1 from learning; leave one of the two out',
        ),
    ],
)
def test_what_cannot_be_is_refused(changes, text):
    with refused(text):
        make('cifar_resnet8', replace(PLAN, **changes))


def test_what_is_thawed_goes_on_without_its_old_momentum():
    """--retrain with another --freeze: a state is kept for what learns, and begins anew for what learns again."""
    before, again = make(plan=replace(PLAN, freeze=('head',))), make(plan=replace(PLAN, freeze=LOW))
    after(before)
    again.set_states(arrays(before.states()))
    assert again.states().keys() == before.states().keys() - names_of(again, *LOW)
    after(again)
    assert again.states().keys() == (before.states().keys() | names_of(again, 'head')) - names_of(again, *LOW)


def test_prepare_gives_the_parts_that_learn():
    net = models.create('cifar_resnet8_v2')
    learning = setup.prepare(net, replace(PLAN, freeze=('stem', 'neck')))
    assert learning == [net.parts()[name] for name in ('stage1', 'stage2', 'stage3', 'head')]


@pytest.mark.parametrize('cpus', [1, 2])
def test_a_start_is_loaded_over_what_the_seed_drew(cpus):
    """The head that it leaves alone is that of the seed; all devices begin alike; its lines are told."""

    def start(net):
        for name, param in net.collect_params().items():
            if not name.startswith('fc1_'):
                param.set_data(mx.nd.full(param.shape, 0.5))
        return ['from elsewhere']

    plain, run = make(), make(cpus=cpus, start=start)
    assert run.report.lines == ['from elsewhere']
    heads = names_of(run, 'head')
    assert len(heads) == 2
    for device in range(cpus):
        found = values(run, device)
        assert equal(only(found, heads), only(values(plain), heads))
        assert all((array == 0.5).all() for name, array in found.items() if name not in heads)
    assert run.step(*batches(8)[0], 0.05)[0].shape[1] == CLASSES
