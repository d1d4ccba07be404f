"""Weights and networks from elsewhere: PyTorch state_dicts, the seed's parameter names, symbols of the 2016 code."""

from __future__ import annotations

import json
import re
import warnings

import mxnet as mx
import numpy as np

from ibnnet_mx import ndfile
from ibnnet_mx.checkpoint import Store

# XingangPan/IBN-Net and torchvision -> ours; applied top to bottom.
FROM_TORCH = [
    (r'^layer(\d+)\.(\d+)\.', lambda m: f'stage{m[1]}_unit{int(m[2]) + 1}_'),
    (r'^features\.norm5\.', 'bn1_'),  # DenseNet
    (r'^features\.(conv|norm)0\.', r'\g<1>0_'),
    (r'^features\.denseblock(\d+)\.denselayer(\d+)\.', r'stage\1_unit\2_'),
    (r'^features\.(transition\d+)\.(norm|conv)\.', r'\1_\2_'),
    (r'^classifier\.', 'fc1_'),
    (r'norm(\d?)([._])', r'bn\1\2'),
    (r'^conv1\.', 'conv0_'),
    (r'^bn1\.', 'bn0_'),
    (r'^fc\.', 'fc1_'),
    (r'se\.fc\.(0|2)\.', lambda m: f'se_fc{int(m[1]) // 2 + 1}_'),
    (r'bn1\.IN\.', 'in1_'),
    (r'bn1\.BN\.', 'bn1_'),
    (r'_IN\.', '_ibn1_'),
    (r'downsample\.0\.', 'sc_'),
    (r'downsample\.1\.', 'sc_bn_'),
    (r'(conv|bn)(\d)\.', r'\1\2_'),
    (r'(bn\d?|in1|ibn1|sc_bn)_weight$', r'\1_gamma'),
    (r'(bn\d?|in1|ibn1|sc_bn)_bias$', r'\1_beta'),
]
# tornadomeet/ResNet and bruinxiong/IBN-Net.mxnet -> ours: only the running statistics are called otherwise.
FROM_MXNET = [(r'^(arg|aux):', ''), (r'_moving_(mean|var)$', r'_running_\1')]


def load_torch(net, mapping):
    """Weights under the names of the original PyTorch code into net.

    mapping: {state_dict key: array}. num_batches_tracked has no counterpart and is passed over.
    ValueError: lists the names that are left over on either side and the wrong shapes; net is then untouched.
    """
    wanted = {k: v for k, v in mapping.items() if not k.endswith('num_batches_tracked')}
    _fill(net, wanted, FROM_TORCH)


def load_mxnet(net, mapping):
    """Weights under the seed's names (arg:/aux: before them or not) into net; otherwise as load_torch()."""
    _fill(net, mapping, FROM_MXNET)


def load_symbol(prefix, epoch=0, ctx=None):
    """PREFIX-symbol.json and PREFIX-0000.params -> a SymbolBlock from 'data' to logits; the SoftmaxOutput is cut off.

    Takes this project's checkpoints and those of the 2016 code, the old encodings of both files included. ValueError
    names the file, and the names that are left over on either side.
    """
    store = Store(prefix)
    arrays = {name.split(':', 1)[-1]: a for name, a in ndfile.read(store.path(epoch, 'params')).items()}
    symbol = _read_symbol(store.symbol_path)
    inputs = [n for n in symbol.list_inputs() if n != 'data']
    faults = [f'{n} is missing' for n in inputs if n not in arrays]
    faults += [f'{n} has no place in {store.symbol_path}' for n in arrays if n not in inputs]
    if faults:
        raise ValueError(f'{store.path(epoch, "params")} does not fit its symbol: ' + '; '.join(faults[:20]))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # it guesses types without the shapes that come right after, and says so
        net = mx.gluon.SymbolBlock(symbol, mx.sym.var('data'))
    for name, param in net.collect_params().items():
        param.shape = arrays[name].shape
        param.initialize(init=mx.init.Zero(), ctx=ctx or mx.cpu())
        param.set_data(mx.nd.array(arrays[name]))
    return net


def _read_symbol(path):
    """The network of a -symbol.json up to the logits."""
    try:
        text = path.read_text()
        nodes = json.loads(text)['nodes']
        head = nodes[json.loads(text)['heads'][0][0]]['op']
        symbol = mx.sym.load_json(text)
    except OSError as error:
        raise ValueError(f'{path} cannot be read: {error.strerror}') from None
    except (ValueError, KeyError, IndexError, TypeError, mx.base.MXNetError):
        raise ValueError(f'{path} is damaged: not the symbol of a network') from None
    return symbol.get_children()[0] if head == 'SoftmaxOutput' else symbol


def _rename(name, table):
    for pattern, to in table:
        name = re.sub(pattern, to, name)
    return name


def _fill(net, mapping, table):
    arrays, origin, faults = {}, {}, []
    for key, value in mapping.items():
        name = _rename(key, table)
        if name in origin:
            faults.append(f'{key} and {origin[name]} are both {name}')
        origin[name] = key
        arrays[name] = value.asnumpy() if isinstance(value, mx.nd.NDArray) else np.asarray(value)
    params = net.collect_params()
    faults += [f'{n} is missing' for n in params if n not in arrays]
    faults += [f'{origin[n]} has no place in the network' for n in arrays if n not in params]
    faults += [
        f'{origin[n]} has shape {a.shape}, the network needs {params[n].shape}'
        for n, a in arrays.items()
        if n in params and tuple(a.shape) != tuple(params[n].shape)
    ]
    if faults:
        raise ValueError(f'the weights do not fit the network, {len(faults)} faults: ' + '; '.join(faults))
    for name, array in arrays.items():
        param = params[name]
        if param._data is None:
            param.initialize(init=mx.init.Zero(), ctx=param.list_ctx() if param._deferred_init else None)
        param.set_data(mx.nd.array(array))
