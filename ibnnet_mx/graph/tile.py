"""A pass for training on the CPU: 3x3 convolutions are computed in tiles (arXiv:1509.09308), which is faster."""

from __future__ import annotations

import re

from ibnnet_mx.graph.symbol_json import SymbolGraph

MULTIPLE = 32  # both channel counts must be multiples of it: operators/cpp/winograd.h
NEEDED = {  # attribute of a Convolution: (the value it must have, mxnet's default)
    'kernel': ((3, 3), None),
    'stride': ((1, 1), (1, 1)),
    'pad': ((1, 1), (0, 0)),
    'dilate': ((1, 1), (1, 1)),
    'num_group': (1, 1),
    'no_bias': (True, False),
    'layout': ('NCHW', 'NCHW'),
}


def tiled(symbol):
    """Return the graph with ibnnet_winograd (operators/cpp/winograd.cc) in place of each convolution that it supports.

    The sums are made in another order, so the last bits of the results differ.
    """
    graph = SymbolGraph.of_symbol(symbol)
    for node in graph.nodes:
        if node['op'] == 'Convolution' and _fits(node.get('attrs', {}), graph.nodes[node['inputs'][1][0]], graph):
            node.update(op='ibnnet_winograd', attrs={k: v for k, v in node['attrs'].items() if k.startswith('__')})
    return graph.symbol()


def _fits(attrs, weight, graph):
    if any(_value(attrs.get(key), default) != needed for key, (needed, default) in NEEDED.items()):
        return False
    while weight['op'] == 'ibnnet_centre':  # MABN centres the weight, which keeps its shape
        weight = graph.nodes[weight['inputs'][0][0]]
    shape = _value(weight.get('attrs', {}).get('__shape__'), ())
    return len(shape) == 4 and shape[0] % MULTIPLE == shape[1] % MULTIPLE == 0 < min(shape[:2])


def _value(text, default):
    """Return the value of an attribute. A layout is a plain word; 'None' means that the attribute is not given."""
    if text is None or text == 'None':
        return default
    if text.isalpha():
        return {'True': True, 'False': False}.get(text, text)
    numbers = tuple(int(number) for number in re.findall(r'-?\d+', text))
    return numbers if text.startswith('(') else numbers[0]
