"""Networks to ONNX, opset 13, and such files as networks again (onnxruntime)."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from contextlib import contextmanager

import mxnet as mx
import numpy as np

from ibnnet_mx.files import atomic

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
        except (AttributeError, IndexError, KeyError, RuntimeError, onnx.checker.ValidationError) as error:
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
        atomic.write_file(path, model.SerializeToString())
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

    facts: its metadata {key: text}; shape: that of its input, numbers or names. ValueError: it is no such network.
    """

    def __init__(self, path, threads=0):
        runtime = _need('onnxruntime')
        self._path, options = path, runtime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, threads
        if not os.path.isfile(path):
            raise ValueError(f'--onnx {path} cannot be read: no such file')
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
        except Exception as error:  # its exceptions have no common class
            raise ValueError(f'--onnx {path} is no network that onnxruntime can run: {error}') from None
        entries = self._session.get_inputs()
        self._name, self.shape = entries[0].name, entries[0].shape
        self.facts = dict(self._session.get_modelmeta().custom_metadata_map)
        told = ', '.join(f'{entry.name} {entry.type} {entry.shape}' for entry in entries)
        if (
            len(entries) != 1
            or entries[0].type != 'tensor(float)'
            or len(self.shape) != 4
            or not self._takes_pictures()
        ):
            raise ValueError(f'--onnx {path}: one input of float32 (N, 3, S, S) is needed, it has {told}')

    def _takes_pictures(self):
        planes, height, width = self.shape[1:]
        sides = [side for side in (height, width) if isinstance(side, int)]
        return (planes == 3 or not isinstance(planes, int)) and len(set(sides)) < 2

    def classes(self, size):
        """The number of its logits for pictures of this size. ValueError: it takes others, or gives no logits."""
        logits = self(np.zeros((1, 3, size, size), np.float32))
        if logits.ndim != 2:
            raise ValueError(f'--onnx {self._path}: logits (N, classes) are needed, it gives {logits.shape}')
        return logits.shape[1]

    def __call__(self, x):
        """numpy in, numpy out. ValueError: pictures of a size that it does not take."""
        rows = self.shape[0] if isinstance(self.shape[0], int) else max(len(x), 1)
        count = max(-(-len(x) // rows), 1)  # batches; a fixed one is filled up with zeros
        filled = np.concatenate([x, np.zeros((count * rows - len(x), *x.shape[1:]), x.dtype)])
        parts = np.split(filled, count)
        try:
            found = [self._session.run(None, {self._name: part})[0] for part in parts]
        except Exception as error:  # its exceptions have no common class
            fed = tuple(parts[0].shape)
            raise ValueError(f'--onnx {self._path} takes {self.shape}, it was fed {fed}: {error}') from None
        return np.concatenate(found)[: len(x)]
