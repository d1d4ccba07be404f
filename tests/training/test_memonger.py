"""Steps that recompute: the same bits whatever is kept, plans within their budget, memory as planned."""

import random

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import get_model
from ibnnet_mx.cli import train_options
from ibnnet_mx.distributed.cluster import connect
from ibnnet_mx.models import nets
from ibnnet_mx.training import memonger, trainer
from ibnnet_mx.training.memonger import graph, plan
from tests.conftest import thorough
from tests.norm.test_kits import KITS, plan_of
from tests.tiny_runs import CLASSES, PLAN, Notes, arrays, batches, equal, make, values

FAMILIES = [
    'cifar_resnet20_v1a_ibn_b',
    'resnet18_ibn_a',
    'resnet18_v2_ibn_b',
    'resnext50',
    'se_resnet50_v2_ibn_a',
    'densenet121_ibn_a',
]


def pictures(size, *rows, seed=0):
    draw = np.random.RandomState(seed)
    return [(mx.nd.array(draw.normal(size=(n, 3, size, size))), mx.nd.array(draw.randint(0, CLASSES, n))) for n in rows]


def step_of(run, data, label):
    return memonger.Step(run.net, run.objective.loss, data, label)


def search_of(model, rows=64, size=32, **more):
    run = make(model, **more)
    step = step_of(run, *pictures(size, rows)[0])
    return plan.Search(step.graph, step.bind)


def choose(run, data, label, seed):
    """Has the run keep nodes that a die chose."""
    nodes, draw = step_of(run, data, label).graph.numbers, random.Random(seed)
    chosen = {name: draw.choice(('again', 'again', 'stays', 'marked')) for name in nodes}
    decision = graph.Kept(*(frozenset(n for n in nodes if chosen[n] == kind) for kind in ('stays', 'marked')))
    run._forward_backward._plans[data.shape, 'cpu'] = plan.Plan(decision, 0, 0, 0.0, (0, 0))


def the_same(plain, thrifty, *given):
    for data, label in given:
        mx.random.seed(7)
        expected = plain.step(data, label, 0.01)
        mx.random.seed(7)
        found = thrifty.step(data, label, 0.01)
        assert all(np.array_equal(a.asnumpy(), b.asnumpy()) for a, b in zip(expected, found))
    for device in range(len(plain.cluster.contexts)):
        assert equal(values(plain, device), values(thrifty, device))
    assert equal(arrays(plain.states()), arrays(thrifty.states()))


@pytest.mark.parametrize('model', [FAMILIES[0], FAMILIES[2], FAMILIES[5], *thorough(FAMILIES[1], *FAMILIES[3:5])])
def test_any_choice_gives_the_same_bits(model):
    plain, thrifty = (make(model, recompute=how) for how in (None, 'least'))
    given = pictures(32, 4, 4)
    choose(thrifty, *given[0], seed=len(model))
    the_same(plain, thrifty, *given)


@pytest.mark.parametrize('kit', KITS)
@pytest.mark.parametrize('model', ['cifar_resnet8_ibn_a', 'cifar_resnet8_v2_ibn_b'])
def test_any_choice_gives_the_same_bits_with_every_norm(model, kit):
    plain, thrifty = (make(model, plan_of(kit), recompute=how) for how in (None, 'least'))
    choose(thrifty, *batches(8)[0], seed=len(kit))
    the_same(plain, thrifty, *batches(8, 8, 6, 8))


@pytest.mark.parametrize('seed', [0, 1])
def test_dropout_draws_once(seed):
    runs = []
    for how in (None, 'least'):
        net = get_model('resnet18', CLASSES, w_d=True)
        runs.append(trainer.Trainer(net, PLAN, connect('local'), Notes(), how))
    given = pictures(64, 4, 4)
    choose(runs[1], *given[0], seed)
    the_same(*runs, *given)


def test_devices_and_sizes():
    """A smaller batch takes the plan and the memory of the larger; a larger one takes its place."""
    plain, thrifty = (make(cpus=2, recompute=how) for how in (None, 'least'))
    the_same(plain, thrifty, *batches(8, 8, 5, 8, 12, 3, 12))
    kept = thrifty._forward_backward._executors
    assert {context: shape for context, (shape, _) in kept.items()} == {mx.cpu(i): (6, 3, 32, 32) for i in (0, 1)}
    assert len(thrifty.report.lines) == 2


def test_what_is_added_to_a_gradient():
    """grad_req is the Parameters' own."""
    run, (data, label) = make(recompute='least'), batches(8)[0]
    run._forward_backward(data, label)
    once = run.net.collect_params()['fc1_weight'].grad().asnumpy()
    other = make(recompute='least')
    other.net.collect_params().setattr('grad_req', 'add')
    for _ in range(2):
        other._forward_backward(data, label)
    assert np.array_equal(other.net.collect_params()['fc1_weight'].grad().asnumpy(), 2 * once)


@pytest.mark.parametrize('model', ['cifar_resnet20_ibn_a', 'cifar_resnet20_v2'])
def test_more_memory_is_less_work(model):
    search = search_of(model)
    least = search.find()
    assert least.decision
    assert least.megabytes < 0.7 * search.plain
    budgets = range(least.megabytes, search.plain, max(1, (search.plain - least.megabytes) // 3))
    plans = [search.find(budget) for budget in budgets]
    assert all(found.megabytes <= budget for found, budget in zip(plans, budgets))
    extra = [found.extra for found in plans]
    assert extra == sorted(extra, reverse=True)
    assert extra[-1] < 0.2 < extra[0] <= 1 / 3 + 1e-9
    assert search.find(search.plain).decision is None
    with pytest.raises(ValueError, match=r' MB is the least, .* MB without recomputing'):
        search.find(min(trial.megabytes for trial in search._seen.values()) - 1)


def test_the_plan_is_what_the_executor_takes():
    run, (data, label) = make('cifar_resnet20', recompute='least'), pictures(32, 64)[0]
    run.step(data, label, 0.01)
    (line,) = run.report.lines
    executor = run._forward_backward._executors[mx.cpu()][1][0]
    assert line.startswith('`memonger` least: ')
    assert f'become {plan.megabytes(executor.debug_str())} MB' in line


def test_a_budget_that_cannot_be_met_is_told_before_anything_is_computed():
    run, (data, label) = make('cifar_resnet20', recompute=3), pictures(32, 64)[0]
    before = values(run)
    told = r'^memonger=3: \d+ MB is the least, \d+ MB without recomputing, for 64 pictures on one device'
    with pytest.raises(ValueError, match=told):
        run.step(data, label, 0.01)
    assert equal(values(run), before)


@pytest.mark.parametrize(
    ('words', 'value'),
    [([], None), (['--memonger'], 'least'), (['--memonger', 'auto'], 'auto'), (['--memonger', '9'], 9)],
)
def test_the_option(words, value):
    assert train_options.make_parser().parse_args([*words, '--batch-size', '8']).memonger == value


@pytest.mark.parametrize('budget', ['auto', 'most', 0, -1])
def test_what_is_no_budget_of_a_step(budget):
    with pytest.raises(ValueError, match=f'memonger={budget!r} is no budget of a step'):
        make(recompute=budget)


@pytest.mark.parametrize('word', ['0', '1.5', 'most'])
def test_what_is_no_budget(word, capsys):
    with pytest.raises(SystemExit):
        train_options.make_parser().parse_args(['--memonger', word])
    told = f"argument --memonger: '{word}' is not an amount of memory: use auto, or megabytes such as 1500\n"
    assert capsys.readouterr().err.endswith(told)


@pytest.mark.parametrize('model', [*FAMILIES, 'cifar_resnet8_v2_ibn_a'])
def test_the_graph(model):
    """Names tell nodes apart; the work is the net's; it hangs on one tensor at each unit, or on a concat."""
    run = make(model)
    step = step_of(run, *pictures(32, 2)[0])
    found = step.graph
    assert len(found.numbers) == len(found.operators)
    assert found.multiplications == 2 * nets.count_macs(run.net, 32)
    units = {name.rpartition('_conv1_')[0] for name in run.net.collect_params() if '_conv1_' in name}
    assert len(units) <= len(found.cuts()) <= len(units) + 10
