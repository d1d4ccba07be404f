"""Grad-CAM against the analytical form of its weights, finite differences, and a network whose answer is known."""

from __future__ import annotations

import warnings

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import get_model, models
from ibnnet_mx.inference import gradcam
from tests.models.test_nets import SMALL, pictures, started
from tests.tiny_runs import equal

NORMS = [dict(norm=norm) for norm in models.NORMS if norm != 'syncbn'] + [dict(norm='brn', norm_batch_size=2)]
ALWAYS = ('resnet18', 'resnet18_ibn_b', 'resnet18_v2_ibn_a', 'resnext50_ibn_a', 'se_resnet50_v2', 'densenet121_ibn_a')
FAMILIES = [
    pytest.param(name, {}, marks=[] if name in ALWAYS or name.startswith('cifar') else pytest.mark.slow)
    for name in SMALL
]
CLASSES = [3, 1]


def arrays_of(net):
    return {name: param.data().asnumpy() for name, param in net.collect_params().items()}


def moved(net, seed=0):
    """net with values off their start, so that no statistic is 0 or 1 by chance; how often MABN was called stays."""
    draw = np.random.RandomState(seed)
    for name, param in net.collect_params().items():
        if name.endswith(('gamma', 'beta', 'running_mean', 'running_var', 'fc1_bias')):
            param.set_data(param.data() + mx.nd.array(draw.uniform(0.1, 0.5, param.shape)))
    return net


def maps_of(net, x):
    """What the global mean is fed."""
    for name, part in net.parts().items():
        if name == 'embedding':
            return x
        x = part(x)
    raise AssertionError


@pytest.mark.parametrize(
    ('name', 'options'),
    FAMILIES
    + [(name, options) for name in ('cifar_resnet8_ibn_a', 'cifar_resnet8_v2') for options in NORMS]
    + [('cifar_resnet8', dict(w_d=True)), ('cifar_resnet8_v1a', dict(norm='mabn'))],
)
def test_behind_a_global_mean_the_weights_are_the_classifiers(name, options):
    """w_k = the classifier's weight / (h w), exactly; and nothing of the network has changed."""
    size = 64 if models.find(name).size > 32 else 32
    net, x = moved(started(name, hybrid=False, **options)), pictures(2, size)
    maps, weights = maps_of(net, x).asnumpy(), net.output.weight.data().asnumpy()
    top = int((weights @ maps[0].mean(axis=(1, 2))).argmax())
    classes, before = [top, (top + 1) % len(weights)], arrays_of(net)
    heat = gradcam.GradCam(net, size)(x, classes)
    assert equal(before, arrays_of(net))
    assert all(param.grad_req == 'null' or not param.grad().asnumpy().any() for param in net.collect_params().values())
    wanted = np.maximum(np.einsum('nk,nkij->nij', weights[classes] / maps[0, 0].size, maps), 0)
    assert heat.shape == wanted.shape == (2, *maps.shape[2:])
    assert heat.dtype == np.float32
    np.testing.assert_allclose(heat, wanted, rtol=0, atol=1e-5 * np.abs(maps).max())
    assert wanted[0].max() > 0


def test_maps_of_one_pixel_are_passed_over():
    """ResNet-18 ends in 1x1 at 32: the maps of stage 3 are taken, with norms, in prediction mode, behind them."""
    net, x = moved(started('resnet18', hybrid=False)), pictures(2, 32)
    heat = gradcam.GradCam(net, 32)(x, CLASSES)
    parts = net.parts()
    maps = parts['stage3'](parts['stage2'](parts['stage1'](parts['stem'](x)))).asnumpy()
    assert heat.shape == (2, 2, 2) == (2, *maps.shape[2:])

    def logits(channel, step):
        other = maps.copy()
        other[:, channel] += step
        found = parts['head'](parts['embedding'](parts['stage4'](mx.nd.array(other)))).asnumpy()
        return found[[0, 1], CLASSES].astype(np.float64)

    step = 1e-2
    slopes = [(logits(k, step) - logits(k, -step)) / (2 * step) for k in range(maps.shape[1])]
    wanted = np.maximum(np.einsum('kn,nkij->nij', np.array(slopes) / 4, maps), 0)
    np.testing.assert_allclose(heat, wanted, atol=0.02 * wanted.max())


def block_of(symbol, **values):
    """A network that is none of the registry: a symbol with the values of its parameters."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of types that are not known yet
        block = mx.gluon.SymbolBlock(symbol, mx.sym.var('data'))
    for name, param in block.collect_params().items():
        param.shape = values[name].shape
        param.initialize(mx.init.Constant(values[name]))
    return block


def pointwise(x):
    """Each of the three colours alone."""
    return mx.sym.Convolution(x, kernel=(1, 1), num_filter=3, no_bias=True, name='conv')


def dense(x):
    return mx.sym.FullyConnected(mx.sym.Flatten(x), num_hidden=3, no_bias=True, name='fc')


COLOURS = dict(conv_weight=np.eye(3).reshape(3, 3, 1, 1))


def corners():
    """Class 0 is as red as the picture, 1 as green, 2 as blue."""
    x = mx.sym.Activation(pointwise(mx.sym.var('data')), act_type='relu')
    return block_of(
        dense(mx.sym.Pooling(x, global_pool=True, kernel=(2, 2), pool_type='avg')), **COLOURS, fc_weight=np.eye(3)
    )


def test_the_corner_that_drives_a_class():
    x = np.zeros((3, 3, 8, 8), np.float32)
    for colour, part in enumerate((np.s_[:2, :2], np.s_[:2, 6:], np.s_[5:, 5:])):
        x[(slice(None), colour, *part)] = 1 + colour
    heat = gradcam.GradCam(corners(), 8)(mx.nd.array(x), [0, 1, 2])
    np.testing.assert_allclose(heat, x[0] / 64, rtol=1e-6)  # picture i asks for class i
    large = gradcam.enlarged(heat[1], 32)
    assert large.shape == (32, 32)
    assert np.unravel_index(large.argmax(), large.shape)[0] < 8
    assert (large[:6, 26:] == heat[1].max()).all()
    assert not large[10:].any()
    assert not large[:, :22].any()


def test_what_lies_beside_the_maps_is_seen():
    """Without a convolution, or with a way around it, no maps are what the logits come from."""
    data, many = mx.sym.var('data'), dict(fc_weight=np.ones((3, 192)))
    assert gradcam.GradCam(block_of(dense(pointwise(data)), **COLOURS, **many), 8)(pictures(1, 8), [0]).shape == (
        1,
        8,
        8,
    )
    around = dense(pointwise(data)) + mx.sym.mean(data, axis=(2, 3))
    for block in (block_of(dense(data), **many), block_of(around, **COLOURS, **many)):
        with pytest.raises(
            ValueError, match='no maps of several pixels lie between a convolution and its logits at 8x8'
        ):
            gradcam.GradCam(block, 8)


def test_a_layer_without_a_gradient():
    x = mx.sym.random.shuffle(mx.sym.mean(pointwise(mx.sym.var('data')), axis=(2, 3)))
    with pytest.raises(ValueError, match='mxnet has no gradient of a layer between its maps and its logits'):
        gradcam.GradCam(block_of(x, **COLOURS), 8)


def test_a_network_without_logits():
    net = get_model('cifar_resnet8', features=('stage2', 'embedding'))
    net.initialize()
    with pytest.raises(ValueError, match='only logits can be explained'):
        gradcam.GradCam(net, 32)
