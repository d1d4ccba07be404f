"""Load networks from a symbol and its arrays, and turn networks into symbols."""

from __future__ import annotations

import warnings

import mxnet as mx
import numpy as np

from ibnnet_mx import models
from ibnnet_mx.checkpoint import Store
from ibnnet_mx.convert import fill, identify
from ibnnet_mx.errors import no_memory
from ibnnet_mx.files import params_file
from ibnnet_mx.graph import symbol_file
from ibnnet_mx.graph.sizes import picture_size
from ibnnet_mx.size import Size

TRIED = 64  # side of the pictures on which a network of any size is tried


def prediction(net):
    """Return a network's prediction: the symbol from 'data' to logits, and {name: NDArray} of its other inputs.

    A network of the tables is taken in its inference form, a SymbolBlock as it is.
    """
    if hasattr(net, 'inference_form'):
        net = net.inference_form()
    arrays = {name: param.data(param.list_ctx()[0]) for name, param in net.collect_params().items()}
    return (net.symbol() if hasattr(net, 'symbol') else net(mx.sym.var('data'))), arrays


def load_symbol(prefix, epoch=0, ctx=None, arrays=None):
    """Return the network of PREFIX-symbol.json and PREFIX-0000.params. A softmax at its end is cut: it gives logits.

    Takes this project's checkpoints and those of the 2016 code, old encodings included. If a network of the tables
    computes the same, that network is returned (with net.model), else a SymbolBlock.
    arrays: the contents of the .params, if they were read before.
    Raises ValueError with the file, and the names without a partner on either side.
    """
    store = Store(prefix)
    if arrays is None:
        arrays = {name.split(':', 1)[-1]: a for name, a in params_file.read_params(store.path(epoch, 'params')).items()}
    symbol = symbol_file.read_symbol(store.symbol_path)
    inputs = [n for n in symbol.list_inputs() if n != 'data']
    faults = [f'{n} is missing' for n in inputs if n not in arrays]
    faults += [f'{n} has no place in {store.symbol_path}' for n in arrays if n not in inputs]
    if faults:
        raise ValueError(f'{store.path(epoch, "params")} does not fit its symbol: ' + '; '.join(faults[:20]))
    try:
        shapes = {name: arrays[name].shape for name in inputs}
        size = picture_size(symbol, shapes)
        tried = size.size if size and size.fixed else Size.of(TRIED)
        symbol_file.check_size(symbol, dict(shapes, data=(2, 3, *tried)))
    except ValueError as error:
        raise ValueError(f'{store.symbol_path} is damaged: {error}') from None
    try:
        block = _symbol_block(symbol, arrays, ctx or mx.cpu())
        return (None if size and size.fixed else _of_tables(block, arrays, ctx or mx.cpu())) or block
    except mx.base.MXNetError as error:  # its text has many lines about mxnet's sources
        if no_memory(error):
            raise
        raise ValueError(f'{store.symbol_path} is damaged: mxnet cannot compute it') from None


def _symbol_block(symbol, arrays, ctx):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # it warns that types are guessed; the shapes follow below
        net = mx.gluon.SymbolBlock(symbol, mx.sym.var('data'))
    for name, param in net.collect_params().items():
        param.shape = arrays[name].shape
        param.initialize(init=mx.init.Zero(), ctx=ctx)
        param.set_data(mx.nd.array(arrays[name]))
    return net


def with_embedding(net):
    """Return a SymbolBlock that gives [logits (N, classes), embedding (N, C)]. Raises ValueError if there is none."""
    logits, arrays = prediction(net)
    if isinstance(logits, list) or logits.attr('num_hidden') is None:
        raise ValueError('the network has no embedding: it does not end in a dense layer')
    both = mx.sym.Group([logits, mx.sym.Flatten(logits.get_children()[0])])
    return _symbol_block(both, arrays, next(iter(arrays.values())).context)


def _of_tables(block, arrays, ctx):
    """Return the network of the tables with these arrays if it computes the same as the block, else None."""
    identified = identify.model_of(arrays)
    if identified is None:
        return None
    model, options = identified
    x = mx.nd.array(np.random.RandomState(0).uniform(-2, 2, (2, 3, TRIED, TRIED)) * model.pixels.std[0], ctx=ctx)
    theirs = block(x).asnumpy()
    kits = ('in', 'gn', 'ln') if options.get('norm') == 'in' else (options.get('norm', 'bn'),)
    for kit in kits:  # in, gn and ln have the same arrays
        net = models.create(model.name, **{**options, 'norm': kit})
        net.initialize(ctx=ctx)
        fill.load(net, arrays)
        ours = net(x).asnumpy()
        if theirs.shape == ours.shape and np.abs(theirs - ours).max() <= 1e-4 * np.abs(theirs).max():
            return net
    return None
