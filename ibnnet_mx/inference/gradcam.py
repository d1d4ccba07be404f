"""Grad-CAM: the part of a picture that speaks for a class, for any network that convert.prediction() can trace."""

from __future__ import annotations

import math

import cv2
import mxnet as mx
import numpy as np
from mxnet import autograd

from ibnnet_mx import convert
from ibnnet_mx.graph.symbol_json import SymbolGraph

CONVOLUTIONS = ('Convolution', 'Deconvolution')
MAPS = 'gradcam_maps'


class GradCam:
    """heat = relu(sum over k of w_k A_k), w_k = mean over (i, j) of d logit / d A_k[i, j].

    A: the last maps of the network that have more than one pixel and through which alone its logits come from the
    picture: of the registry's, what the global mean is fed, so behind the last ReLU (v2, DenseNet: that of the neck).
    The logit is that of one class before any softmax. Selvaraju et al., arXiv:1610.02391, equations 1 and 2.
    All is computed as a prediction; no parameter and no running statistic is moved.
    size: the side of the pictures. ValueError: no such maps, or no gradient of what follows them.
    """

    def __init__(self, net, size):
        logits, self._arrays = convert.prediction(net)
        if isinstance(logits, list):
            raise ValueError('logits alone can be explained: the network gives several results')
        graph = SymbolGraph.of_symbol(logits)
        shapes = {name: array.shape for name, array in self._arrays.items()}
        maps = _last_maps(logits, graph, dict(shapes, data=(1, 3, size, size)))
        if maps is None:
            raise ValueError(f'no maps of several pixels lie between a convolution and its logits at {size}x{size}')
        number, body = maps
        context = next(iter(self._arrays.values())).context
        try:
            self._body, self._head = _Compiled(body), _Compiled(graph.from_node(number, MAPS))
            self(mx.nd.zeros((1, 3, size, size), ctx=context), [0])
        except mx.base.MXNetError:  # of many lines, about mxnet's own sources
            raise ValueError('mxnet has no gradient of a layer between its maps and its logits') from None

    def __call__(self, x, classes):
        """Return numpy float32 (n, h, w), >= 0, of an NDArray (n, 3, S, S) and a class number for each picture.

        h, w: of the maps. A value is a part of the logit: their sum over a picture is the part of the maps that speak
        for the class, times their pixels.
        """
        maps = self._body(dict(self._arrays, data=x)).detach()
        maps.attach_grad()
        with autograd.record(train_mode=False):
            logits = self._head({**self._arrays, MAPS: maps})
            chosen = logits.pick(mx.nd.array(classes, ctx=logits.context)).sum()
        (slopes,) = autograd.grad(chosen, [maps], train_mode=False)
        weights = slopes.mean(axis=(2, 3), keepdims=True)
        return mx.nd.relu((weights * maps).sum(axis=1)).asnumpy()


class _Compiled:
    """A compiled symbol: {input's name: NDArray} -> its result. Inputs other than MAPS are constants."""

    def __init__(self, symbol):
        self._names, self._operator = symbol.list_inputs(), mx.nd.CachedOp(symbol)

    def __call__(self, arrays):
        return self._operator(*(arrays[name] if name == MAPS else arrays[name].detach() for name in self._names))


def _last_maps(logits, graph, shapes):
    """Return the number and the symbol of the node whose maps explain; None if there is none."""
    internals = logits.get_internals()
    outputs: dict[str, tuple] = {}  # of each node the first output
    for entry, shape in zip(internals, internals.infer_shape(**shapes)[1] or ()):  # none where some stay unknown
        outputs.setdefault(entry.name, (entry, shape))
    for number in reversed(_cuts(graph)):
        entry, shape = outputs.get(graph.nodes[number]['name'], (None, ()))
        if len(shape) == 4 and math.prod(shape[2:]) > 1:
            return number, entry
    return None


def _cuts(graph):
    """Return the numbers of the nodes behind a convolution whose first output alone connects the data with the head."""
    convolved: set[int] = set()
    for number in sorted(graph.downstream()):
        if graph.nodes[number]['op'] in CONVOLUTIONS or convolved.intersection(graph.inputs_of(number)):
            convolved.add(number)
    other_outputs = {source for node in graph.nodes for source, output, *_ in node['inputs'] if output != 0}
    return [number for number in graph.cuts() if number in convolved and number not in other_outputs]


def enlarged(heat, size):
    """Enlarge float32 (h, w) to (size, size), bilinear: a value lies at the centre of the square that it covers."""
    return cv2.resize(np.asarray(heat, np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
