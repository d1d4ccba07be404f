"""MABN's layers against what the authors' code gave (golden_mabn.npz), and its checkpoints' names."""

import json

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd
from mxnet.gluon import nn

from ibnnet_mx import convert, get_model, norm, operators
from tests.conftest import ROOT
from tests.tiny_runs import Alone

GOLDENS = ROOT / 'tests' / 'goldens' / 'mabn.npz'
STATES = ('running_var', 'iters', 'buffer_x2', 'buffer_gz')


def numbers(case):
    with np.load(GOLDENS) as file:
        return {key.split('/', 1)[1]: file[key] for key in file.files if key.startswith(f'{case}/')}


def near(found, wanted):
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


def hybridized(layer, how):
    """The layer itself, hybridized, inside of a hybridized block, or a Network's with operators in C++."""
    call = layer
    if how == 'native':
        if not operators.loaded():
            pytest.skip('ibnnet build operators has built no operators')
        call = Alone(layer)
    if how == 'inside':
        call = nn.HybridSequential()
        call.add(layer)
    if how != 'imperative':
        call.hybridize(static_alloc=True, static_shape=True)
    return call


@pytest.mark.parametrize('how', ['imperative', 'hybridized', 'inside', 'native'])
@pytest.mark.parametrize('case', 'ABC')
def test_steps(case, how):
    """Every array of every step: outputs, gradients, buffers after the backward pass; and the evaluation at the end."""
    golden = numbers(case)
    given = json.loads(str(golden['cfg']))
    keys = ('B', 'real_B', 'eps', 'momentum', 'warmup_iters')
    layer = norm.MABN2d(given['channels'], **{key: given[key] for key in keys})
    layer.initialize()
    call = hybridized(layer, how)
    for name in ('gamma', 'beta'):
        getattr(layer, name).set_data(mx.nd.array(golden[name]))
    for name in STATES:
        getattr(layer, name).set_data(mx.nd.array(golden[f'init/{name}'], dtype='float32'))
    for t in range(given['steps']):
        x = mx.nd.array(golden['x'][t])
        x.attach_grad()
        with autograd.record():
            y = call(x)
        y.backward(mx.nd.array(golden['g'][t]))
        found = dict(y=y, dx=x.grad, dgamma=layer.gamma.grad(), dbeta=layer.beta.grad())
        found.update({name: getattr(layer, name).data() for name in STATES})
        for name, array in found.items():
            near(array.asnumpy(), golden[name][t])
    near(call(mx.nd.array(golden['eval_x'])).asnumpy(), golden['eval_y'])


@pytest.mark.parametrize('how', ['imperative', 'hybridized', 'native'])
@pytest.mark.parametrize('case', ['conv0', 'conv1', 'conv2', 'conv3'])
def test_centred_convolution(case, how):
    golden = numbers(case)
    given = json.loads(str(golden['cfg']))
    keys = ('in_planes', 'out_planes', 'kernel_size', 'stride', 'padding', 'dilation', 'groups', 'bias')
    layer = norm.CenConv2d(*(given[key] for key in keys))
    layer.initialize()
    call = hybridized(layer, how)
    layer.weight.set_data(mx.nd.array(golden['weight']))
    if given['bias']:
        layer.bias.set_data(mx.nd.array(golden['bias']))
    x = mx.nd.array(golden['x'])
    x.attach_grad()
    with autograd.record():
        y = call(x)
    y.backward(mx.nd.array(golden['g']))
    found = dict(y=y, dx=x.grad, dweight=layer.weight.grad())
    if given['bias']:
        found['dbias'] = layer.bias.grad()
    for name, array in found.items():
        near(array.asnumpy(), golden[name])


@pytest.mark.parametrize('variant', ['formal', 'cls'])
def test_checkpoints_of_the_original_load(shared, variant):
    """Under the names, shapes and types of its state_dict; the constant that cls stores has no place here."""
    manifest = json.loads((shared / 'golden' / f'manifest_mabn_resnet50_{variant}.json').read_text())
    draw = np.random.RandomState(0)
    arrays = {key: draw.uniform(1, 2, shape).astype(kind) for key, shape, kind in manifest['state_dict']}
    net = get_model('resnet50', norm='mabn', norm_args=dict(variant=variant))
    assert convert.load_torch(net, arrays) == []
    params = net.collect_params()
    for name, key in (
        ('conv0_weight', 'conv1.weight'),
        ('stage2_unit1_sc_bn_running_var', 'layer2.0.downsample.1.running_var'),
        ('stage4_unit3_bn3_iters', 'layer4.2.bn3.iters'),
    ):
        assert np.array_equal(params[name].data().asnumpy(), arrays[key].astype(np.float32))
    found, options = convert.identify.model_of(arrays)
    assert (found.name, options['norm'], options['norm_args']['variant']) == ('resnet50', 'mabn', variant)
    assert set(convert.names.torch_keys(list(params)).values()) == {k for k in arrays if 'sta_matrix' not in k}
