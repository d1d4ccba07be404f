"""The symbol that lies beside checkpoints, PREFIX-symbol.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mxnet as mx

from ibnnet_mx.graph import names
from ibnnet_mx.graph.symbol_json import SymbolGraph


def graph_of(net: Any) -> SymbolGraph:
    """Return the graph of a network's prediction with a SoftmaxOutput behind it, as a checkpoint keeps it.

    A network of the tables has the names of the original's outputs.
    """
    is_ours = hasattr(net, 'symbol')
    logits = net.symbol() if is_ours else net(mx.sym.var('data'))
    graph = SymbolGraph.of_symbol(mx.sym.SoftmaxOutput(logits, name='softmax'))
    return names.as_original(graph) if is_ours else graph


def inputs_of(net: Any) -> list[str]:
    """Return the names of the parameters that a prediction needs, in the network's order.

    Parameters that only training needs are kept with the optimiser's state.
    """
    needed = {node['name'] for node in graph_of(net).nodes}
    return [name for name in net.collect_params() if name in needed]


def is_symbol_of(path: Path, net: Any) -> bool:
    """Return True if a -symbol.json is that of a network, with the names of an older version too."""
    try:
        graph = SymbolGraph.parse(path.read_text(encoding='utf-8'))
        graph = names.as_original(graph) if hasattr(net, 'symbol') else graph
        return graph.stable_bytes() == graph_of(net).stable_bytes()
    except (ValueError, KeyError, TypeError, IndexError):
        return False
