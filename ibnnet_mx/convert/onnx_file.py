"""Write networks as ONNX, opset 13."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from contextlib import contextmanager

import mxnet as mx
import numpy as np

from ibnnet_mx import models
from ibnnet_mx.convert.metadata import describe
from ibnnet_mx.convert.symbol import prediction
from ibnnet_mx.errors import OptionError
from ibnnet_mx.files import atomic
from ibnnet_mx.graph.symbol_json import SymbolGraph
from ibnnet_mx.size import Size

OPSET, IR = 13, 7
NEEDS = "needs onnx and onnxruntime: pip install 'onnx>=1.13,<1.19' onnxruntime 'protobuf<7'"


def export(symbol, arrays, path, size, facts, dynamic_batch=True, preprocess=None):
    """Write a graph from 'data' (N, 3, height, width) to logits.

    arrays: {name: NDArray}. size: Size. facts: {key: text}, the file's metadata. preprocess: (mean, std) of the RGB
    planes; the graph then takes raw values of 0..255. dynamic_batch False: N is 1.
    Raises ValueError if the graph cannot be exported or the path cannot be written.
    """
    onnx = _need_onnx()
    with tempfile.TemporaryDirectory() as folder, _opset(onnx), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the exporter uses deprecated names of numpy
        part = os.path.join(folder, 'net.onnx')
        shapes = [(1, 3, *size)]
        names = [('N', 3, *size)] if dynamic_batch else shapes
        try:
            mx.onnx.export_model(
                symbol, _ones(symbol, arrays), shapes, np.float32, part, dynamic=True, dynamic_input_shapes=names
            )
        except (AttributeError, IndexError, KeyError, RuntimeError, onnx.checker.ValidationError) as error:
            raise ValueError(f'{path}: the network cannot be written as ONNX: {error}') from None
        model = onnx.load(part)
    graph = model.graph
    model.ir_version, model.opset_import[0].version = IR, OPSET
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]  # runtimes do not fold weights in it
    del graph.input[:]
    graph.input.extend(inputs)
    batch, *rest = graph.output[0].type.tensor_type.shape.dim
    batch.Clear()
    batch.MergeFrom(inputs[0].type.tensor_type.shape.dim[0])
    for side, length in zip(rest, symbol.infer_shape(data=shapes[0])[1][0][1:]):  # the exporter leaves them open
        side.Clear()
        side.dim_value = length
    if preprocess is not None:
        _preprocess(onnx, graph, *preprocess)
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    try:
        atomic.write_file(path, model.SerializeToString())
    except OSError as error:
        raise ValueError(f'{error.filename}: {error.strerror}') from None


@contextmanager
def _opset(onnx):
    """Make the checker use opset 13. The exporter writes that opset, but has its nodes checked as the newest one."""
    context = onnx.checker.DEFAULT_CONTEXT
    before = context.opset_imports
    context.opset_imports = {'': OPSET}
    try:
        yield
    finally:
        context.opset_imports = before


def _ones(symbol, arrays):
    """Return the arrays with gamma 1 where the graph fixes it, because the exporter would write the stored values."""
    arrays = dict(arrays)
    nodes = SymbolGraph.of_symbol(symbol).nodes
    for node in nodes:
        if node['op'] == 'BatchNorm' and node.get('attrs', {}).get('fix_gamma', 'True') in ('True', '1'):
            gamma = nodes[node['inputs'][1][0]]['name']
            arrays[gamma] = mx.nd.ones_like(arrays[gamma])
    return arrays


def _preprocess(onnx, graph, mean, std):
    """Put (data - mean) / std in front of the graph."""
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == 'data':
                node.input[i] = 'normalized'
    constants = [('pixel_mean', mean), ('pixel_std', std)]
    for name, values in constants:
        array = np.array(values, np.float32).reshape(1, 3, 1, 1)
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    steps = [('Sub', 'data', 'pixel_mean', 'centered'), ('Div', 'centered', 'pixel_std', 'normalized')]
    for i, (kind, first, second, out) in enumerate(steps):
        graph.node.insert(i, onnx.helper.make_node(kind, [first, second], [out], name=out))


def _need_onnx():
    """Return the package onnx. Raises OptionError if it is missing."""
    try:
        import onnx
    except ImportError:
        raise OptionError('onnx', None, NEEDS) from None
    return onnx


def to_onnx(net, path, size=None, dynamic_batch=True, with_preprocess=False, pixels=None, class_names=()):
    """Write net as ONNX, opset 13: 'data' (N, 3, height, width) float32 -> logits; any N, or 1 without dynamic_batch.

    size: a side or (height, width); if not given, the model's (224, or 32 for CIFAR networks). pixels: the
    normalisation as models.Pixels; if not given, the model's, or raw 0..255 for a SymbolBlock. with_preprocess: the
    graph takes raw RGB of 0..255.
    The metadata hold model, size, normalisation and class_names.
    Raises ValueError if onnx is not installed or the network cannot be written.
    """
    model = getattr(net, 'model', None)
    pixels = pixels or (model.pixels if model else models.RAW)
    size = Size.of(size or (model.size if model else 224))
    fed = models.RAW if with_preprocess else pixels
    normalisation = {'order': 'RGB', 'mean': fed.mean, 'std': fed.std, 'range': '0..255'}
    facts = dict(describe(net), size=str(size), pixels=json.dumps(normalisation))
    if class_names:
        facts['class_names'] = json.dumps(list(class_names))
    preprocess = pixels if with_preprocess and pixels != models.RAW else None
    symbol, arrays = prediction(net)
    export(symbol, arrays, path, size, facts, dynamic_batch, preprocess)
