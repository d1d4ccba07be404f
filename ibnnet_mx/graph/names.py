"""The names of a saved symbol's inner outputs: those of tornadomeet/ResNet, by which community code takes features.

get_internals()['fc1_output'], ['flatten0_output'], ['pool1_output'], ['relu1_output'] work as there. Gluon's own names
(fc1_fwd, globalmean2_mean0) count how many networks a process has made, so that no two saves would be alike.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from ibnnet_mx.graph.symbol_json import VARIABLE, SymbolGraph

COUNTED = re.compile(r'(.*?)(relu|pool|dropout)\d+(_fwd)?')  # names that Gluon has given by counting
GLOBAL_MEAN = re.compile(r'globalmean\d+_mean\d+')
POOLED, FLAT = 'pool1', 'flatten0'


def as_original(graph: SymbolGraph) -> SymbolGraph:
    """Return the graph of a network with the original's names. It computes the same, bit for bit.

    The global mean becomes two nodes, pool1 (N, C, 1, 1) and flatten0 (N, C), as the original has them.
    """
    graph = _with_flatten(graph)
    names: list[str] = []
    taken: set[str] = set()
    relus: Counter[str] = Counter()  # of each unit
    for number, node in enumerate(graph.nodes):
        name = node['name'] if node['op'] == VARIABLE else _name(graph, number, names, relus)
        names.append(f'{name}_{number}' if name in taken else name)
        taken.add(names[-1])
    renamed = graph.with_nodes([{**node, 'name': name} for node, name in zip(graph.nodes, names)], graph.heads)
    return SymbolGraph.of_symbol(renamed.symbol())  # with the numbers that follow from the nodes


def _name(graph: SymbolGraph, number: int, before: list[str], relus: Counter[str]) -> str:
    """Return the name of an operator. before: the new names of the nodes before it."""
    name = graph.nodes[number]['name']
    counted = COUNTED.fullmatch(name)
    if counted is None or name == POOLED:
        return re.sub(r'_fwd$', '', name)
    prefix, kind = counted[1], counted[2]
    source = before[graph.inputs_of(number)[0]]
    if kind == 'relu' and prefix:  # of a unit: relu1, relu2, ...
        relus[prefix] += 1
        return f'{prefix}relu{relus[prefix]}'
    if kind == 'relu':  # bn0 is followed by relu0, bn1 by relu1
        norm = re.match(r'bn(\d+)', source)
        return f'relu{norm[1] if norm else 0}'
    if kind == 'pool':
        part = re.fullmatch(r'(.*_)conv', source)
        return f'{part[1]}pool' if part else f'{prefix}pool0'
    return f'{prefix}{kind}0'


def _with_flatten(graph: SymbolGraph) -> SymbolGraph:
    nodes: list[dict[str, Any]] = []
    moved: dict[int, int] = {}
    for number, node in enumerate(graph.nodes):
        inputs = [[moved[source], *rest] for source, *rest in node['inputs']]
        if node['op'] == 'mean' and GLOBAL_MEAN.fullmatch(node['name']):
            nodes.append({**node, 'name': POOLED, 'attrs': {**node['attrs'], 'keepdims': 'True'}, 'inputs': inputs})
            nodes.append({'op': 'Flatten', 'name': FLAT, 'inputs': [[len(nodes) - 1, 0, 0]]})
        else:
            nodes.append({**node, 'inputs': inputs})
        moved[number] = len(nodes) - 1
    return graph.with_nodes(nodes, [[moved[source], *rest] for source, *rest in graph.heads])
