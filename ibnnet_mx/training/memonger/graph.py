"""The graph of a step: the cost of its nodes, its cuts, and the symbol that keeps chosen results."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np

from ibnnet_mx.graph.symbol_json import VARIABLE, SymbolGraph

PER_BYTE = 16  # a node that only reads and writes takes the time of so many multiplications for a byte of result
ONCE = (
    'Dropout',
    '_random',
    '_sample',
    'sample_',
    '_shuffle',
    'pick',
)  # beginnings of types: they draw random numbers or look up labels, so they run once
MULTIPLYING = (
    'Convolution',
    'Deconvolution',
    'FullyConnected',
    'ibnnet_winograd',
)  # beginnings of types; the second input is the weight


class Node(NamedTuple):
    """A node of the graph.

    inputs: numbers of nodes. work: multiplications; 0 if the node only reads and writes. bytes: of the first result.
    """

    name: str
    operator: str
    inputs: tuple
    shape: tuple
    work: int
    bytes: int

    @property
    def cost(self):
        if self.operator == 'ibnnet_winograd':
            return self.work // 2  # its multiplications take half the time of others
        return self.work or self.bytes * PER_BYTE


class Kept(NamedTuple):
    """The decision which results a forward pass keeps for the backward pass, as names of nodes.

    stays: these nodes do not run again. The values that their backward pass reads are kept, their inputs too.
    marked: the results are kept by a copy node. The node runs again for its own backward pass, but later nodes start
    from the copy.
    """

    stays: frozenset
    marked: frozenset = frozenset()


class Graph:
    """A step's graph. nodes: in the order of computation. operators: numbers of the nodes that are not variables."""

    def __init__(self, head, arrays):
        self._traced = SymbolGraph.of_symbol(head)
        internals = head.get_internals()
        shapes = internals.infer_shape(**{name: array.shape for name, array in arrays.items()})[1]
        types = internals.infer_type(**{name: array.dtype for name, array in arrays.items()})[1]
        first: dict[str, tuple] = {}
        for entry, shape, kind in zip(internals, shapes, types):
            first.setdefault(entry.name, (shape, np.dtype(kind).itemsize))
        self.nodes = []
        for node in self._traced.nodes:
            shape, size = first[node['name']]
            inputs = tuple(i for i, _, _ in node['inputs'])
            work = self._work(node, shape, inputs)
            self.nodes.append(Node(node['name'], node['op'], inputs, shape, work, math.prod(shape) * size))
        self.operators = [i for i, node in enumerate(self.nodes) if node.operator != VARIABLE]
        self.numbers = {self.nodes[i].name: i for i in self.operators}
        self.multiplications = sum(node.work for node in self.nodes)
        values = 4 * sum(math.prod(self.nodes[i].shape) for i in self.operators)
        self.density = sum(self.nodes[i].bytes for i in self.operators) / values  # 1.0 if all values are float32
        self._used: dict[int, set[int]] = {}
        self._readers: dict[int, list[int]] = {i: [] for i in self.operators}
        for number, node in enumerate(self._traced.nodes):
            for i, k, _ in node['inputs']:
                self._used.setdefault(i, set()).add(k)
                if i in self._readers:
                    self._readers[i].append(number)
        for i, k, _ in self._traced.heads:
            self._used.setdefault(i, set()).add(k)
        self._needs: dict[int, set[int]] = {i: set() for i in self.operators}

    def _work(self, node, shape, inputs):
        if node['op'].startswith(MULTIPLYING):
            return math.prod(shape) * math.prod(self.nodes[inputs[1]].shape[1:])
        if node['op'] == 'ibnnet_excite':  # two dense layers of the same size
            return 2 * shape[0] * math.prod(self.nodes[inputs[1]].shape)
        return 0

    def learn(self, text):
        """Learn from a plain executor's debug_str() which inputs and results each node's backward pass reads."""
        for block in text.split('Op:')[1:]:
            node = re.match(r'\S+, Name=(\S+?)_backward\S*\n', block)
            number = self.numbers.get(node.group(1)) if node else None
            if number is not None:
                connected = {number, *self.nodes[number].inputs} & self._needs.keys()
                read = {self.numbers.get(name) for name in re.findall(r'arg\[\d+\]=(\S+)\(\d+\)', block)}
                self._needs[number] |= connected & read

    def cuts(self):
        """Return the numbers of cuts: nodes whose result alone connects the nodes before with the nodes after them.

        Of several cuts in a row only the one with the smallest result is taken; of equal ones, the last.
        """
        rows: list[list[int]] = []
        downstream = self._traced.downstream()
        for number in self._traced.cuts():
            if rows and downstream.intersection(self.nodes[number].inputs) == {rows[-1][-1]}:
                rows[-1].append(number)
            else:
                rows.append([number])
        return [min(row, key=lambda i: (self.nodes[i].bytes, -i)) for row in rows]

    def names(self, stays, marked=()):
        return Kept(*(frozenset(self.nodes[i].name for i in numbers) for numbers in (stays, marked)))

    def alone(self, number):
        """Return True if a node may stay without kept inputs, because its backward pass does not read them."""
        return self._needs[number] <= {number}

    def held_by(self, stays, marked):
        """Return the numbers of the nodes whose results are kept."""
        numbers: set[int] = set()
        for i in self.operators:
            numbers |= self._needs[i] if i in stays else {j for j in self.nodes[i].inputs if j in stays or j in marked}
        return numbers

    def added(self, number, stays, holding):
        """Return how many more bytes are kept if a node stays too. holding: numbers of the nodes kept already."""
        more = self._needs[number] | ({number} if set(self._readers[number]) - stays else set())
        return sum(self.nodes[i].bytes for i in more - holding)

    def closed(self, stays, marked):
        """Return stays together with all other nodes that may stay without keeping more."""
        stays = set(stays)
        while True:
            holding = self.held_by(stays, marked)
            free = [
                i for i in self.operators if i not in stays and i not in marked and not self.added(i, stays, holding)
            ]
            if not free:
                return stays
            stays.update(free)

    def symbol(self, decision=None):
        """Return the symbol for an executor. decision: a Kept; None keeps everything, which is a plain step."""
        nodes: list[dict] = []
        sources: dict[tuple[int, int], tuple[int, int]] = {}  # old (node, output): new
        for number, node in enumerate(self._traced.nodes):
            node = dict(node, inputs=[[*sources[i, k], version] for i, k, version in node['inputs']])
            name = node['name']
            stays = decision is None or name in decision.stays or node['op'].startswith(ONCE)
            if node['op'] != VARIABLE:
                node['attrs'] = dict(node.get('attrs', {}), __force_mirroring__=str(not stays))
            position = len(nodes)
            nodes.append(node)
            for k in self._used.get(number, ()):
                sources[number, k] = position, k
                if not stays and name in decision.marked:
                    sources[number, k] = len(nodes), 0
                    nodes.append(dict(op='_copy', name=f'{name}_kept{k}', inputs=[[position, k, 0]]))
        heads = [[*sources[i, k], version] for i, k, version in self._traced.heads]
        return self._traced.with_nodes(nodes, heads).symbol()

    def again(self, text):
        """Return the numbers of the nodes that an executor runs a second time. text: its debug_str()."""
        return [self.numbers[n] for n in re.findall(r'Name=(\S+)_mirror$', text, re.M) if n in self.numbers]
