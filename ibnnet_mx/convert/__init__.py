"""Weights and networks in and out: PyTorch, the 2016 MXNet code, GluonCV, safetensors, ONNX. A stable interface.

What loads takes a path or a mapping {key: array}, fills the whole network or leaves it untouched, and lists in one
ValueError what is left over on either side. In files from elsewhere no code is ever run.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

from ibnnet_mx import _env

with _env.terse():
    import mxnet as mx

import numpy as np

from ibnnet_mx import models
from ibnnet_mx.checkpoint import Store
from ibnnet_mx.convert import fill, identify, names, onnxfile, torchfile
from ibnnet_mx.convert.onnxfile import OnnxNet
from ibnnet_mx.files import atomic, params_file
from ibnnet_mx.graph import symbol_file

__all__ = [
    'OnnxNet',
    'load',
    'load_mxnet',
    'load_safetensors',
    'load_symbol',
    'load_torch',
    'prediction',
    'read',
    'save_safetensors',
    'to_onnx',
    'to_torch',
    'with_embedding',
]
TORCH = ('.pth', '.pt')
SAFETENSORS = {  # what its types are to numpy
    **{f'F{8 * n}': f'<f{n}' for n in (2, 4, 8)},
    **{f'{kind}{8 * n}': f'<{kind.lower()}{n}' for kind in 'IU' for n in (1, 2, 4, 8)},
    'BF16': '<u2',
    'BOOL': '?',
}
NEEDS_SAFETENSORS = 'safetensors files need the package: pip install safetensors'


def read(path):
    """{key: array} of a file of weights: .params, .safetensors or PyTorch's, told apart by what they begin with."""
    try:
        with open(path, 'rb') as file:
            head = file.read(9)
    except OSError as error:
        raise ValueError(f'{path} cannot be read: {error.strerror}') from None
    if str(path).endswith('.onnx'):
        raise ValueError(f'{path} cannot be read back into a network; evaluate.py and predict.py run it with --onnx')
    if str(path).endswith('.states'):
        raise ValueError(f'{path} holds the state of an optimiser, no weights: name the .params beside it')
    if head[:8] == params_file.LIST.to_bytes(8, 'little'):
        return params_file.read(path)
    if head[8:] == b'{' or str(path).endswith('.safetensors'):
        return _read_safetensors(path)
    if str(path).endswith('.params'):
        return params_file.read(path)  # which says what is wrong with it
    return torchfile.read(path)


def load(net, source, new_head=False, from_plain=False):
    """Weights of a file (read()) or mapping into net, under whatever names. Returns lines about what was not copied.

    A prefix that all keys share ('module.', 'backbone.') is found. new_head: the classifier stays as it was drawn.
    from_plain: the weights are those of the plain network of an IBN one; its norms are split between the halves.
    ValueError: does not fit.
    """
    if isinstance(source, (str, os.PathLike)):
        arrays = read(source)
        try:
            return fill.load(net, arrays, new_head, from_plain)
        except ValueError as error:
            raise ValueError(f'{source}: {error}') from None
    return fill.load(net, source, new_head, from_plain)


def load_torch(net, source, new_head=False, from_plain=False):
    """load() of a .pth or a state_dict as XingangPan/IBN-Net and torchvision have them (num_batches_tracked or not)."""
    return load(net, source, new_head, from_plain)


def load_mxnet(net, source, new_head=False, from_plain=False):
    """load() of a .params: the 2016 code's (arg: and aux: before the names or not), Gluon's, GluonCV's resnet*_v1b."""
    return load(net, source, new_head, from_plain)


def load_safetensors(net, source, new_head=False, from_plain=False):
    """load() of a .safetensors, with our names or the original's."""
    return load(net, source, new_head, from_plain)


def _need_safetensors():
    try:
        import safetensors.numpy
    except ImportError:
        raise ValueError(NEEDS_SAFETENSORS) from None
    return safetensors.numpy


def _read_safetensors(path):
    _need_safetensors()
    from safetensors import SafetensorError, deserialize

    found = {}
    try:
        for name, entry in deserialize(Path(path).read_bytes()):
            if entry['dtype'] not in SAFETENSORS:
                raise ValueError(f'{name} is of type {entry["dtype"]}: there are {", ".join(SAFETENSORS)}')
            array = np.frombuffer(entry['data'], SAFETENSORS[entry['dtype']]).reshape(entry['shape'])
            widened = array.astype(np.uint32) << 16  # bfloat16 is the upper half of a float32
            found[name] = widened.view(np.float32) if entry['dtype'] == 'BF16' else array
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f'{path} is no safetensors file, or damaged: {error}') from None
    return found


def _arrays(net):
    return {name: param.data(param.list_ctx()[0]).asnumpy() for name, param in net.collect_params().items()}


def _write(path, data):
    try:
        atomic.write_file(path, data)
    except OSError as error:
        raise ValueError(f'{error.filename}: {error.strerror}') from None


def _facts(net):
    """What a file from elsewhere's view should say about a network: {key: text}."""
    model = getattr(net, 'model', None)
    if model is None:
        return {}
    pixels = {'order': 'RGB', 'mean': model.pixels.mean, 'std': model.pixels.std, 'range': '0..255'}
    return {'model': model.name, 'size': str(model.size), 'pixels': json.dumps(pixels)}


def save_safetensors(net, path):
    """Writes net's arrays under our names, with model and pixel convention in the metadata; whole or not at all."""
    _write(path, _need_safetensors().save(_arrays(net), _facts(net)))


def to_torch(net, path):
    """Writes .pth (read by torch 1.6 and newer) or .safetensors with the original's keys, order and shapes.

    The official PyTorch code loads it strictly: num_batches_tracked is there, 0. Networks that have no original in
    PyTorch (v2, own designs) get keys of the same kind. Needs no torch.
    """
    kind = os.path.splitext(path)[1]
    if kind not in (*TORCH, '.safetensors'):
        raise ValueError(f'{path}: a name that ends in .pth or .safetensors is needed')
    if isinstance(net, mx.gluon.SymbolBlock):
        raise ValueError(f'{path}: the weights alone would be taken for another network; write ONNX or a checkpoint')
    arrays, found = _arrays(net), {}
    for name, key in names.torch_keys(list(arrays)).items():
        found[key] = arrays[name]
        if name.endswith('running_var') and name.replace('running_var', 'iters') not in arrays:
            found[key.replace('running_var', 'num_batches_tracked')] = np.zeros((), np.int64)
    if kind == '.safetensors':
        _write(path, _need_safetensors().save(found, _facts(net)))
    else:
        torchfile.write(path, found)


def to_onnx(net, path, size=None, dynamic_batch=True, with_preprocess=False, pixels=None, class_names=()):
    """Writes net as ONNX, opset 13: 'data' (N, 3, size, size) float32 -> logits; N any, or 1 without dynamic_batch.

    size: unset, the model's own (224, 32 for CIFAR nets). The metadata say model, size and pixel convention (pixels:
    models.Pixels; unset: the model's own, raw 0..255 for a SymbolBlock). with_preprocess: the graph takes raw RGB of
    0..255. class_names go into the metadata. ValueError: onnx is not installed, or the network cannot be written.
    """
    model = getattr(net, 'model', None)
    pixels = pixels or (model.pixels if model else models.RAW)
    size = size or (model.size if model else 224)
    fed = models.RAW if with_preprocess else pixels
    told = {'order': 'RGB', 'mean': fed.mean, 'std': fed.std, 'range': '0..255'}
    facts = dict(_facts(net), size=str(size), pixels=json.dumps(told))
    if class_names:
        facts['class_names'] = json.dumps(list(class_names))
    preprocess = pixels if with_preprocess and pixels != models.RAW else None
    onnxfile.export(*prediction(net), path, size, facts, dynamic_batch, preprocess)


def prediction(net):
    """(symbol from 'data' to logits, {name: NDArray} of its other inputs) of what a network predicts with.

    Of the registry's networks that is their inference form, of a SymbolBlock what it is.
    """
    if hasattr(net, 'inference_form'):
        net = net.inference_form()
    arrays = {name: param.data(param.list_ctx()[0]) for name, param in net.collect_params().items()}
    return (net.symbol() if hasattr(net, 'symbol') else net(mx.sym.var('data'))), arrays


def load_symbol(prefix, epoch=0, ctx=None):
    """PREFIX-symbol.json and PREFIX-0000.params -> a network that gives logits; a SoftmaxOutput is cut off.

    Takes this project's checkpoints and those of the 2016 code, the old encodings of both files included. One that
    computes what a network of the registry does is returned as that (net.model); any other as a SymbolBlock.
    ValueError names the file, and the names that are left over on either side.
    """
    store = Store(prefix)
    arrays = {name.split(':', 1)[-1]: a for name, a in params_file.read(store.path(epoch, 'params')).items()}
    symbol = symbol_file.read(store.symbol_path)
    inputs = [n for n in symbol.list_inputs() if n != 'data']
    faults = [f'{n} is missing' for n in inputs if n not in arrays]
    faults += [f'{n} has no place in {store.symbol_path}' for n in arrays if n not in inputs]
    if faults:
        raise ValueError(f'{store.path(epoch, "params")} does not fit its symbol: ' + '; '.join(faults[:20]))
    try:
        shapes = {name: arrays[name].shape for name in inputs}
        symbol_file.check_size(symbol, dict(shapes, data=(2, 3, 64, 64)))
    except ValueError as error:
        raise ValueError(f'{store.symbol_path} is damaged: {error}') from None
    try:
        block = _symbol_block(symbol, arrays, ctx or mx.cpu())
        return _of_registry(block, arrays, ctx or mx.cpu()) or block
    except mx.base.MXNetError:  # of many lines, about mxnet's own sources
        raise ValueError(f'{store.symbol_path} is damaged: mxnet cannot compute it') from None


def _symbol_block(symbol, arrays, ctx):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # it guesses types without the shapes that come right after, and says so
        net = mx.gluon.SymbolBlock(symbol, mx.sym.var('data'))
    for name, param in net.collect_params().items():
        param.shape = arrays[name].shape
        param.initialize(init=mx.init.Zero(), ctx=ctx)
        param.set_data(mx.nd.array(arrays[name]))
    return net


def with_embedding(net):
    """net -> a SymbolBlock giving [logits (N, classes), what its classifier is fed (N, C)]. ValueError: it has none."""
    logits, arrays = prediction(net)
    if isinstance(logits, list) or logits.attr('num_hidden') is None:
        raise ValueError('the network does not end in a dense layer: there is no embedding before it')
    both = mx.sym.Group([logits, mx.sym.Flatten(logits.get_children()[0])])
    return _symbol_block(both, arrays, next(iter(arrays.values())).context)


def _of_registry(block, arrays, ctx):
    """The registry's network with these arrays where it computes what the block does, else None."""
    found = identify.model_of(arrays)
    if found is None:
        return None
    model, options = found
    x = mx.nd.array(np.random.RandomState(0).uniform(-2, 2, (2, 3, 64, 64)) * model.pixels.std[0], ctx=ctx)
    theirs = block(x).asnumpy()
    kits = ('in', 'gn', 'ln') if options.get('norm') == 'in' else (options.get('norm', 'bn'),)
    for kit in kits:  # those three have the same arrays
        net = models.create(model.name, **{**options, 'norm': kit})
        net.initialize(ctx=ctx)
        fill.load(net, arrays)
        ours = net(x).asnumpy()
        if theirs.shape == ours.shape and np.abs(theirs - ours).max() <= 1e-4 * np.abs(theirs).max():
            return net
    return None
