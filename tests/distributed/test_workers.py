"""Several workers are one run: sums, weights, statistics, checkpoints, and what one of them meets alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ibnnet_mx.checkpoint import Facts, Store, restore
from ibnnet_mx.cli.options import Stopped
from ibnnet_mx.recipe import saved
from ibnnet_mx.training import agreement, saver
from ibnnet_mx.training.finite import NotFinite
from tests.threads import together
from tests.tiny_runs import PLAN, Cut, Feed, arrays, batches, equal, make, values

GN = replace(PLAN, norm='gn', lr=1e-4, batch_size=9)


def share(found, cluster):
    """A worker's part of each (data, label); None, None where it has no row."""
    for data, label in found:
        rows = np.array_split(np.arange(data.shape[0]), cluster.num_workers)[cluster.rank]
        yield (data[rows[0] : rows[-1] + 1], label[rows[0] : rows[-1] + 1]) if len(rows) else (None, None)


class Part(Feed):
    """As data.Iterator, of one worker."""

    def __init__(self, found, cluster):
        super().__init__(list(share(found, cluster)))
        self._all = found

    def numbered(self, epoch=0, start=0):
        for step, (data, label) in list(enumerate(self._batches))[start:]:
            yield step, data, label, 0 if data is None else len(label)

    def labels(self):
        return {'records': np.concatenate([label.asnumpy() for _, label in self._all])}


def trained(plan, found, model='cifar_resnet8_v2'):
    """work() of a worker: it trains an epoch."""

    def work(cluster):
        run = make(model, plan, cluster=cluster)
        run.train_epoch(Part(found, cluster))
        return run

    return work


@pytest.mark.parametrize('count', [2, 3])
@pytest.mark.parametrize('model', ['cifar_resnet8', 'cifar_resnet8_ibn_b'])
def test_workers_make_the_step_of_one(model, count):
    """Shares of unlike sizes; clipped, so that the norm is that of the whole gradient."""
    plan, found = replace(GN, clip_gradient=0.01), batches(9, 7)
    one = make(model, plan)
    one.train_epoch(Feed(found))
    for run in together(count, trained(plan, found, model)):
        for name, array in values(run).items():
            np.testing.assert_allclose(array, values(one)[name], rtol=1e-4, atol=2e-6, err_msg=name)
        assert run.report.sums.samples == 16
        assert run.report.sums.values == pytest.approx(one.report.sums.values, rel=1e-4)


def test_workers_have_the_same_weights_bit_for_bit():
    first, second = together(2, trained(replace(PLAN, norm='bn'), batches(8, 8, 8)))
    assert equal(values(first), values(second))
    assert equal(arrays(first.states()), arrays(second.states()))


def test_statistics_of_norms_are_the_mean_over_all_devices():
    """Of two workers and four devices in one process alike, for the same shares of a batch."""
    found = batches(8, 8)
    one = make(plan=replace(PLAN, lr=0.0), cpus=4)
    one.train_epoch(Feed(found))
    for run in together(2, trained(replace(PLAN, lr=0.0), found), cpus=2):
        for device in range(2):
            for name, array in values(run, device).items():
                np.testing.assert_allclose(array, values(one)[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_worker_without_pictures_takes_part():
    """A batch of one picture for two workers, and one that no worker can read."""
    found = [*batches(9, 1), (None, None)]

    def work(cluster):
        feed = Part(found[:2], cluster)
        feed._batches.append((None, None))
        run = make(plan=GN, cluster=cluster)
        run.train_epoch(feed)
        return run

    one = make(plan=GN)
    one.train_epoch(Feed(found[:2]))
    for run in together(2, work):
        assert run.report.sums.samples == 10
        for name, array in values(run).items():
            if 'running' not in name and 'bn_data' not in name:
                np.testing.assert_allclose(array, values(one)[name], rtol=1e-4, atol=2e-6, err_msg=name)


@pytest.mark.parametrize('nan', ['stop', 'skip'])
def test_all_workers_meet_the_batch_that_is_not_finite(nan):
    """It is infinitely bright in the share of the second."""
    found = batches(8, 8, 8)
    pixels = found[1][0].copy()
    pixels[7] = float('inf')
    found[1] = pixels, found[1][1]

    def work(cluster):
        run = make(plan=GN, cluster=cluster)
        run.nan = nan
        try:
            run.train_epoch(Part(found, cluster))
        except NotFinite as error:
            return error.place
        return run

    first, second = together(2, work)
    if nan == 'stop':
        assert first == second == (0, 1)
    else:
        assert equal(values(first), values(second))
        assert all('epoch 0, batch 1: the gradient is not finite' in run.report.lines[-1] for run in (first, second))
        assert np.isfinite(values(first)['fc1_weight']).all()


def test_workers_go_on_within_an_epoch_as_if_they_had_not_been_cut(tmp_path):
    """With statistics of norms that are each worker's own."""
    found, store = batches(8, 8, 8, 5), Store(tmp_path / 'net')
    whole = together(2, trained(PLAN, found))

    def first(cluster):
        run = make(cluster=cluster)
        with pytest.raises(Stopped):
            run.train_epoch(Part(found, cluster), Cut(run, store, 2))

    def again(cluster):
        run, feed = make(cluster=cluster), Part(found, cluster)
        restore(run, store.choose())
        agreement.check_workers(run, feed, feed)
        run.train_epoch(feed)
        return run

    together(2, first, cpus=1)
    for run, before in zip(together(2, again), whole):
        assert equal(values(run), values(before))
        assert equal(arrays(run.states()), arrays(before.states()))
        assert vars(run.report.sums) == vars(before.report.sums)
    alone = make()
    with pytest.raises(ValueError, match='it was saved within an epoch on 2 devices, this run has 1'):
        restore(alone, store.choose())


def test_a_signal_to_one_worker_ends_all_after_the_same_batch(tmp_path):
    found, store = batches(8, 8, 8, 5), Store(tmp_path / 'net')

    def work(cluster):
        run, feed = make(cluster=cluster), Part(found, cluster)
        about = Facts('m', {}, saved.to_dict(run.recipe))
        keep = saver.Saver(store, run, (feed, feed), about)
        keep._asked = 15 if cluster.rank else 0
        with pytest.raises(Stopped) as stopped:
            keep.train()
        return stopped.value.code, stopped.value.together, str(stopped.value), run.batch

    first, second = together(2, work)
    assert first == second
    assert first[:2] == (143, True)
    assert first[2].startswith('stopped by SIGTERM after batch 1 of epoch 0, saved')
    assert store.unfinished() == [(0, 1)]


def test_a_checkpoint_that_cannot_be_written_ends_all_workers(tmp_path, monkeypatch):
    def full(self, *_):
        raise OSError(28, 'No space left on device', 'net')

    monkeypatch.setattr(Store, 'write', full)
    store = Store(tmp_path / 'net')

    def work(cluster):
        run = make(cluster=cluster)
        feed = Part(batches(8), cluster)
        keep = saver.Saver(store, run, (feed, feed), Facts('m', {}, {}), go_on=cluster.num_workers == 3)
        with pytest.raises(OSError, match='No space|worker 0 could not') as failed:
            keep._write(1)
        return str(failed.value)

    first, second = together(2, work)
    assert 'No space left' in first
    assert second == 'worker 0 could not write a checkpoint'


def test_workers_that_are_not_alike_are_told():
    def work(cluster):
        plan = replace(PLAN, lr=0.1 + cluster.rank)
        run, feed = make(plan=plan, cluster=cluster), Feed(batches(8, seed=cluster.rank))
        feed.labels = lambda: {'records': np.float32([cluster.rank])}
        with pytest.raises(
            ValueError, match='worker 1 differs from worker 0 in its options, records: all need'
        ) as told:
            agreement.check_workers(run, feed, feed)
        return str(told.value)

    first, second = together(2, work)
    assert first == second


def test_weights_that_have_drifted_apart_are_those_of_worker_0_again():
    """As on processors that round otherwise."""

    def work(cluster):
        run = make(cluster=cluster)
        run.train_epoch(Part(batches(8, 8), cluster))
        if cluster.rank:
            weight = run.net.collect_params()['fc1_weight']
            weight.set_data(weight.data() * (1 + 1e-6))
        agreement.hold_weights(run)
        return run

    first, second = together(2, work)
    assert equal(values(first), values(second))
    assert equal(arrays(first.states()), arrays(second.states()))
    assert (
        first.report.lines[-1]
        == 'workers 1 came to differ from worker 0 in their weights: all go on from those of worker 0'
    )


def test_validation_counts_every_picture_once():
    found = batches(8, 5)
    one = make()
    expected = one.evaluate(Feed(found))

    def work(cluster):
        return make(cluster=cluster).evaluate(Part(found, cluster))

    for count in (2, 3):
        for means in together(count, work):
            assert means == pytest.approx(expected, rel=1e-6)


def test_what_is_waited_for_is_told():
    def work(cluster):
        run, stages = make(cluster=cluster), []
        run.stage = stages.append
        run.train_epoch(Part(batches(8), cluster))
        return stages

    assert together(2, work)[0] == ['data', 'step', 'kvstore', 'step', 'data']


def test_all_workers_go_back_together_and_leave_the_batch_out(tmp_path):
    store, found = Store(tmp_path / 'net'), batches(8, 8, 8)
    bright = [(pixels.copy(), label) for pixels, label in found]
    bright[1][0][7] = float('inf')

    def work(cluster):
        run, feed = make(plan=GN, cluster=cluster), Part(found, cluster)
        run.nan = 'rollback'
        keep = saver.Saver(store, run, (feed, feed), Facts('m', {}, saved.to_dict(run.recipe)))
        keep.train()
        keep._write(1)
        feed._batches = list(share(bright, cluster))
        keep.train()
        return run

    first, second = together(2, work)
    assert first.left_out == second.left_out == {(1, 1)}
    assert equal(values(first), values(second))
    assert first.epoch == 2
    assert first.report.sums.samples == 16
