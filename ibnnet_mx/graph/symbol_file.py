"""Read a -symbol.json from elsewhere safely.

mxnet's loader does not check that the node or output of an edge exists, or that an operator has the right number of
inputs. A graph with such faults would read and write beyond its arrays, so it is refused here.
"""

from __future__ import annotations

import ctypes
import functools
import math
from pathlib import Path

import mxnet as mx
from mxnet._ctypes.symbol import _symbol_creator

from ibnnet_mx.errors import no_memory
from ibnnet_mx.graph.logits import logits_of
from ibnnet_mx.graph.precision import without_halves
from ibnnet_mx.graph.sizes import infer
from ibnnet_mx.graph.symbol_json import SymbolGraph, load_text

ATTRIBUTES = ('attrs', 'attr', 'param')  # their name in mxnet 1, in 0.8 to 1, and before
MOST = 1 << 30  # numbers in all layers' results together, for the batch of two small pictures that is tried


def read_symbol(path):
    """Return the symbol of a -symbol.json up to the logits, in float32. Raises ValueError, which names the file."""
    try:
        text = Path(path).read_text(encoding='utf-8')
        graph = SymbolGraph.parse(text)
        _check_edges(graph)
        symbol = load_text(text)
        _check_operators(SymbolGraph.of_symbol(symbol))  # mxnet has added what old files leave out
    except OSError as error:
        raise ValueError(f'{path} cannot be read: {error.strerror}') from None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, mx.base.MXNetError) as error:
        if no_memory(error):
            raise
        raise ValueError(f'{path} is damaged: not the symbol of a network') from None
    if len(symbol.list_outputs()) != 1 or 'data' not in symbol.list_inputs():
        outputs = ', '.join(symbol.list_outputs())
        raise ValueError(f'{path}: a network needs the input data and one output; this one gives {outputs}')
    try:
        return without_halves(logits_of(symbol))
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None


def check_size(symbol, shapes):
    """Raise ValueError if the layers are larger than any network's for pictures, or their shapes do not fit.

    shapes: {input: shape}.
    """
    inferred = infer(symbol.get_internals(), shapes)
    if inferred is None or sum(math.prod(map(abs, shape)) for shape in inferred) > MOST:
        raise ValueError('the shapes of its layers do not fit each other')


def _position(value, count):
    """Return an index from a file, once it is sure to be one of `count`. Raises ValueError if it is not."""
    if type(value) is not int or not 0 <= value < count:
        raise ValueError(f'{value} is not a position among {count}')
    return value


def _check_edges(graph):
    """Raise ValueError, KeyError or TypeError for a malformed node, edge or head."""
    nodes = graph.nodes
    for number, node in enumerate(nodes):
        if not all(isinstance(node[key], str) for key in ('op', 'name')) or node.get('subgraphs'):
            raise ValueError('a node without operator or name, or with subgraphs')
        for source, output, *_ in node['inputs']:
            _position(source, number)
            _position(output, 1 << 16)
        for source in node.get('control_deps', ()):
            _position(source, number)
        for key in ATTRIBUTES:
            if not all(isinstance(value, str) for value in node.get(key, {}).values()):
                raise ValueError('an attribute that is not text')
    for number in graph.arguments:
        if nodes[_position(number, len(nodes))]['op'] != 'null':
            raise ValueError('an argument that is not a variable')
    for source, output, *_ in graph.heads:
        _position(source, len(nodes))
        _position(output, 1 << 16)


def _check_operators(graph):
    """Raise ValueError for an operator with a wrong count of inputs, or an edge from an output that does not exist."""
    outputs: list[int] = []
    for node in graph.nodes:
        count = 1
        if node['op'] != 'null':
            attributes = [(key, value) for key, value in node.get('attrs', {}).items() if not key.startswith('__')]
            inputs, count = _signature(node['op'], tuple(sorted(attributes)))
            if inputs != len(node['inputs']):
                raise ValueError(f'{node["op"]} with {len(node["inputs"])} inputs, not {inputs}')
        outputs.append(count)
        for source, output, *_ in node['inputs']:
            _position(output, outputs[source])
    for source, output, *_ in graph.heads:
        _position(output, outputs[source])


@functools.lru_cache(maxsize=4096)
def _signature(operator, attributes):
    """Return how many inputs and outputs an operator has. mxnet adds a variable for each input that is not given."""
    handle = ctypes.c_void_p()
    mx.base.check_call(mx.base._LIB.NNGetOpHandle(operator.encode(), ctypes.byref(handle)))
    keys, values = zip(*attributes) if attributes else ((), ())
    symbol = _symbol_creator(handle.value, None, None, keys, values, 'x', False, False)
    return len(symbol.list_inputs()), len(symbol.list_outputs())
