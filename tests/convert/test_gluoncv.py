"""The networks in the hands of GluonCV's tools and habits, and GluonCV's weights in these networks."""

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon
from mxnet.gluon import nn

from ibnnet_mx import convert, get_model, models

gluoncv = pytest.importorskip('gluoncv', reason='pip install --no-deps gluoncv==0.10.5.post0')


def pictures(size=64):
    return mx.nd.array(np.random.RandomState(0).uniform(-2, 2, (2, 3, size, size)))


def started(name, **options):
    mx.random.seed(0)
    net = get_model(name, **options)
    net.initialize()
    return net


def test_export_block_writes_what_the_network_computes(tmp_path):
    from gluoncv.utils import export_block

    net = started('resnet18_ibn_a', classes=7)
    net.hybridize(static_alloc=True, static_shape=True)
    raw = mx.nd.array(np.random.RandomState(0).randint(0, 256, (2, 64, 64, 3)))
    mean, std = (mx.nd.array(values).reshape((1, 1, 1, 3)) for values in models.IMAGENET)
    wanted = net(((raw - mean) / std).transpose((0, 3, 1, 2))).asnumpy()
    export_block(str(tmp_path / 'net'), net, data_shape=(64, 64, 3))
    block = gluon.SymbolBlock.imports(str(tmp_path / 'net-symbol.json'), ['data'], str(tmp_path / 'net-0000.params'))
    np.testing.assert_allclose(block(raw).asnumpy(), wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('name', ['resnet18_v1b', 'resnet50_v1b'])
def test_weights_of_gluoncv(name, tmp_path):
    theirs = gluoncv.model_zoo.get_model(name, pretrained=False, classes=9)
    theirs.initialize(mx.init.Xavier())
    wanted = theirs(pictures()).asnumpy()
    theirs.save_parameters(str(tmp_path / 'theirs.params'))
    net = get_model(name, classes=9)
    assert convert.load_mxnet(net, tmp_path / 'theirs.params') == []
    np.testing.assert_allclose(net(pictures()).asnumpy(), wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_names_and_files_as_there(tmp_path):
    net = started('resnet18_ibn_b')
    net.hybridize()
    wanted = net(pictures()).asnumpy()
    np.testing.assert_allclose(net.output(net.features(pictures())).asnumpy(), wanted, rtol=1e-4, atol=1e-4)
    assert len(net.collect_params('.*weight').keys()) == 21
    net.collect_params('.*gamma|.*beta').setattr('lr_mult', 0.5)
    net.save_parameters(str(tmp_path / 'net.params'))
    other = get_model('resnet18_ibn_b')
    other.load_parameters(str(tmp_path / 'net.params'))
    np.testing.assert_allclose(other(pictures()).asnumpy(), wanted, rtol=1e-4, atol=1e-4)


def test_its_way_to_fine_tune():
    """A new output in the place of the old one, before or after the network was hybridized and used."""
    net = started('cifar_resnet8_ibn_a')
    net.hybridize()
    x = mx.nd.array(np.random.RandomState(0).uniform(-2, 2, (4, 3, 32, 32)))
    assert net(x).shape == (4, 10)
    with net.name_scope():
        net.output = nn.Dense(3)
    net.output.initialize(mx.init.Xavier())
    net.collect_params().reset_ctx(mx.cpu())
    net.hybridize()
    trainer = gluon.Trainer(net.collect_params(), 'sgd', {'learning_rate': 0.1})
    losses = []
    for _ in range(5):
        with autograd.record():
            loss = gluon.loss.SoftmaxCrossEntropyLoss()(net(x), mx.nd.array([0, 1, 2, 0])).mean()
        loss.backward()
        trainer.step(1)
        losses.append(float(loss.asscalar()))
    assert net(x).shape == (4, 3)
    assert losses[-1] < losses[0]
