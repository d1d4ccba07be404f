"""Read files of weights in all formats, put them into a network, and write them for PyTorch and safetensors."""

from __future__ import annotations

import os
from pathlib import Path

import mxnet as mx
import numpy as np

from ibnnet_mx.convert import choose, fill, names, torch_file
from ibnnet_mx.convert.metadata import describe
from ibnnet_mx.errors import OptionError, markup
from ibnnet_mx.files import atomic, params_file

TORCH = ('.pth', '.pt')
SAFETENSORS = {  # type in a file: type of numpy
    **{f'F{8 * n}': f'<f{n}' for n in (2, 4, 8)},
    **{f'{kind}{8 * n}': f'<{kind.lower()}{n}' for kind in 'IU' for n in (1, 2, 4, 8)},
    'BF16': '<u2',
    'BOOL': '?',
}
NEEDS_SAFETENSORS = 'safetensors files need the package: pip install safetensors'


def read_weights(path, key=None):
    """Return the Weights of a file, {key: array}: .params, .safetensors or PyTorch's, recognised by its first bytes.

    key: which of several weights in it, such as 'state_dict' or 'model_ema.module'; None: the averaged ones, else the
    largest; see choose.py. Raises ValueError, which names the file.
    """
    arrays = _read(path, key)
    if key is None or arrays.chosen:
        return arrays
    return choose.of_prefix(arrays, key)


def _read(path, key):
    try:
        with open(path, 'rb') as file:
            head = file.read(9)
    except OSError as error:
        raise ValueError(f'{path} cannot be read: {error.strerror}') from None
    if str(path).endswith('.onnx'):
        raise OptionError(
            None, None, f'{path} cannot be read back into a network; ibnnet evaluate and predict run it with `onnx`'
        )
    if str(path).endswith('.states'):
        raise ValueError(f'{path} holds the state of an optimiser, not weights: give the .params beside it')
    if head[:8] == params_file.LIST.to_bytes(8, 'little'):
        return choose.Weights(params_file.read_params(path))
    if head[8:] == b'{' or str(path).endswith('.safetensors'):
        return choose.Weights(_read_safetensors(path))
    if str(path).endswith('.params'):
        return choose.Weights(params_file.read_params(path))  # its error says what is wrong with the file
    return torch_file.read_torch(path, key=key)


def load(net, source, new_head=False, from_plain=False):
    """Put the weights of a file or a mapping into net, in any known layout. Return lines about what was not copied.

    A prefix that all keys share ('module.', 'backbone.') is found. new_head: the classifier keeps its initial values.
    from_plain: the weights are a plain network's and net is its IBN network; norms are split between the halves of IBN.
    Raises ValueError if the weights do not fit.
    """
    if isinstance(source, (str, os.PathLike)):
        arrays = read_weights(source)
        try:
            return fill.load(net, arrays, new_head, from_plain)
        except ValueError as error:
            raise OptionError(None, None, f'{source}: {markup(error)}') from None
    return fill.load(net, source, new_head, from_plain)


def load_torch(net, source, new_head=False, from_plain=False):
    """Call load() for a .pth or a state_dict as XingangPan/IBN-Net and torchvision write them."""
    return load(net, source, new_head, from_plain)


def load_mxnet(net, source, new_head=False, from_plain=False):
    """Call load() for a .params: the 2016 code's (with arg: and aux: or not), Gluon's, GluonCV's resnet*_v1b."""
    return load(net, source, new_head, from_plain)


def load_safetensors(net, source, new_head=False, from_plain=False):
    """Call load() for a .safetensors, with our names or the original's."""
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

    arrays = {}
    try:
        for name, entry in deserialize(Path(path).read_bytes()):
            if entry['dtype'] not in SAFETENSORS:
                raise ValueError(f'{name} has type {entry["dtype"]}; known are {", ".join(SAFETENSORS)}')
            array = np.frombuffer(entry['data'], SAFETENSORS[entry['dtype']]).reshape(entry['shape'])
            widened = array.astype(np.uint32) << 16  # bfloat16 is the upper half of a float32
            arrays[name] = widened.view(np.float32) if entry['dtype'] == 'BF16' else array
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f'{path} is not a safetensors file, or is damaged: {error}') from None
    return arrays


def _arrays(net):
    return {name: param.data(param.list_ctx()[0]).asnumpy() for name, param in net.collect_params().items()}


def _write_file(path, data):
    try:
        atomic.write_file(path, data)
    except OSError as error:
        raise ValueError(f'{error.filename}: {error.strerror}') from None


def save_safetensors(net, path):
    """Write net's arrays under our names, with model and normalisation in the metadata; whole or not at all."""
    _write_file(path, _need_safetensors().save(_arrays(net), describe(net)))


def to_torch(net, path):
    """Write .pth (for torch 1.6 and newer) or .safetensors with the original's keys, order and shapes.

    The official PyTorch code loads it strictly, because num_batches_tracked is included, as 0. Networks without an
    original in PyTorch (v2, our own) get keys of the same kind. Needs no torch.
    """
    kind = os.path.splitext(path)[1]
    if kind not in (*TORCH, '.safetensors'):
        raise ValueError(f'{path}: the name must end in .pth or .safetensors')
    if isinstance(net, mx.gluon.SymbolBlock):
        raise ValueError(f'{path}: weights alone do not say which network this is; write ONNX or a checkpoint')
    arrays, named = _arrays(net), {}
    for name, key in names.torch_keys(list(arrays)).items():
        named[key] = arrays[name]
        if name.endswith('running_var') and name.replace('running_var', 'iters') not in arrays:
            named[key.replace('running_var', 'num_batches_tracked')] = np.zeros((), np.int64)
    if kind == '.safetensors':
        _write_file(path, _need_safetensors().save(named, describe(net)))
    else:
        torch_file.write_torch(path, named)
