"""--accumulate: a batch in parts, one after another, whose gradients are added up."""

from dataclasses import replace

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd

from ibnnet_mx import models, norm
from ibnnet_mx.cli import run_options, train_options
from ibnnet_mx.distributed import job
from tests.tiny_runs import PLAN, Feed, arrays, batches, equal, make, values

FREE = replace(PLAN, norm='in')  # no picture sees its batch
SIZES = (8, 8, 5, 8)  # the third is no multiple of the parts


def trained(model='cifar_resnet8', wanted=FREE, cpus=1, recompute=False, sizes=SIZES):
    """(Trainer after a step with each batch, its logits)."""
    run = make(model, wanted, cpus, recompute)
    logits = [run.step(data, label, 0.05) for data, label in batches(*sizes, seed=2)]  # no ReLU's input is nearly 0
    return run, [np.concatenate([part.asnumpy() for part in parts]) for parts in logits]


def close(one, other, tolerance=2e-5):
    """Relative to the largest value of each array."""
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(
            one[name], other[name], rtol=0, atol=tolerance * np.abs(other[name]).max(), err_msg=name
        )


@pytest.mark.parametrize('kit', ['in', 'gn'])
@pytest.mark.parametrize(('parts', 'cpus', 'recompute'), [(2, 1, False), (4, 1, True), (8, 1, False), (2, 2, False)])
def test_parts_are_one_batch_where_no_picture_sees_another(parts, cpus, recompute, kit):
    """Logits, weights and momentum; more parts than a small batch has pictures too."""
    wanted = replace(PLAN, norm=kit)
    whole, expected = trained(wanted=wanted)
    run, found = trained(wanted=replace(wanted, accumulate=parts), cpus=cpus, recompute=recompute)
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5 * np.abs(other).max())
    close(values(run), values(whole))
    close(arrays(run.states()), arrays(whole.states()))
    assert equal(values(run, 0), values(run, cpus - 1))


@pytest.mark.parametrize('recompute', [False, True])
@pytest.mark.parametrize(
    'kit', [{}, dict(norm='mabn'), dict(norm='brn'), dict(norm='mabn', norm_batch_size=2), dict(norm_batch_size=2)]
)
def test_gradients_are_the_sum_of_those_of_the_parts_each_a_batch_for_its_norms(kit, recompute):
    """Two parts of 4: weights move by both gradients, running statistics and States by one step and then another."""
    wanted = replace(PLAN, mom=0.0, wd=0.0, accumulate=2, **kit)
    run, twin = (make('cifar_resnet8_ibn_a', wanted, 1, recompute) for recompute in (recompute, False))
    ((data, label),) = batches(8)
    before, total = values(twin), {}
    for x, y in zip((data[:4], data[4:]), (label[:4], label[4:])):
        with autograd.record():
            loss = twin.objective.loss(twin.net(x), y)
        loss.backward()
        for name, param in twin.net.collect_params().items():
            if param.grad_req != 'null':
                total[name] = total.get(name, 0) + param.grad().asnumpy()
    run.step(data, label, 0.5)
    mx.nd.waitall()
    found, moved = values(run), values(twin)
    for name, gradient in total.items():
        np.testing.assert_allclose(found[name], before[name] - 0.5 * gradient / 8, atol=1e-6, err_msg=name)
    states = [name for name, param in run.net.collect_params().items() if norm.is_state(param)]
    assert any(not np.array_equal(moved[name], before[name]) for name in states)
    for name in states:
        assert np.array_equal(found[name], moved[name]), name


def test_one_part_is_the_plain_step():
    assert equal(values(trained(wanted=replace(PLAN, accumulate=1))[0]), values(trained(wanted=PLAN)[0]))


def test_clipping_is_of_the_sum_and_the_frozen_stand_still():
    wanted = replace(FREE, clip_gradient=0.1, freeze=('stage1',), label_smoothing=0.1)
    before, (soft, label) = values(make('cifar_resnet8', wanted)), batches(8)[0]
    runs = [make('cifar_resnet8', replace(wanted, accumulate=parts)) for parts in (1, 4)]
    for run in runs:
        run.step(soft, mx.nd.one_hot(label, 4, 0.9, 0.1 / 3), 1.0)
    one, other = map(values, runs)
    close(other, one)
    for name in before:
        assert np.array_equal(other[name], before[name]) == name.startswith('stage1_'), name


@pytest.mark.parametrize('recompute', [False, True])
def test_batches_are_mixed_before_they_are_cut(recompute):
    wanted = replace(FREE, mixup=0.5, label_smoothing=0.1)
    runs = [make('cifar_resnet8', replace(wanted, accumulate=parts), 1, recompute) for parts in (1, 4)]
    for run in runs:
        run.train_epoch(Feed(batches(8, 8)))
    close(values(runs[1]), values(runs[0]))
    assert [batch[:3] for batch in runs[1].report.batches] == [(0, 0, 8), (0, 1, 8)]


def test_a_device_without_a_picture_adds_nothing():
    whole, _ = trained(sizes=(8, 1))  # a third step has a ReLU's input that is nearly 0
    run, _ = trained(wanted=replace(FREE, accumulate=2), cpus=2, sizes=(8, 1))
    close(values(run), values(whole))


def test_validation_takes_parts_too():
    run = make(plan=replace(PLAN, accumulate=4))
    rows, predict = [], run.net._call_cached_op
    run.net._call_cached_op = lambda x: rows.append(x.shape[0]) or predict(x)
    means = run.evaluate(Feed(batches(8, 8)))
    assert rows == [2] * 8
    assert means == pytest.approx(make().evaluate(Feed(batches(8, 8))))


def test_the_window_of_mabn_is_the_whole_batch_and_its_moments_are_those_without_parts():
    """Once it is filled, in layer after layer; the weights stand still."""
    found = []
    for parts in (1, 4):
        args = train_options.make_parser().parse_args(['--batch-size', '8', '--accumulate', str(parts)])
        wanted = replace(PLAN, norm='mabn', norm_batch_size=2, accumulate=parts)
        net = run_options.create_network(args, wanted, models.find('cifar_resnet8'), 4, job.planned('local'))
        assert net.norm_options['norm_args']['real_B'] == 8
        run = make('cifar_resnet8', replace(wanted, norm_args=(('real_B', 8),)))
        found.append([run.step(data, label, 0.0) for data, label in batches(*[8] * 9)][-1])
    (one,), parts = found
    parts = np.concatenate([part.asnumpy() for part in parts])
    np.testing.assert_allclose(parts, one.asnumpy(), rtol=0, atol=1e-5 * np.abs(parts).max())
