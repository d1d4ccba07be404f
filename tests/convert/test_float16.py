"""Networks that mxnet trained in float16, with casts in their symbol, are computed in float32."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import convert
from ibnnet_mx.files import atomic, params_file

SHAPES = {'conv0_weight': (8, 3, 3, 3), 'bn0_gamma': 8, 'bn0_beta': 8, 'fc1_weight': (4, 8), 'fc1_bias': 4}
STATISTICS = {'bn0_moving_mean': 8, 'bn0_moving_var': 8}


def network(casts, dtype=None):
    """A small network; casts: between float32 and float16, as train_imagenet.py --dtype float16 has them."""
    data = mx.sym.var('data')
    data = mx.sym.Cast(data, dtype='float16') if casts else data
    weight = mx.sym.var('conv0_weight', dtype=dtype)
    conv = mx.sym.Convolution(data, weight, kernel=(3, 3), num_filter=8, no_bias=True, name='conv0')
    norm = mx.sym.Activation(mx.sym.BatchNorm(conv, fix_gamma=False, name='bn0'), act_type='relu')
    pooled = mx.sym.Flatten(mx.sym.Pooling(norm, global_pool=True, kernel=(7, 7), pool_type='avg'))
    logits = mx.sym.FullyConnected(pooled, num_hidden=4, name='fc1')
    logits = mx.sym.Cast(logits, dtype='float32') if casts else logits
    return mx.sym.SoftmaxOutput(logits, name='softmax')


@pytest.mark.parametrize(('casts', 'dtype'), [(True, None), (True, 'float16'), (False, 'float16')])
def test_float16_becomes_float32(tmp_path, casts, dtype):
    random = np.random.RandomState(0)
    halves = {f'arg:{name}': random.rand(*np.atleast_1d(shape)).astype(np.float16) for name, shape in SHAPES.items()}
    states = {f'aux:{name}': random.rand(shape).astype(np.float32) for name, shape in STATISTICS.items()}
    network(casts, dtype).save(str(tmp_path / 'half-symbol.json'))
    network(False).save(str(tmp_path / 'whole-symbol.json'))
    wholes = {name: array.astype(np.float32) for name, array in halves.items()}
    for name, arrays in (('half', halves), ('whole', wholes)):
        atomic.write_file(tmp_path / f'{name}-0000.params', params_file.encode_params({**arrays, **states}))
    pictures = mx.nd.array(random.rand(2, 3, 32, 32))
    half, whole = (convert.load_symbol(tmp_path / name)(pictures).asnumpy() for name in ('half', 'whole'))
    assert half.dtype == np.float32
    np.testing.assert_array_equal(half, whole)
