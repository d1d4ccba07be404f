"""Saved symbols have the original's names of inner outputs, and compute what the network computes, bit for bit."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx.checkpoint import Facts, Store
from ibnnet_mx.checkpoint.symbols import graph_of
from ibnnet_mx.graph import names
from ibnnet_mx.graph.symbol_json import SymbolGraph
from tests.convert.networks import filled

MODELS = ['cifar_resnet8_v2', 'cifar_resnet8_ibn_a', 'resnet18_v2_ibn_b', 'se_resnet50_ibn_a', 'densenet121_ibn_a']
# The original's names: tornadomeet/ResNet, symbol_resnet.py.
ORIGINAL = ['fc1_output', 'flatten0_output', 'pool1_output', 'stage1_unit1_conv1_output', 'stage1_unit1_bn2_output']
OF_V2 = ['bn_data_output', 'conv0_output', 'bn1_output', 'relu1_output', 'stage3_unit1_relu2_output', 'softmax_output']


def results(symbol, net, x):
    arrays = {name: param.data() for name, param in net.collect_params().items()}
    given = {name: arrays[name] for name in symbol.list_arguments() if name in arrays}
    states = {name: arrays[name] for name in symbol.list_auxiliary_states()}
    return symbol.bind(mx.cpu(), {**given, 'data': x}, aux_states=states).forward()[0].asnumpy()


@pytest.mark.parametrize('model', MODELS)
def test_features_are_found_under_the_names_of_the_original(tmp_path, model):
    net = filled(model)
    Store(tmp_path / 'net').write(net, Facts(model, {}, {}))
    inner = mx.sym.load(str(tmp_path / 'net-symbol.json')).get_internals()
    outputs = inner.list_outputs()
    assert len(outputs) == len(set(outputs))
    assert not any('fwd' in name for name in outputs)
    for name in ORIGINAL + (OF_V2 if model == 'cifar_resnet8_v2' else []):
        assert name in outputs
    x = mx.nd.array(np.random.RandomState(0).uniform(-1, 1, (2, 3, 32, 32)))
    np.testing.assert_array_equal(results(inner['fc1_output'], net, x), results(net.symbol(), net, x))
    flat, pooled = (results(inner[name], net, x) for name in ('flatten0_output', 'pool1_output'))
    np.testing.assert_array_equal(pooled[:, :, 0, 0], flat)
    weight, bias = (net.collect_params()[f'fc1_{word}'].data().asnumpy() for word in ('weight', 'bias'))
    np.testing.assert_allclose(flat @ weight.T + bias, results(net.symbol(), net, x), rtol=1e-3, atol=1e-4)


def test_names_do_not_depend_on_the_networks_made_before():
    first = graph_of(filled('cifar_resnet8_v2')).stable_bytes()
    filled('cifar_resnet8_ibn_a')
    assert graph_of(filled('cifar_resnet8_v2')).stable_bytes() == first


def test_the_symbol_of_an_older_version_is_known_again(tmp_path):
    net = filled('cifar_resnet8_v2')
    store = Store(tmp_path / 'net')
    assert not store.differs(net)
    old = SymbolGraph.of_symbol(mx.sym.SoftmaxOutput(net.symbol(), name='softmax'))
    (tmp_path / 'net-symbol.json').write_bytes(old.stable_bytes())
    assert not store.differs(net)
    assert store.differs(filled('cifar_resnet8_ibn_a'))
    again = names.as_original(graph_of(net))
    assert again.stable_bytes() == graph_of(net).stable_bytes()
    (tmp_path / 'net-symbol.json').write_text('no graph')
    assert store.differs(net)
