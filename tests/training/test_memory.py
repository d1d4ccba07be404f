"""The estimate of a run's memory, and the cheapest way of a step that fits."""

import re
from dataclasses import replace

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import _limits
from ibnnet_mx.errors import OptionError, dashed
from ibnnet_mx.training import memonger, memory
from tests.tiny_runs import PLAN, batches, equal, make, values

MODEL, SHAPE, PLENTY = 'cifar_resnet20_ibn_a', (32, 32), 10**12


def sized(rows, **more):
    return replace(PLAN, batch_size=rows, **more)


def estimate_of(rows=256, model=MODEL, **more):
    return memory.Estimate(make(model, sized(rows, **more)), SHAPE)


def test_a_step_of_half_the_pictures_needs_half_the_memory():
    estimate = estimate_of()
    whole, half = estimate.need(1), estimate.need(2)
    assert half.step == pytest.approx(whole.step / 2, rel=0.02)
    assert half.validation == pytest.approx(whole.validation / 2)
    assert half.pictures == whole.pictures
    assert half.weights == pytest.approx(1.5 * whole.weights)  # the sum of the chunks' gradients
    smaller = estimate.need(1, shrink=2)
    assert smaller.step == pytest.approx(whole.step / 2, rel=0.02)
    assert smaller.pictures == whole.pictures / 2


@pytest.mark.parametrize('rows', [3, 64, 300])
def test_the_plan_of_few_pictures_tells_that_of_many(rows):
    """A plan that is scaled from few pictures is mxnet's plan for all of them."""
    estimate = estimate_of(rows)
    assert estimate.plain(rows) == pytest.approx(estimate._bound(rows), rel=0.05, abs=2)


def test_a_run_that_fits_stays_as_it_is():
    run = make(MODEL, sized(64))
    (line,) = memory.settle(run, SHAPE, PLENTY, 1, None)
    assert line.startswith('memory: about 0.')
    assert line.endswith(' GB in use; 1000.0 GB are free')
    assert len(line) < 80
    assert (run.recipe.accumulate, run._forward_backward) == (1, run._plain)


@pytest.mark.parametrize('chunks', [2, 4, 8])
def test_the_fewest_chunks_that_fit_are_taken(chunks):
    run = make(MODEL, sized(256))
    estimate = memory.Estimate(run, SHAPE)
    free = estimate.need(chunks).total
    lines = memory.settle(run, SHAPE, free, 'auto', None)
    assert run.recipe.accumulate == chunks
    about = f'`accumulate` auto: {chunks} chunks of {256 // chunks} pictures; norms that look at a batch see a chunk'
    assert lines[1:] == [about]
    assert free < estimate.need(chunks // 2).total


@pytest.mark.parametrize(('model', 'more'), [(MODEL, dict(norm_batch_size=2)), ('cifar_resnet20', dict(norm='gn'))])
def test_chunks_that_change_no_norm_are_told_without_it(model, more):
    run = make(model, sized(64, **more))
    lines = memory.settle(run, SHAPE, memory.Estimate(run, SHAPE).need(2).total, 'auto', None)
    assert lines[1] == '`accumulate` auto: 2 chunks of 32 pictures'


def test_on_gpus_their_own_memory_counts(monkeypatch):
    run = make(MODEL, sized(64))
    assert memory.free_for(run) == pytest.approx(_limits.free_memory(), rel=0.2)
    monkeypatch.setattr(run.cluster, 'contexts', [mx.gpu(0), mx.gpu(1)])
    monkeypatch.setattr(mx.context, 'gpu_memory_info', lambda number: ((8 - 2 * number) * 10**9, 16 * 10**9))
    assert memory.free_for(run) == 2 * 6 * 10**9  # each of them can take what the fuller one has


def test_chunks_hold_whole_groups_of_a_norm():
    assert estimate_of(24, norm_batch_size=4).counts() == [1, 2, 3, 6]
    assert memory.Estimate(make(MODEL, sized(9), cpus=2), SHAPE).counts() == [1]


def test_memonger_recomputes_only_if_it_must():
    run = make(MODEL, sized(128))
    memory.settle(run, SHAPE, PLENTY, 1, 'auto')
    assert run._forward_backward == run._plain
    estimate = memory.Estimate(run, SHAPE)
    free = estimate.need(1).total - 0.4 * estimate.need(1).step
    (line,) = memory.settle(run, SHAPE, free, 1, 'auto')
    assert isinstance(run._forward_backward, memonger.Recompute)
    data, label = estimate.batch(128)
    budget = run.planned_megabytes(data, label)
    assert 0 < budget <= 0.62 * estimate.plain(128)
    assert 'GB are free' in line


def test_a_step_that_fits_is_the_step_that_does_not_recompute():
    plain, thrifty = (make(MODEL, sized(32)) for _ in range(2))
    need = memory.Estimate(thrifty, SHAPE).need(1)
    memory.settle(thrifty, SHAPE, need.total - 0.3 * need.step, 1, 'auto')
    assert isinstance(thrifty._forward_backward, memonger.Recompute)
    for data, label in batches(32, 32):
        for run in (plain, thrifty):
            run.step(data, label, 0.01)
    assert equal(values(plain), values(thrifty))


@pytest.mark.parametrize('recompute', [None, 'auto'])
def test_a_run_that_does_not_fit_is_refused_with_the_ways_that_do(recompute):
    run = make(MODEL, sized(256))
    need = memory.Estimate(run, SHAPE).need(1)
    free = need.total - 0.6 * need.step if recompute is None else need.weights
    with pytest.raises(OptionError) as caught:
        memory.settle(run, SHAPE, free, 1, recompute)
    text = dashed(str(caught.value), lambda name: f'--{name.replace("_", "-")}')
    assert text.startswith('batch_size=256: the run needs about ')
    if recompute is None:
        chunks, rows = re.search(r': use --accumulate (\d+), --memonger auto or --batch-size (\d+)$', text).groups()
        estimate = memory.Estimate(run, SHAPE)
        assert estimate.need(int(chunks)).total <= free
        assert memory.Estimate(make(MODEL, sized(int(rows))), SHAPE).need(1).total <= free
    else:
        assert text.endswith(': stop other programs, or take a smaller network or pictures')
    lines = memory.settle(run, SHAPE, free, 1, None, check=False)
    assert lines[0].endswith('are free: it may end for lack of memory')


@pytest.mark.parametrize(
    ('rows', 'side', 'chunks'), [(32, 224, 1), (33, 224, 3), (64, 224, 2), (256, 224, 8), (37, 224, 2), (512, 32, 1)]
)
def test_predictions_are_cut_into_equal_chunks(rows, side, chunks):
    assert memory.prediction_chunks((rows, 3, side, side), 1) == chunks


def test_a_prediction_in_chunks_is_that_of_the_whole(monkeypatch):
    run = make(MODEL)
    data = batches(24)[0][0]
    whole = run._predict(data)
    monkeypatch.setattr(memory, 'AT_ONCE', 5 * 32 * 32)
    assert memory.prediction_chunks((24, 3, 32, 32), 1) == 6
    np.testing.assert_allclose(run._predict(data), whole, rtol=1e-5, atol=1e-6)
