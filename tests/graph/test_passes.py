"""What the passes make of traced graphs, and that they change no result."""

import json
from collections import Counter

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import get_model, operators
from ibnnet_mx import graph as passes
from tests.norm.test_kits import pictures, train

pytestmark = pytest.mark.skipif(not operators.fused(), reason='ibnnet build operators has not built it')


def counted(symbol):
    return Counter(node['op'] for node in json.loads(symbol.tojson())['nodes'])


@pytest.mark.parametrize(
    ('model', 'norms', 'left'),
    [
        ('resnet50', 53, {}),
        ('resnet50_ibn_a', 53, {'Concat': 26}),  # of gamma and beta of the two norms of an IBN
        ('resnet50_ibn_b', 55, {}),
        ('resnet50_v2', 50, {'elemwise_add': 16, 'BatchNorm': 1}),  # bn_data has no scale
        ('se_resnet50', 53, {'ibnnet_excite': 16}),
        ('densenet121', 121, {'Concat': 58}),
    ],
)
def test_sums_and_relus_are_taken_into_norms(model, norms, left):
    found = counted(get_model(model).trace(2, mx.cpu())[0])
    assert found['ibnnet_norm'] == norms
    there = ('Activation', 'elemwise_add', 'Concat', 'slice_axis', 'broadcast_mul', 'BatchNorm', 'ibnnet_excite')
    assert {name: found[name] for name in there if found[name]} == left


def graph(extra):
    """A norm whose result is read by a ReLU and by `extra`."""
    y = mx.sym.ibnnet_norm(*(mx.sym.var(name) for name in ('x', 'gamma', 'beta', 'mean', 'var')), name='norm')
    return mx.sym.Group([mx.sym.Activation(y, act_type='relu'), *extra(y)])


def test_what_is_read_elsewhere_stays():
    assert counted(passes.fused(graph(lambda y: [])))['Activation'] == 0
    assert counted(passes.fused(graph(lambda y: [y])))['Activation'] == 1
    assert counted(passes.fused(graph(lambda y: [y * 2])))['Activation'] == 1


def test_of_two_norms_that_are_added_one_takes_the_sum():
    sides = [mx.sym.ibnnet_norm(mx.sym.var(x), name=x + '_norm') for x in 'ab']
    symbol = passes.fused(mx.sym.Activation(mx.sym.elemwise_add(*sides), act_type='relu', name='relu'))
    assert counted(symbol) == {'null': 10, 'ibnnet_norm': 2}
    first, second = (node for node in json.loads(symbol.tojson())['nodes'] if node['op'] == 'ibnnet_norm')
    assert (first['name'], second['name']) == ('b_norm', 'a_norm')
    assert second['attrs'] == {'add': '1', 'relu': '1'}


@pytest.mark.parametrize(
    'model', ['cifar_resnet8', 'cifar_resnet8_v1a_ibn_a', 'cifar_resnet8_v2_ibn_b', 'cifar_resnet8_ibn_b']
)
def test_taking_them_in_changes_only_rounding(model, monkeypatch):
    found = []
    for step in (passes.fused, lambda symbol: symbol):
        monkeypatch.setattr(passes, 'fused', step)
        net = get_model(model, 4)
        mx.random.seed(3)
        net.initialize()
        net.hybridize(static_alloc=True, static_shape=True)
        found.append(train(net, *pictures(8)[0]))
    (merged, slopes), (apart, gradients) = found
    assert np.abs(merged - apart).max() <= 1e-6 * np.abs(apart).max()
    for name, slope in slopes.items():
        assert np.linalg.norm(gradients[name] - slope) <= 1e-3 * np.linalg.norm(slope) + 1e-6, name
