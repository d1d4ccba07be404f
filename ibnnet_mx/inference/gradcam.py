"""Grad-CAM: find the part of a picture that speaks for a class. For any network that convert.prediction() can trace."""

from __future__ import annotations

import math

import cv2
import mxnet as mx
import numpy as np
from mxnet import autograd

from ibnnet_mx import convert
from ibnnet_mx.errors import no_memory
from ibnnet_mx.graph.symbol_json import SymbolGraph
from ibnnet_mx.size import Size

CONVOLUTIONS = ('Convolution', 'Deconvolution')
MAPS = 'gradcam_maps'


class GradCam:
    """heat = relu(sum over k of w_k A_k), w_k = mean over (i, j) of d logit / d A_k[i, j].

    A: the last maps with more than one pixel that alone connect the picture with the logits. For networks of the
    tables these are the input of the global mean, behind the last ReLU. The logit is one class's, before softmax.
    Selvaraju et al., arXiv:1610.02391, equations 1 and 2. Everything is computed as in prediction; no parameter and no
    running statistic moves. size: of the pictures, a side or (height, width).
    Raises ValueError if there are no such maps, or the layers after them have no gradient.
    """

    def __init__(self, net, size):
        logits, self._arrays = convert.prediction(net)
        size = Size.of(size)
        if isinstance(logits, list):
            raise ValueError('only logits can be explained, and the network gives several results')
        graph = SymbolGraph.of_symbol(logits)
        shapes = {name: array.shape for name, array in self._arrays.items()}
        maps = _last_maps(logits, graph, dict(shapes, data=(1, 3, *size)))
        if maps is None:
            raise ValueError(f'no maps of several pixels lie between a convolution and its logits at {size.sides}')
        number, body = maps
        context = next(iter(self._arrays.values())).context
        try:
            self._body, self._head = _Compiled(body), _Compiled(graph.from_node(number, MAPS))
            self(mx.nd.zeros((1, 3, *size), ctx=context), [0])
        except mx.base.MXNetError as error:  # its text has many lines about mxnet's sources
            if no_memory(error):
                raise
            raise ValueError('mxnet has no gradient of a layer between its maps and its logits') from None

    def __call__(self, x, classes):
        """Return numpy float32 (n, h, w), >= 0, of an NDArray (n, 3, H, W) and a class number for each picture.

        h, w: size of the maps. If the logit is linear in the mean of the maps, the sum of the values is the part of the
        logit that comes from pixels which speak for the class.
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
    """A compiled symbol: {name of an input: NDArray} -> its result. Inputs other than MAPS get no gradient."""

    def __init__(self, symbol):
        self._names, self._operator = symbol.list_inputs(), mx.nd.CachedOp(symbol)

    def __call__(self, arrays):
        return self._operator(*(arrays[name] if name == MAPS else arrays[name].detach() for name in self._names))


def _last_maps(logits, graph, shapes):
    """Return (number, symbol) of the node whose maps are A; None if there is none."""
    internals = logits.get_internals()
    outputs: dict[str, tuple] = {}  # node: its first output
    for entry, shape in zip(internals, internals.infer_shape(**shapes)[1] or ()):  # None if some shapes stay unknown
        outputs.setdefault(entry.name, (entry, shape))
    for number in reversed(_cuts(graph)):
        entry, shape = outputs.get(graph.nodes[number]['name'], (None, ()))
        if len(shape) == 4 and math.prod(shape[2:]) > 1:
            return number, entry
    return None


def _cuts(graph):
    """Return the numbers of the cuts behind a convolution whose first output is the only one in use."""
    convolved: set[int] = set()
    for number in sorted(graph.downstream()):
        if graph.nodes[number]['op'] in CONVOLUTIONS or convolved.intersection(graph.inputs_of(number)):
            convolved.add(number)
    other_outputs = {source for node in graph.nodes for source, output, *_ in node['inputs'] if output != 0}
    return [number for number in graph.cuts() if number in convolved and number not in other_outputs]


def enlarged(heat, size):
    """Enlarge float32 (h, w) to a size, bilinear: a value lies at the centre of the area that it covers."""
    return cv2.resize(np.asarray(heat, np.float32), Size.of(size).wide_high, interpolation=cv2.INTER_LINEAR)
