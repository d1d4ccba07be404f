import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd
from mxnet.gluon import nn

from ibnnet_mx import norm
from ibnnet_mx.models import nets, tables
from ibnnet_mx.models.blocks import Conv, chain


def kit(**changes):
    return norm.kit({**tables.V1, **tables.OPTIONS, 'ibn_ratio': 0.5, **changes})


class Small(nets.Network):
    """A convolution, the block, a ReLU and a convolution: the neighbours that oneDNN's layouts come from."""

    def __init__(self, make, channels, **changes):
        super().__init__(prefix='')
        layers = kit(**changes)
        with self.name_scope():
            self.body = chain(
                layers.conv(Conv(3, channels, 3), prefix='conv1_'),
                make(layers, channels),
                nn.Activation('relu'),
                layers.conv(Conv(channels, 8, 3), prefix='conv2_'),
            )

    def hybrid_forward(self, F, x):
        return self.body(x)


MAKERS = {  # what is made of the kit, and the kit's changes
    'in': (lambda layers, channels: layers.instance(channels, prefix='in_'), {}),
    'ibn': (lambda layers, channels: layers.ibn(channels), {}),
    'ibn 1/4': (lambda layers, channels: layers.ibn(channels), dict(ibn_ratio=0.25)),
    'bn 0.6, in 0.4': (lambda layers, channels: layers.ibn(channels), dict(ibn_ratio=0.4, batch_first=True)),
}


def outcome(make, channels, hybrid, batch=4, size=9):
    """Outputs in training and prediction mode and all gradients, from the same weights and pictures."""
    make, changes = MAKERS[make]
    net = Small(make, channels, **changes)
    mx.random.seed(3)
    net.initialize()
    draw = np.random.RandomState(0)
    for name, param in sorted(net.collect_params().items()):
        if name.endswith(('gamma', 'beta')):
            param.set_data(mx.nd.array(draw.uniform(0.5, 1.5, param.shape)))
    if hybrid:
        net.hybridize(static_alloc=True, static_shape=True)
    x = mx.nd.array(draw.standard_normal((batch, 3, size, size + 2)))
    x.attach_grad()
    with autograd.record():
        y = net(x)
        loss = (y * y).mean()
    loss.backward()
    grads = {n: p.grad().asnumpy() for n, p in net.collect_params().items() if p.grad_req != 'null'}
    return dict(grads, x=x.grad.asnumpy(), train=y.asnumpy(), predict=net(x).asnumpy())


@pytest.mark.parametrize('make', MAKERS)
@pytest.mark.parametrize('channels', [32, 16, 10])
def test_fast_forms_equal_the_operator(make, channels):
    """Imperative blocks use the operator, hybridized ones the forms. Halves of 8 channels crash oneDNN's concat."""
    plain, fast = outcome(make, channels, False), outcome(make, channels, True)
    assert plain.keys() == fast.keys()
    for name, wanted in plain.items():
        assert np.abs(fast[name] - wanted).max() <= 2e-5 * np.abs(wanted).max() + 1e-7, name


def test_instance_norm_is_its_formula():
    x = np.random.RandomState(1).uniform(-3, 3, (2, 4, 5, 6)).astype(np.float32)
    layer = norm.InstanceNorm(4, 1e-5)
    layer.initialize()
    layer.gamma.set_data(mx.nd.array([1, 2, 3, 4]))
    layer.beta.set_data(mx.nd.array([4, 3, 2, 1]))
    mean, var = x.mean(axis=(2, 3), keepdims=True), x.var(axis=(2, 3), keepdims=True)
    wanted = (x - mean) / np.sqrt(var + 1e-5) * np.arange(1, 5).reshape(1, 4, 1, 1) + np.arange(4, 0, -1).reshape(
        1, 4, 1, 1
    )
    np.testing.assert_allclose(layer(mx.nd.array(x)).asnumpy(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('ratio', [0.01, 1.0])
def test_a_ratio_that_leaves_a_side_empty_is_refused(ratio):
    with pytest.raises(ValueError, match=f'ibn_ratio={ratio} leaves one half of 16 channels empty'):
        kit(ibn_ratio=ratio).ibn(16)


def test_momentum_and_eps_reach_every_batch_norm():
    """The original passed bn_mom through signatures by hand and it reached 3 of 51 layers."""
    from ibnnet_mx import get_model

    def walk(block):
        yield block
        for child in block._children.values():
            yield from walk(child)

    layers = [b for b in walk(get_model('resnet50_v2', bn_mom=0.77)) if isinstance(b, nn.BatchNorm)]
    assert len(layers) == 51
    assert {(layer._kwargs['momentum'], layer._kwargs['eps']) for layer in layers} == {(0.77, 2e-5)}


def test_workspace_reaches_every_convolution():
    from ibnnet_mx import get_model

    symbol = get_model('cifar_resnet8_v2', workspace=333)(mx.sym.var('data'))
    given = [a['workspace'] for a in symbol.attr_dict().values() if 'kernel' in a and 'workspace' in a]
    assert given == ['333'] * 10  # stem, six in the bodies, three shortcuts


@pytest.mark.parametrize('hybrid', [False, True])
def test_frozen_statistics_make_batch_norm_the_affine_map_of_them(hybrid):
    """gamma * (x - mean) / sqrt(var + eps) + beta in training, and the gradients of just that."""
    draw, layer = np.random.RandomState(0), kit().norm(16, prefix='bn_')
    layer.initialize()
    given = {name: draw.uniform(0.5, 1.5, 16).astype('f') for name in ('gamma', 'beta', 'running_mean', 'running_var')}
    for name, array in given.items():
        layer.params[f'bn_{name}'].set_data(mx.nd.array(array))
    norm.freeze_statistics(chain(layer))
    if hybrid:
        layer.hybridize(static_alloc=True, static_shape=True)
    x, weights = mx.nd.array(draw.randn(4, 16, 5, 6)), mx.nd.array(draw.randn(4, 16, 5, 6))
    x.attach_grad()
    with autograd.record():
        y = layer(x)
        loss = (y * weights).sum()
    loss.backward()
    gamma, beta, mean, var = (array.reshape(1, 16, 1, 1) for array in given.values())
    normal, each = (x.asnumpy() - mean) / np.sqrt(var + 1e-5), weights.asnumpy()
    for found, expected in (
        (y, gamma * normal + beta),
        (x.grad, gamma / np.sqrt(var + 1e-5) * each),
        (layer.gamma.grad(), (each * normal).sum((0, 2, 3))),
        (layer.beta.grad(), each.sum((0, 2, 3))),
    ):
        np.testing.assert_allclose(found.asnumpy(), expected, rtol=1e-4, atol=1e-4)
    for name in ('running_mean', 'running_var'):
        assert np.array_equal(layer.params[f'bn_{name}'].data().asnumpy(), given[name])
