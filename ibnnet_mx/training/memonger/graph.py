"""A symbol's graph: what its nodes cost, where it hangs on one tensor, and the symbol with chosen tensors kept."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np

from ibnnet_mx.graph.symbol_json import VARIABLE, SymbolGraph

PER_BYTE = 16  # a byte of the result of a node that only reads and writes takes the time of so many multiplications
ONCE = ('Dropout', '_random', '_sample', 'sample_', '_shuffle', 'pick')  # beginnings: they draw, or must be read
MULTIPLYING = ('Convolution', 'Deconvolution', 'FullyConnected', 'ibnnet_winograd')  # beginnings; second input: weight


class Node(NamedTuple):
    """A node of the graph.

    inputs: numbers of nodes. work: multiplications, 0 of what reads and writes. bytes: of the first result.
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
            return self.work // 2  # as many seconds as others' half
        return self.work or self.bytes * PER_BYTE


class Kept(NamedTuple):
    """The results that a forward pass leaves for the backward pass, as names of nodes.

    stays: they are not run again, and what their backward pass reads is kept, their inputs too. marked: their results
    are kept, through a node that hands them on; they are run again for their own backward pass, and nothing before.
    """

    stays: frozenset
    marked: frozenset = frozenset()


class Graph:
    """A step's graph. nodes: in the order of computation; operators: numbers of those that are no variables."""

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
        self.density = sum(self.nodes[i].bytes for i in self.operators) / values  # 1.0 where all is float32
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
        if node['op'] == 'ibnnet_excite':  # two dense layers, one the other way round
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
        """Numbers of nodes whose results alone connect what is computed from the data before and after them.

        Of several in a row the one with the smallest result, of equal ones the last.
        """
        rows: list[list[int]] = []
        behind = self._traced.downstream()
        for number in self._traced.cuts():
            if rows and behind.intersection(self.nodes[number].inputs) == {rows[-1][-1]}:
                rows[-1].append(number)
            else:
                rows.append([number])
        return [min(row, key=lambda i: (self.nodes[i].bytes, -i)) for row in rows]

    def names(self, stays, marked=()):
        return Kept(*(frozenset(self.nodes[i].name for i in numbers) for numbers in (stays, marked)))

    def alone(self, number):
        """Return True if a node may stay although its inputs are not kept."""
        return self._needs[number] <= {number}

    def held_by(self, stays, marked):
        """Numbers of the nodes whose results are kept."""
        numbers: set[int] = set()
        for i in self.operators:
            numbers |= self._needs[i] if i in stays else {j for j in self.nodes[i].inputs if j in stays or j in marked}
        return numbers

    def added(self, number, stays, holding):
        """Bytes that are kept besides where a node stays too."""
        more = self._needs[number] | ({number} if set(self._readers[number]) - stays else set())
        return sum(self.nodes[i].bytes for i in more - holding)

    def closed(self, stays, marked):
        """Return stays, and all other nodes that may stay although nothing is kept for them."""
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
        """The symbol as an executor shall run it; kept None: everything is, for a plain step."""
        nodes: list[dict] = []
        place: dict[tuple[int, int], tuple[int, int]] = {}
        for number, node in enumerate(self._traced.nodes):
            node = dict(node, inputs=[[*place[i, k], version] for i, k, version in node['inputs']])
            name = node['name']
            stays = decision is None or name in decision.stays or node['op'].startswith(ONCE)
            if node['op'] != VARIABLE:
                node['attrs'] = dict(node.get('attrs', {}), __force_mirroring__=str(not stays))
            here = len(nodes)
            nodes.append(node)
            for k in self._used.get(number, ()):
                place[number, k] = here, k
                if not stays and name in decision.marked:
                    place[number, k] = len(nodes), 0
                    nodes.append(dict(op='_copy', name=f'{name}_kept{k}', inputs=[[here, k, 0]]))
        heads = [[*place[i, k], version] for i, k, version in self._traced.heads]
        return self._traced.with_nodes(nodes, heads).symbol()

    def again(self, text):
        """Numbers of the nodes that an executor runs a second time, from its debug_str()."""
        return [self.numbers[n] for n in re.findall(r'Name=(\S+)_mirror$', text, re.M) if n in self.numbers]
