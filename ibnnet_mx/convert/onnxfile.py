"""Networks to ONNX, opset 13, and such files as networks again (onnxruntime)."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from contextlib import contextmanager

import mxnet as mx
import numpy as np

from ibnnet_mx import ndfile

OPSET, IR = 13, 7
NEEDS = "--onnx needs onnx and onnxruntime: pip install 'onnx>=1.13,<1.19' onnxruntime 'protobuf<7'"


def export(symbol, arrays, path, size, facts, dynamic_batch=True, preprocess=None):
    """Writes a graph from 'data' (N, 3, size, size) to logits.

    arrays: {name: NDArray}. facts: {key: text} of the file's metadata. preprocess: (mean, std) of the RGB planes: the
    graph then takes raw values of 0..255. dynamic_batch False: N is 1. ValueError: a path that cannot be written, a
    graph that cannot be exported.
    """
    onnx = _need('onnx')
    with tempfile.TemporaryDirectory() as folder, _opset(onnx), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the exporter's own use of numpy
        part = os.path.join(folder, 'net.onnx')
        shapes = [(1, 3, size, size)]
        names = [('N', 3, size, size)] if dynamic_batch else shapes
        try:
            mx.onnx.export_model(
                symbol, _ones(symbol, arrays), shapes, np.float32, part, dynamic=True, dynamic_input_shapes=names
            )
        except (AttributeError, IndexError, KeyError, NotImplementedError, onnx.checker.ValidationError) as error:
            raise ValueError(f'{path}: the network cannot be written as ONNX: {error}') from None
        model = onnx.load(part)
    graph = model.graph
    model.ir_version, model.opset_import[0].version = IR, OPSET
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]  # a weight among them is not folded
    del graph.input[:]
    graph.input.extend(inputs)
    batch = graph.output[0].type.tensor_type.shape.dim[0]
    batch.Clear()
    batch.MergeFrom(inputs[0].type.tensor_type.shape.dim[0])
    if preprocess is not None:
        _preprocess(onnx, graph, *preprocess)
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    try:
        ndfile.write(path, model.SerializeToString())
    except OSError as error:
        raise ValueError(f'{error.filename}: {error.strerror}') from None


@contextmanager
def _opset(onnx):
    """The exporter writes operators of opset 13 and has them checked as the newest: let the checker know."""
    context = onnx.checker.DEFAULT_CONTEXT
    before = context.opset_imports
    context.opset_imports = {'': OPSET}
    try:
        yield
    finally:
        context.opset_imports = before


def _ones(symbol, arrays):
    """arrays with gamma 1 where the graph fixes it: the exporter writes what is stored."""
    arrays = dict(arrays)
    nodes = json.loads(symbol.tojson())['nodes']
    for node in nodes:
        if node['op'] == 'BatchNorm' and node.get('attrs', {}).get('fix_gamma', 'True') in ('True', '1'):
            gamma = nodes[node['inputs'][1][0]]['name']
            arrays[gamma] = mx.nd.ones_like(arrays[gamma])
    return arrays


def _preprocess(onnx, graph, mean, std):
    """data -> (data - mean) / std in front of the graph."""
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


def _need(name):
    try:
        return __import__(name)
    except ImportError:
        raise ValueError(NEEDS) from None


class OnnxNet:
    """An .onnx file as a network: (N, 3, H, W) float32 -> logits (N, classes), on the CPU.

    facts: its metadata {key: text}; shape: that of its input, numbers or names.
    """

    def __init__(self, path, threads=0):
        runtime = _need('onnxruntime')
        options = runtime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, threads
        if not os.path.isfile(path):
            raise ValueError(f'--onnx {path} cannot be read: no such file')
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
        except Exception as error:  # its exceptions have no common class
            raise ValueError(f'--onnx {path} is no network that onnxruntime can run: {error}') from None
        entry = self._session.get_inputs()[0]
        self._name, self.shape = entry.name, entry.shape
        self.facts = dict(self._session.get_modelmeta().custom_metadata_map)
        if len(self._session.get_inputs()) != 1 or len(self.shape) != 4:
            raise ValueError(f'--onnx {path}: a network with one input (N, 3, H, W) is needed, it has {self.shape}')

    def classes(self, size):
        """The number of its logits for pictures of this size."""
        return self(np.zeros((1, 3, size, size), np.float32)).shape[1]

    def __call__(self, x):
        """numpy in, numpy out."""
        if isinstance(self.shape[0], int):  # exported with a fixed batch
            rows = self.shape[0]
            parts = [x[i : i + rows] for i in range(0, len(x), rows)]
            last = np.zeros((rows - len(parts[-1]), *x.shape[1:]), x.dtype)
            parts[-1] = np.concatenate([parts[-1], last])
            return np.concatenate([self._session.run(None, {self._name: part})[0] for part in parts])[: len(x)]
        return self._session.run(None, {self._name: x})[0]
