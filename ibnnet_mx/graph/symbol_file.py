"""A -symbol.json, read within its bounds.

mxnet's loader believes an edge to a node or an output that is not there, and a count of inputs that the operator has
not; what then computes the graph reads and writes beyond its arrays.
"""

from __future__ import annotations

import ctypes
import functools
import math
import warnings
from pathlib import Path

import mxnet as mx
from mxnet._ctypes.symbol import _symbol_creator

from ibnnet_mx.graph.symbol_json import SymbolGraph, load_text

ATTRIBUTES = ('attrs', 'attr', 'param')  # of mxnet 1, of 0.8 to 1, and before
MOST = 1 << 30  # numbers that all layers together may have for two pictures of 64 x 64


def read_symbol(path):
    """Return the symbol of a -symbol.json up to the logits. Raises ValueError, which names the file."""
    try:
        text = Path(path).read_text(encoding='utf-8')
        graph = SymbolGraph.parse(text)
        _check_places(graph)
        symbol = load_text(text)
        _check_operators(SymbolGraph.of_symbol(symbol))  # as mxnet has it now: what old files leave out is added
    except OSError as error:
        raise ValueError(f'{path} cannot be read: {error.strerror}') from None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, mx.base.MXNetError):
        raise ValueError(f'{path} is damaged: not the symbol of a network') from None
    if len(symbol.list_outputs()) != 1 or 'data' not in symbol.list_inputs():
        outputs = ', '.join(symbol.list_outputs())
        raise ValueError(f'{path}: a network from the input data to one output is needed, it gives {outputs}')
    return symbol.get_children()[0] if graph.nodes[graph.heads[0][0]]['op'] == 'SoftmaxOutput' else symbol


def check_size(symbol, shapes):
    """Raise ValueError if the layers are larger than any network's for pictures, or their shapes do not fit.

    shapes: {input: shape}.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of shapes that stay unknown: they are refused below
            inferred = symbol.get_internals().infer_shape(**shapes)[1]
        if inferred is not None and sum(math.prod(map(abs, shape)) for shape in inferred) <= MOST:
            return
    except mx.base.MXNetError:
        pass
    raise ValueError('the shapes of its layers do not fit each other')


def _place(value, count):
    if type(value) is not int or not 0 <= value < count:
        raise ValueError(f'{value} is no place among {count}')
    return value


def _check_places(graph):
    """Raise ValueError or the like for a node, an edge or a head that is none."""
    nodes = graph.nodes
    for number, node in enumerate(nodes):
        if not all(isinstance(node[key], str) for key in ('op', 'name')) or node.get('subgraphs'):
            raise ValueError('a node without operator or name, or with graphs in it')
        for source, output, *_ in node['inputs']:
            _place(source, number)
            _place(output, 1 << 16)
        for source in node.get('control_deps', ()):
            _place(source, number)
        for key in ATTRIBUTES:
            if not all(isinstance(value, str) for value in node.get(key, {}).values()):
                raise ValueError('an attribute that is no text')
    for number in graph.arguments:
        if nodes[_place(number, len(nodes))]['op'] != 'null':
            raise ValueError('an argument that is no variable')
    for source, output, *_ in graph.heads:
        _place(source, len(nodes))
        _place(output, 1 << 16)


def _check_operators(graph):
    """Raise ValueError for an operator with a wrong count of inputs, or an edge from an output that it has not."""
    outputs: list[int] = []
    for node in graph.nodes:
        count = 1
        if node['op'] != 'null':
            given = [(key, value) for key, value in node.get('attrs', {}).items() if not key.startswith('__')]
            inputs, count = _signature(node['op'], tuple(sorted(given)))
            if inputs != len(node['inputs']):
                raise ValueError(f'{node["op"]} with {len(node["inputs"])} inputs, not {inputs}')
        outputs.append(count)
        for source, output, *_ in node['inputs']:
            _place(output, outputs[source])
    for source, output, *_ in graph.heads:
        _place(output, outputs[source])


@functools.lru_cache(maxsize=4096)
def _signature(operator, attributes):
    """Return how many inputs and outputs an operator has: mxnet names inputs that are not given."""
    handle = ctypes.c_void_p()
    mx.base.check_call(mx.base._LIB.NNGetOpHandle(operator.encode(), ctypes.byref(handle)))
    keys, values = zip(*attributes) if attributes else ((), ())
    symbol = _symbol_creator(handle.value, None, None, keys, values, 'x', False, False)
    return len(symbol.list_inputs()), len(symbol.list_outputs())
