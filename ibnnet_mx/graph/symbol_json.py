"""A traced graph as data. Only this module knows how its nodes are stored.

mxnet writes a symbol as JSON: "nodes" in the order of computation, each with "op" ('null': a variable), "name",
"attrs" and "inputs"; an edge is [node, output, version]. "heads" are the edges of the results. "arg_nodes" and
"node_row_ptr" follow from the nodes: arg_nodes is computed again when a graph is written, node_row_ptr is left out.
"""

from __future__ import annotations

import json
from typing import Any, Iterable

import mxnet as mx

VARIABLE = 'null'


class SymbolGraph:
    """The nodes and heads of a symbol. A pass edits them in place, or builds another graph from new nodes."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self.nodes: list[dict[str, Any]] = document['nodes']
        self.heads: list[list[int]] = document['heads']

    @classmethod
    def of_symbol(cls, symbol: Any) -> SymbolGraph:
        """Return the graph of a symbol, casts of mixed precision included."""
        return cls(json.loads(symbol.tojson(remove_amp_cast=False)))

    @classmethod
    def parse(cls, text: str) -> SymbolGraph:
        """Return the graph of a -symbol.json. Raises ValueError, KeyError or TypeError if the text is not a graph."""
        return cls(json.loads(text))

    @property
    def arguments(self) -> list[int]:
        """The numbers of the variables, as the text gave them."""
        return self._document['arg_nodes']

    def with_nodes(self, nodes: list[dict[str, Any]], heads: list[list[int]]) -> SymbolGraph:
        """Return a graph of other nodes and heads, with the attributes of this one."""
        rest = {key: value for key, value in self._document.items() if key != 'node_row_ptr'}
        return SymbolGraph({**rest, 'nodes': nodes, 'heads': heads, 'arg_nodes': _variables(nodes)})

    def symbol(self) -> Any:
        """Return the symbol of the graph as it is now."""
        document = {**self._document, 'nodes': self.nodes, 'heads': self.heads, 'arg_nodes': _variables(self.nodes)}
        document.pop('node_row_ptr', None)
        return mx.sym.load_json(json.dumps(document))

    def stable_bytes(self) -> bytes:
        """Return the JSON that a checkpoint keeps, byte for byte the same for the same network.

        The third number of an edge counts how often a variable of running statistics was used before. Loading ignores
        it, so it is set to 0.
        """
        for node in self.nodes:
            node['inputs'] = [[source, output, 0] for source, output, _ in node['inputs']]
        return json.dumps(self._document, indent=1).encode()

    def operators(self) -> list[int]:
        """Return the numbers of the nodes that compute something."""
        return [number for number, node in enumerate(self.nodes) if node['op'] != VARIABLE]

    def inputs_of(self, number: int) -> tuple[int, ...]:
        """Return the numbers of the nodes that a node reads, in its order."""
        return tuple(edge[0] for edge in self.nodes[number]['inputs'])

    def edges(self) -> Iterable[list[int]]:
        """Yield the edges of all nodes, then those of the heads."""
        for node in self.nodes:
            yield from node['inputs']
        yield from self.heads

    def uses(self) -> dict[tuple[int, int], int]:
        """Return {(node, output): how many edges read it}."""
        counts: dict[tuple[int, int], int] = {}
        for source, output, *_ in self.edges():
            counts[source, output] = counts.get((source, output), 0) + 1
        return counts

    def without(self, removed: set[int]) -> SymbolGraph:
        """Return the graph without some nodes. No edge may read them any more."""
        staying = [number for number in range(len(self.nodes)) if number not in removed]
        positions = {old: new for new, old in enumerate(staying)}

        def moved(edges: list[list[int]]) -> list[list[int]]:
            return [[positions[source], *rest] for source, *rest in edges]

        nodes = [{**self.nodes[number], 'inputs': moved(self.nodes[number]['inputs'])} for number in staying]
        return self.with_nodes(nodes, moved(self.heads))

    def downstream(self, name: str = 'data') -> set[int]:
        """Return the numbers of a variable and of all nodes that are computed from it."""
        reached: set[int] = set()
        for number, node in enumerate(self.nodes):
            if node['name'] == name or reached.intersection(self.inputs_of(number)):
                reached.add(number)
        return reached

    def cuts(self, name: str = 'data') -> list[int]:
        """Return the numbers of the operators that alone connect a variable with the nodes after them.

        Nothing after such a node reads a value that was computed from the variable before it.
        """
        live: set[int] = set()
        reached, numbers = self.downstream(name), []
        last = {source: number for number in range(len(self.nodes)) for source in self.inputs_of(number)}
        for number in sorted(reached):
            live = {source for source in live if last[source] > number} | ({number} if number in last else set())
            if live == {number} and self.nodes[number]['op'] != VARIABLE:
                numbers.append(number)
        return numbers

    def from_node(self, number: int, name: str) -> Any:
        """Return the symbol in which a variable `name` replaces a node, as input of all that follows."""
        variable = {'op': VARIABLE, 'name': name, 'inputs': []}
        nodes = [variable if i == number else node for i, node in enumerate(self.nodes)]
        return self.with_nodes(nodes, self.heads).symbol()


def _variables(nodes: list[dict[str, Any]]) -> list[int]:
    return [number for number, node in enumerate(nodes) if node['op'] == VARIABLE]


def first_outputs(symbol: Any, values: Iterable[Any]) -> dict[str, Any]:
    """Return {node's name: value of its first output}; values: one for each entry of symbol.get_internals()."""
    first: dict[str, Any] = {}
    for entry, value in zip(symbol.get_internals(), values):
        first.setdefault(entry.name, value)
    return first


def load_text(text: str) -> Any:
    """Return the symbol of a -symbol.json as mxnet's own loader reads it, old encodings included."""
    return mx.sym.load_json(text)
