"""Mixed precision for training: convolutions and dense layers compute in bfloat16, statistics in float32."""

from __future__ import annotations

from ibnnet_mx.graph.symbol_json import SymbolGraph

HALF, WHOLE = 'bfloat16', 'float32'
CASTS = ('Cast', 'cast', 'amp_cast')
HALVED = ('Convolution', 'FullyConnected')  # every input in bfloat16
PASSED = ('Activation', 'elemwise_add', 'Concat', 'Pooling', 'Dropout', 'Flatten')  # the type of their inputs
NORMS = ('ibnnet_norm', 'ibnnet_excite', 'BatchNorm')  # maps in either type, the other inputs in float32


def mixed(symbol):
    """Return the graph with casts between bfloat16 and float32. Parameters, statistics and logits stay float32.

    An operator that is not in the lists above gets float32.
    """
    graph = SymbolGraph.of_symbol(symbol)
    made = _Casting(graph.nodes)
    for node in graph.nodes:
        made.add(node)
    heads = [made.entry(head, WHOLE) for head in graph.heads]
    return graph.with_nodes(made.nodes, heads).symbol()


def without_halves(symbol):
    """Return the graph of a network that was trained in float16 with all of it in float32, as the CPU needs it.

    Its casts to float16 become casts to float32, and its variables have the usual type.
    """
    graph = SymbolGraph.of_symbol(symbol)
    nodes = []
    for node in graph.nodes:
        attributes = dict(node.get('attrs', {}))
        if node['op'] in CASTS and attributes.get('dtype') == 'float16':
            attributes['dtype'] = WHOLE
        if attributes.get('__dtype__') == '2':  # mxnet's number of float16
            del attributes['__dtype__']
        nodes.append({**node, 'attrs': attributes})
    same = all(node.get('attrs', {}) == new['attrs'] for node, new in zip(graph.nodes, nodes))
    return symbol if same else graph.with_nodes(nodes, graph.heads).symbol()


class _Casting:
    """The nodes of the new graph: the old nodes in their order, with casts between them."""

    def __init__(self, old):
        self.nodes = []
        self._positions, self._kinds, self._casts = [], [], {}  # new position and type of each old node
        self._old = old

    def add(self, node):
        kind = self._kind(node)
        inputs = [self.entry(edge, self._needed(node, i, kind)) for i, edge in enumerate(node['inputs'])]
        self._positions.append(len(self.nodes))
        self._kinds.append(kind)
        self.nodes.append({**node, 'inputs': inputs})

    def _kind(self, node):
        """Return the type that a node computes in."""
        if node['op'] in HALVED:
            return HALF
        kinds = [self._output(edge) for edge in node['inputs']]
        if node['op'] in NORMS:
            return kinds[0]
        return HALF if node['op'] in PASSED and HALF in kinds else WHOLE

    def _output(self, edge):
        """Return the type of an old node's output. All outputs of a norm but the first are statistics."""
        return self._kinds[edge[0]] if edge[1] == 0 else WHOLE

    def _needed(self, node, position, kind):
        """Return the type that a node needs as input number `position`. kind: the type that it computes in."""
        if node['op'] in NORMS and position and position != _skip(node):
            return WHOLE
        return kind

    def entry(self, old, kind):
        """Return the new edge for an old one, through a cast if its output is not of type `kind`."""
        new = [self._positions[old[0]], *old[1:]]
        if self._output(old) == kind:
            return new
        key = old[0], old[1], kind
        if key not in self._casts:
            self._casts[key] = len(self.nodes)
            name = f'{self._old[old[0]]["name"]}_{kind}'
            self.nodes.append({'op': 'amp_cast', 'name': name, 'attrs': {'dtype': kind}, 'inputs': [new]})
        return [self._casts[key], 0, 0]


def _skip(node):
    """Return which input an ibnnet_norm adds to its result, or None."""
    return len(node['inputs']) - 1 if node.get('attrs', {}).get('add') == '1' else None
