"""Graphs for training on the CPU: a norm, the sum with a shortcut and the ReLU that follow it become one operator."""

from __future__ import annotations

import json

import mxnet as mx

OPERATORS = ('ibnnet_norm', 'ibnnet_excite')


def fused(symbol):
    """The same graph with the ReLUs and sums that alone follow an ibnnet_norm (operators/cpp/norm.cc) taken into it."""
    graph = json.loads(symbol.tojson(remove_amp_cast=False))
    nodes, uses = graph['nodes'], _uses(graph)
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
    return mx.sym.load_json(json.dumps(_without(graph, gone)))


def _uses(graph):
    """{(node, output): how many read it}"""
    uses = {}
    for entry in [given for node in graph['nodes'] for given in node['inputs']] + graph['heads']:
        uses[tuple(entry[:2])] = uses.get(tuple(entry[:2]), 0) + 1
    return uses


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


def _without(graph, gone):
    """The graph without some nodes that nobody reads any more."""
    kept = [i for i in range(len(graph['nodes'])) if i not in gone]
    number = {old: new for new, old in enumerate(kept)}
    nodes = [dict(graph['nodes'][i]) for i in kept]
    for node in nodes:
        node['inputs'] = [[number[i], *rest] for i, *rest in node['inputs']]
    return {
        'nodes': nodes,
        'arg_nodes': [number[i] for i in graph['arg_nodes']],
        'heads': [[number[i], *rest] for i, *rest in graph['heads']],
        'attrs': graph.get('attrs', {}),
    }
