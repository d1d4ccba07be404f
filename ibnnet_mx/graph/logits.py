"""Cut the softmax from the end of a symbol, so that what a network gives are logits.

Whoever takes probabilities for logits applies softmax twice: the largest class stays, every number is wrong.
"""

from __future__ import annotations

from typing import Any

import mxnet as mx

from ibnnet_mx.graph.symbol_json import SymbolGraph

SOFTMAX = ('SoftmaxOutput', 'Softmax', 'softmax', 'SoftmaxActivation', 'log_softmax')
SIGMOID = ('sigmoid', 'LogisticRegressionOutput')
# They change neither values nor their order in a prediction; some change the shape.
PASSING = ('_copy', 'identity', 'BlockGrad', 'stop_gradient', 'Dropout', 'amp_cast', 'Cast', 'MakeLoss', 'make_loss')
SHAPING = ('Flatten', 'flatten', 'Reshape', 'reshape', 'squeeze', 'expand_dims')
# A network of classes that ends in a pooling or a ReLU is usual (NiN, SqueezeNet), one that ends in a norm is not.
NORMS = ('BatchNorm', 'BatchNorm_v1', 'L2Normalization', 'LayerNorm', 'InstanceNorm')


def is_embedding(symbol: Any) -> bool:
    """Return True if a symbol ends in a norm, apart from Flatten and the like, as face and re-identification networks
    do. Their numbers are no logits of classes.
    """
    graph = SymbolGraph.of_symbol(symbol)
    number = graph.heads[0][0]
    while graph.nodes[number]['op'] in (*PASSING, *SHAPING):
        number = graph.nodes[number]['inputs'][0][0]
    return graph.nodes[number]['op'] in NORMS


def logits_of(symbol: Any) -> Any:
    """Return the symbol up to its logits, without SoftmaxOutput, softmax, SoftmaxActivation or log_softmax at its end,
    also if an identity, Flatten or the like follows them.

    Raises ValueError for a sigmoid at the end, because it answers another question than softmax.
    """
    graph = SymbolGraph.of_symbol(symbol)
    number, at, logits = graph.heads[0][0], symbol, symbol
    shaped = False
    while True:
        node = graph.nodes[number]
        if node['op'] in SIGMOID:
            raise ValueError('it ends in a sigmoid, so that several classes may be true at once; this is for one class')
        if node['op'] not in (*SOFTMAX, *PASSING, *SHAPING):
            return mx.sym.Flatten(logits) if shaped and logits is not symbol else logits
        number, at = node['inputs'][0][0], at.get_children()[0]
        shaped |= node['op'] in SHAPING
        if node['op'] in SOFTMAX:
            temperature = node.get('attrs', {}).get('temperature', 'None')
            logits = at if temperature in ('None', '1', '1.0') else at / float(temperature)
