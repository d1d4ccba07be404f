"""Epochs of training and validation: rates, targets, what is told, and exact means."""

import random
from dataclasses import replace

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import data, models
from ibnnet_mx.distributed.cluster import connect
from ibnnet_mx.metrics.classification import scores
from ibnnet_mx.recipe import lr_at
from ibnnet_mx.recordio.reading.options import Options
from tests.metrics.test_classification import naive
from tests.tiny_runs import CLASSES, PLAN, Feed, batches, equal, make, values

MODEL = models.find('cifar_resnet8_v2')
SOURCE = data.Input(MODEL.size, MODEL.pixels.mean, MODEL.pixels.std)


def watched(run):
    """Notes each step's (data, target, rate) instead of making it."""
    steps = []

    def step(pixels, target, rate, told):
        steps.append((pixels.asnumpy(), target.asnumpy(), rate))
        return [mx.nd.zeros((pixels.shape[0], CLASSES))]

    run.step = step
    return steps


@pytest.mark.parametrize('schedule', ['step', 'linear', 'cosine'])
def test_each_step_has_the_rate_of_its_middle(schedule):
    plan = replace(PLAN, schedule=schedule, warmup_epochs=1)
    run = make(plan=plan)
    steps = watched(run)
    for _ in range(3):
        run.train_epoch(Feed(batches(4, 4, 3)))
    rates = [lr_at(plan, epoch + share) for epoch in range(3) for share in (1 / 6, 1 / 2, 5 / 6)]
    assert [rate for *_, rate in steps] == pytest.approx(rates)
    assert run.report.rates == [(epoch, pytest.approx(rates[3 * epoch + 2])) for epoch in range(3)]
    assert run.epoch == 3


def test_plain_labels_go_in_as_they_are():
    run, ((pixels, label),) = make(), batches(6)
    steps = watched(run)
    run.train_epoch(Feed([(pixels, label)]))
    assert np.array_equal(steps[0][0], pixels.asnumpy())
    assert np.array_equal(steps[0][1], label.asnumpy())


def test_smoothed_labels_share_a_part_among_all_classes():
    run, ((pixels, label),) = make(plan=replace(PLAN, label_smoothing=0.2)), batches(6)
    steps = watched(run)
    run.train_epoch(Feed([(pixels, label)]))
    expected = np.eye(CLASSES)[label.asnumpy().astype(int)] * 0.8 + 0.2 / CLASSES
    assert np.array_equal(steps[0][0], pixels.asnumpy())
    np.testing.assert_allclose(steps[0][1], expected, atol=1e-6)


@pytest.mark.parametrize('smooth', [0.0, 0.2])
def test_mixup_mixes_pictures_and_labels_alike(smooth):
    """Row i is share * row i + (1 - share) * row j, with one share for a batch; distinct rows tell j."""
    run = make(plan=replace(PLAN, mixup=0.7, label_smoothing=smooth))
    feed = batches(6, 6)
    steps, mixed = watched(run), 0
    run.train_epoch(Feed(feed))
    for (pixels, label), (found, target, _) in zip(feed, steps):
        rows = pixels.asnumpy()
        clean = np.eye(CLASSES)[label.asnumpy().astype(int)] * (1 - smooth) + smooth / CLASSES
        np.testing.assert_allclose(target.sum(axis=1), 1, atol=1e-5)
        partners = []
        for i, row in enumerate(found):
            weights = np.linalg.lstsq(rows.reshape(6, -1).T, row.ravel(), rcond=None)[0]
            np.testing.assert_allclose(weights.sum(), 1, atol=1e-4)
            np.testing.assert_allclose(target[i], weights @ clean, atol=1e-4)
            partners += [w for k, w in enumerate(weights) if abs(w) > 1e-4 and k != i]
        mixed += len(partners)
        assert np.ptp(partners or [0]) < 1e-4
    assert mixed > 0
    again = make(plan=replace(PLAN, mixup=0.7, label_smoothing=smooth))
    same = watched(again)
    again.train_epoch(Feed(feed))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(steps, same))
    again.train_epoch(Feed(feed))
    assert not np.array_equal(same[0][1], same[2][1])


@pytest.mark.parametrize('recompute', [False, True])
def test_what_is_told_of_a_batch_is_its_own(recompute):
    run, twin = make(recompute=recompute), make()
    feed = batches(8, 8, 5)
    run.train_epoch(Feed(feed))
    told = []
    for i, (pixels, label) in enumerate(feed):
        logits = twin.step(pixels, label, lr_at(PLAN, (i + 0.5) / 3))[0].asnumpy()
        told.append((0, i, len(label), scores(logits, label.asnumpy())))
    assert run.report.batches == told


def test_each_epoch_draws_from_its_own_seed():
    """Whatever was drawn before: a resumed run cannot know it."""
    drawn = []
    for skipped, run in ((0, make()), (5, make()), (0, make(plan=replace(PLAN, seed=1)))):
        for _ in (0, 1):
            mx.nd.random.uniform(shape=(skipped + 1,)).wait_to_read()
            np.random.rand(skipped)
            numbers = []
            run.step = lambda pixels, *_, numbers=numbers: (
                numbers.extend([float(mx.nd.random.uniform().asscalar()), np.random.rand(), random.random()])
                or [mx.nd.zeros((pixels.shape[0], CLASSES))]
            )
            run.train_epoch(Feed(batches(2)))
            drawn.append(numbers)
    assert drawn[0] == drawn[2]
    assert drawn[1] == drawn[3]
    for other in (1, 4, 5):
        assert not any(a == b for a, b in zip(drawn[0], drawn[other]))


def test_devices_agree_after_an_epoch():
    run = make(cpus=2)
    run.train_epoch(Feed(batches(8, 5)))
    assert equal(values(run, 0), values(run, 1))


def test_epochs_on_several_devices_repeat_themselves():
    """Running statistics included: a device's own come late, in its backward pass."""
    runs = [make('cifar_resnet8', cpus=3) for _ in range(4)]
    for run in runs:
        run.train_epoch(Feed(batches(9, 9)))
    assert all(equal(values(run), values(runs[0])) for run in runs)


def test_a_batch_without_a_good_picture_is_passed_over():
    run = make()
    before = values(run)

    class Empty(Feed):
        def numbered(self, epoch=0, start=0):
            yield 0, mx.nd.zeros((1, 3, 32, 32)), mx.nd.zeros((1,)), 0

    run.train_epoch(Empty(batches(1)))
    assert equal(values(run), before)
    assert run.report.batches == []
    assert run.epoch == 1


@pytest.mark.parametrize('seed', [123456, 2**32 - 1])
def test_large_seeds_train(seed, tiny_data):
    plan = replace(PLAN, seed=seed, mixup=0.2)
    run = make(plan=plan)
    train, _ = data.record_iters(plan, tiny_data, run.cluster, SOURCE, Options(threads=1, limit=8))
    run.train_epoch(train)
    assert len(run.report.batches) == 1


@pytest.mark.parametrize('batch_size', [1, 4, 7, 9, 18, 32])
@pytest.mark.parametrize('cpus', [1, 2])
def test_validation_counts_every_picture_once_whatever_the_batch(tiny_data, batch_size, cpus):
    run = make(cpus=cpus)
    run.step(*batches(8)[0], 0.05)
    run.cluster.average([p for p in run.net.collect_params().values() if 'running_' in p.name])
    cluster = connect()
    _, whole = data.record_iters(replace(PLAN, batch_size=18), tiny_data, cluster, SOURCE, Options(threads=1))
    ((pixels, label, real),) = whole.epoch()
    assert real == 18
    sums = naive(run.net(pixels).asnumpy(), label.asnumpy())
    _, val = data.record_iters(replace(PLAN, batch_size=batch_size), tiny_data, cluster, SOURCE, Options(threads=1))
    means = run.evaluate(val)
    assert means == pytest.approx({name: value / 18 for name, value in sums.items()}, rel=1e-4)
    assert means['accuracy'] == pytest.approx(sums['accuracy'] / 18, abs=1e-12)
    assert run.report.means == [(-1, means)]


def test_a_network_learns(tiny_data):
    plan = replace(PLAN, optimizer='nag', epochs=5, schedule='linear', lr_steps=())
    run = make('cifar_resnet8_v2_ibn_a', plan)
    train, val = data.record_iters(plan, tiny_data, run.cluster, SOURCE, Options(threads=1))
    for _ in range(5):
        run.train_epoch(train)
    assert run.evaluate(val)['accuracy'] > 0.8
