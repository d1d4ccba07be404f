"""Mixed precision: a training graph's convolutions and dense layers in bfloat16, what is summed in float32."""

from __future__ import annotations

from ibnnet_mx.graph.symbol_json import SymbolGraph

HALF, WHOLE = 'bfloat16', 'float32'
HALVED = ('Convolution', 'FullyConnected')  # every input in bfloat16
PASSED = ('Activation', 'elemwise_add', 'Concat', 'Pooling', 'Dropout', 'Flatten')  # as their inputs are
NORMS = ('ibnnet_norm', 'ibnnet_excite', 'BatchNorm')  # the pictures as they are, parameters and statistics in float32


def mixed(symbol):
    """The graph with casts between the two; parameters, statistics and the result stay float32.

    An operator that is not known to compute in bfloat16 is given float32.
    """
    graph = SymbolGraph.of_symbol(symbol)
    made = _Casting(graph.nodes)
    for node in graph.nodes:
        made.add(node)
    heads = [made.entry(head, WHOLE) for head in graph.heads]
    return graph.with_nodes(made.nodes, heads).symbol()


class _Casting:
    """The nodes of a graph that is being written: the old nodes in their order, with casts between them."""

    def __init__(self, old):
        self.nodes = []
        self._places, self._kinds, self._casts = [], [], {}  # of old nodes: their new places and what they give
        self._old = old

    def add(self, node):
        kind = self._kind(node)
        inputs = [self.entry(given, self._wanted(node, place, kind)) for place, given in enumerate(node['inputs'])]
        self._places.append(len(self.nodes))
        self._kinds.append(kind)
        self.nodes.append({**node, 'inputs': inputs})

    def _kind(self, node):
        """Return the type that a node computes in."""
        if node['op'] in HALVED:
            return HALF
        given = [self._given(entry) for entry in node['inputs']]
        if node['op'] in NORMS:
            return given[0]
        return HALF if node['op'] in PASSED and HALF in given else WHOLE

    def _given(self, entry):
        """Return the type of an old node's output. All outputs of a norm but the first are statistics."""
        return self._kinds[entry[0]] if entry[1] == 0 else WHOLE

    def _wanted(self, node, place, kind):
        if node['op'] in NORMS and place and place != _skip(node):
            return WHOLE
        return kind

    def entry(self, old, wanted):
        """An old node's output in `wanted`, a cast where it is not."""
        new = [self._places[old[0]], *old[1:]]
        if self._given(old) == wanted:
            return new
        key = old[0], old[1], wanted
        if key not in self._casts:
            self._casts[key] = len(self.nodes)
            name = f'{self._old[old[0]]["name"]}_{wanted}'
            self.nodes.append({'op': 'amp_cast', 'name': name, 'attrs': {'dtype': wanted}, 'inputs': [new]})
        return [self._casts[key], 0, 0]


def _skip(node):
    """The place of what an ibnnet_norm adds."""
    return len(node['inputs']) - 1 if node.get('attrs', {}).get('add') == '1' else None
