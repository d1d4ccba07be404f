"""Graphs for training on the CPU: a norm, the sum with a shortcut and the ReLU that follow it become one operator."""

from __future__ import annotations

from ibnnet_mx.graph.symbol_json import SymbolGraph

OPERATORS = ('ibnnet_norm', 'ibnnet_excite')


def fused(symbol):
    """Return the graph with ReLUs and sums taken into the ibnnet_norm before them (operators/cpp/norm.cc)."""
    graph = SymbolGraph.of_symbol(symbol)
    nodes, uses = graph.nodes, graph.uses()
    gone = set()
    for node in nodes:
        at = _norm_before(node, nodes, uses)
        if at is None:
            continue
        norm = nodes[node['inputs'][at][0]]
        rest = [given for i, given in enumerate(node['inputs']) if i != at]
        gone.add(node['inputs'][at][0])
        # The later node becomes the norm, for what it adds may come after the norm.
        sign = {'add': '1'} if rest else {'relu': '1'}
        node.update(
            op=norm['op'], name=norm['name'], attrs={**norm.get('attrs', {}), **sign}, inputs=norm['inputs'] + rest
        )
    return graph.without(gone).symbol()


def _norm_before(node, nodes, uses):
    """The place among a node's inputs of a norm that it can be taken into, None where there is none."""
    relu = node['op'] == 'Activation' and node['attrs']['act_type'] == 'relu'
    if not relu and node['op'] != 'elemwise_add':
        return None
    for place, (i, output, *_) in enumerate(node['inputs']):
        norm = nodes[i]
        done = norm.get('attrs', {})
        alone = norm['op'] in OPERATORS and output == 0 and uses[i, 0] == 1
        if alone and 'relu' not in done and (relu or 'add' not in done):
            return place
    return None
