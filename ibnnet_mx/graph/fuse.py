"""A pass for training on the CPU: a norm and the sum and ReLU after it become one operator."""

from __future__ import annotations

from ibnnet_mx.graph.symbol_json import SymbolGraph

OPERATORS = ('ibnnet_norm', 'ibnnet_excite')


def fused(symbol):
    """Return the graph in which an ibnnet_norm also computes the sum and ReLU after it (operators/cpp/norm.cc)."""
    graph = SymbolGraph.of_symbol(symbol)
    nodes, uses = graph.nodes, graph.uses()
    gone = set()
    for node in nodes:
        position = _norm_before(node, nodes, uses)
        if position is None:
            continue
        norm = nodes[node['inputs'][position][0]]
        rest = [edge for i, edge in enumerate(node['inputs']) if i != position]
        gone.add(node['inputs'][position][0])
        # The sum or ReLU becomes the norm, because the other summand may be computed after the norm.
        sign = {'add': '1'} if rest else {'relu': '1'}
        node.update(
            op=norm['op'], name=norm['name'], attrs={**norm.get('attrs', {}), **sign}, inputs=norm['inputs'] + rest
        )
    return graph.without(gone).symbol()


def _norm_before(node, nodes, uses):
    """Return which input of a sum or ReLU is a norm that can compute it too, or None."""
    relu = node['op'] == 'Activation' and node['attrs']['act_type'] == 'relu'
    if not relu and node['op'] != 'elemwise_add':
        return None
    for position, (i, output, *_) in enumerate(node['inputs']):
        norm = nodes[i]
        attrs = norm.get('attrs', {})
        only_reader = norm['op'] in OPERATORS and output == 0 and uses[i, 0] == 1
        if only_reader and 'relu' not in attrs and (relu or 'add' not in attrs):
            return position
    return None
