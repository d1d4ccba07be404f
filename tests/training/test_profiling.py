"""--profile: where a step's time goes. Sums and names, no speeds."""

import json
from dataclasses import replace

import pytest

from ibnnet_mx.training import profiling
from ibnnet_mx.training.profiling import COLOURS, Operator, Profile
from tests.tiny_runs import PLAN, Feed, batches, equal, make, values

FEED = Feed(batches(8, 5, 8))
STAGES = ['stem', 'stage1', 'stage2', 'stage3', 'neck', 'head', 'update']


def profile_of(model='cifar_resnet8_v2', plan=PLAN, recompute=None, cpus=1):
    return make(model, plan, cpus, recompute).profile(FEED)


@pytest.fixture(scope='module')
def tiny():
    return profile_of()


def convolutions(found):
    """{name: (stage, kind, calls)}"""
    return {op.name: (op.stage, op.kind, calls) for op, calls, _ in found.operators if op.kind.startswith('conv')}


def test_kinds_stages_and_operators_add_up(tiny):
    found = tiny.to_dict()
    assert list(found) == ['model', 'batch_size', 'step_ms', 'waiting_ms', 'by_kind', 'by_stage', 'operators']
    assert (found['model'], found['batch_size']) == ('cifar_resnet8_v2', 8)
    assert found['step_ms'] > 0
    assert list(found['by_stage']) == STAGES
    assert [kind for kind in COLOURS if kind in found['by_kind']] == list(found['by_kind'])
    total = sum(row['ms'] for row in found['operators'])
    assert sum(found['by_kind'].values()) == pytest.approx(total)
    assert sum(sum(kinds.values()) for kinds in found['by_stage'].values()) == pytest.approx(total)
    for kind, ms in found['by_kind'].items():
        assert sum(kinds.get(kind, 0) for kinds in found['by_stage'].values()) == pytest.approx(ms)
    assert [row['ms'] for row in found['operators']] == sorted((r['ms'] for r in found['operators']), reverse=True)
    assert all(set(row) == {'name', 'stage', 'kind', 'calls', 'ms'} for row in found['operators'])


@pytest.mark.parametrize('recompute', [None, 'least'])
@pytest.mark.parametrize(('model', 'kit'), [('cifar_resnet8_ibn_a', 'bn'), ('cifar_resnet8', 'mabn')])
def test_every_layer_is_found_where_it_is(model, kit, recompute):
    """Each convolution once forward and once backward, in its stage; what a norm is made of is norm."""
    found = profile_of(model, replace(PLAN, norm=kit), recompute)
    rows = convolutions(found)
    for stage in (1, 2, 3):
        for conv in ('conv1', 'conv2'):
            name = f'stage{stage}_unit1_{conv}_fwd'
            assert rows[name] == (f'stage{stage}', 'convolution forward', 1)
            assert rows[f'{name} backward'] == (f'stage{stage}', 'convolution backward', 1)
    norms = [op for op, _, _ in found.operators if '_bn' in op.name and not op.name.startswith('sum')]
    assert norms
    assert {op.kind for op in norms} <= {'norm', 'convolution forward', 'convolution backward'}
    assert any(op.name.endswith(' again') for op, _, _ in found.operators) == (recompute is not None)
    assert {'dense', 'loss', 'optimiser', 'norm'} <= set(found.by_kind())
    assert set(found.by_stage()) == {*STAGES} - {'neck'}


def test_parts_of_a_batch_and_devices_are_calls():
    rows = convolutions(profile_of('cifar_resnet8', replace(PLAN, accumulate=2), cpus=2))
    assert {calls for _, _, calls in rows.values()} == {4}


def test_the_steps_are_real_ones():
    run, twin = make('cifar_resnet8'), make('cifar_resnet8')
    run.profile(FEED)
    steps = profiling.WARMUP + 2 * profiling.MEASURED + 1
    feed = profiling.full_batches(FEED, 0)
    for _ in range(steps):
        twin.step(*next(feed), PLAN.lr)
    assert equal(values(run), values(twin))


def test_batches_are_full_ones_for_as_long_as_they_are_asked_for():
    feed = profiling.full_batches(FEED, 0)
    assert [next(feed)[0].shape[0] for _ in range(5)] == [8] * 5
    with pytest.raises(ValueError, match='profile: no batch of the epoch has an undamaged picture'):
        next(profiling.full_batches(Feed([]), 0))


def test_the_file_is_what_its_ending_says(tiny, tmp_path):
    profiling.write_profile(tiny, tmp_path / 'new' / 'a.JSON')
    assert json.loads((tmp_path / 'new' / 'a.JSON').read_text()) == tiny.to_dict()
    pytest.importorskip('matplotlib')
    profiling.write_profile(tiny, tmp_path / 'a.png')
    assert (tmp_path / 'a.png').read_bytes().startswith(b'\x89PNG')
    with pytest.raises(ValueError, match=r"profile='/proc/none/a.json' cannot be written: .*; name another file"):
        profiling.write_profile(tiny, '/proc/none/a.json')


@pytest.mark.parametrize('path', ['a.txt', 'json', 'a.json.gz', ''])
def test_other_endings_are_refused(path):
    with pytest.raises(ValueError, match=f"profile='{path}': the name must end in .json or .png"):
        profiling.check_path(path)


def test_a_picture_without_matplotlib_is_refused_before_the_run(monkeypatch):
    monkeypatch.setattr(profiling, 'find_spec', lambda name: None)
    profiling.check_path('a.json')
    with pytest.raises(ValueError, match='profile: drawing needs matplotlib, which is missing: pip install'):
        profiling.check_path('a.png')


def test_the_table_tells_the_largest_first():
    rows = [(Operator('a', 'stem', 'norm'), 1, 2.0), (Operator('b', 'head', 'dense'), 1, 6.0)]
    lines = list(Profile('net', 4, 10.0, 0.5, ['stem', 'head'], rows).lines())
    assert lines[0] == 'net, batch 4: 10.0 ms a step, 0.5 ms of waiting for data on top'
    assert [line.split() for line in lines[1:3]] == [
        ['dense', '6.0', 'ms', '75.0', '%'],
        ['norm', '2.0', 'ms', '25.0', '%'],
    ]
    assert lines[3:] == ['stem 2.0 ms, head 6.0 ms', 'one by one the operators take 8.0 ms, 80 % of the step']
