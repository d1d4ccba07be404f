"""A -symbol.json that mxnet's loader would believe, and crash on, is refused; what it can compute is read."""

import copy
import json

import mxnet as mx
import pytest

from ibnnet_mx import get_model
from ibnnet_mx.graph import symbol_file

NET = get_model('cifar_resnet8_ibn_a', 3)
GRAPH = json.loads(mx.sym.SoftmaxOutput(NET(mx.sym.var('data')), name='softmax').tojson())


def written(path, graph):
    path.write_text(json.dumps(graph))
    return path


def changed(change):
    graph = copy.deepcopy(GRAPH)
    nodes = graph['nodes']
    change(graph, next(node for node in nodes if node['op'] == 'BatchNorm'))
    return graph


@pytest.mark.parametrize(
    'change',
    [
        lambda graph, node: node['inputs'][2].__setitem__(1, 1),  # a second output of a variable
        lambda graph, node: node['inputs'][0].__setitem__(0, len(graph['nodes'])),
        lambda graph, node: node['inputs'][0].__setitem__(0, graph['nodes'].index(node)),
        lambda graph, node: node['inputs'][0].__setitem__(0, -1),
        lambda graph, node: node['inputs'].append([0, 0, 0]),
        lambda graph, node: node['inputs'].pop(),
        lambda graph, node: node.update(op='Custom'),
        lambda graph, node: node.update(op='no operator'),
        lambda graph, node: node.update(name=3),
        lambda graph, node: node.update(subgraphs=[GRAPH]),
        lambda graph, node: node['attrs'].update(eps=1e-5),
        lambda graph, node: node['attrs'].update(eps='small'),
        lambda graph, node: graph['arg_nodes'].append(1 << 40),
        lambda graph, node: graph['arg_nodes'].append(graph['nodes'].index(node)),
        lambda graph, node: graph['heads'][0].__setitem__(1, 5),
        lambda graph, node: graph['heads'][0].__setitem__(0, 1 << 33),
        lambda graph, node: graph.update(nodes={}),
    ],
)
def test_a_graph_that_is_none_is_refused(tmp_path, change):
    with pytest.raises(ValueError, match='a-symbol.json is damaged: not the symbol of a network'):
        symbol_file.read_symbol(written(tmp_path / 'a-symbol.json', changed(change)))


def test_a_network_is_read_up_to_its_logits(tmp_path):
    symbol = symbol_file.read_symbol(written(tmp_path / 'a-symbol.json', GRAPH))
    assert symbol.list_outputs() == ['fc1_fwd_output']


def test_layers_of_any_size_are_refused_before_there_is_memory_for_them():
    x = mx.sym.var('data')
    shapes = dict(data=(2, 3, 64, 64))
    symbol_file.check_size(mx.sym.pad(x, mode='constant', pad_width=(0, 0, 0, 0, 9, 9, 9, 9)), shapes)
    wide = mx.sym.pad(x, mode='constant', pad_width=(0, 0, 0, 0, 9000000, 9000000, 9, 9))
    for symbol in (wide, mx.sym.Pooling(x, kernel=(99, 99)), mx.sym.FullyConnected(x, num_hidden=1 << 30)):
        with pytest.raises(ValueError, match='the shapes of its layers do not fit each other'):
            symbol_file.check_size(symbol, shapes)
