"""The networks against numbers: the authors' logits and this project's own; gradients if the originals are at hand."""

import json

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

from ibnnet_mx import convert, get_model
from ibnnet_mx.convert import names
from tests.conftest import thorough
from tests.goldens import generate
from tests.goldens.generate import fill

MEAN = np.array((0.485, 0.456, 0.406)).reshape(1, 3, 1, 1)
STD = np.array((0.229, 0.224, 0.225)).reshape(1, 3, 1, 1)
TORCH = {  # golden and its model; largest difference of the logits in training mode
    'resnet18': 2e-4,
    'resnet50': 1e-3,
    'resnet18_ibn_a': 2e-4,
    'resnet50_ibn_a': 1e-3,
    'resnet50_ibn_b': 1e-3,
    'se_resnet50_ibn_a': 1e-3,
    'resnext50_ibn_a': 1e-3,
    'densenet121_ibn_a': 1e-3,
}
SYMBOLS = {  # golden: (model, size, labels, largest difference of the logits in training mode)
    'resnet18_v2_tornadomeet': ('resnet18_v2', 224, (1, 10, 100, 999), 2e-4),
    'resnet50_v2_tornadomeet': ('resnet50_v2', 224, (1, 10, 100, 999), 1e-3),
    'resnet50_ibn_a_bruinxiong': ('resnet50_v2_ibn_a', 224, (1, 10, 100, 999), 1e-3),
    'cifar_resnet20_v2_tornadomeet': ('cifar_resnet20_v2', 32, (1, 0, 0, 9), 2e-4),
}


SLOW = ['resnet50', 'resnet50_ibn_b', 'se_resnet50_ibn_a', 'symbol_resnet50_v2_tornadomeet']
ALL = [*TORCH, *(f'symbol_{name}' for name in SYMBOLS)]
OF_EACH_KIND = [*(name for name in ALL if name not in SLOW), *thorough(*SLOW)]


def noise(size):
    return ((np.random.RandomState(0).random_sample((2, 3, size, size)) - MEAN) / STD).astype(np.float32)


def blocks(size, grid=8):
    draw = np.random.RandomState(1)
    tiles, grain = draw.random_sample((4, 3, grid, grid)), draw.random_sample((4, 3, size, size))
    u = 0.75 * tiles.repeat(size // grid, 2).repeat(size // grid, 3) + 0.25 * grain
    return ((u - MEAN) / STD).astype(np.float32)


def train_step(net, size, labels):
    with autograd.record():
        logits = net(mx.nd.array(blocks(size)))
        loss = gluon.loss.SoftmaxCrossEntropyLoss()(logits, mx.nd.array(labels)).mean()
    loss.backward()
    return logits.asnumpy(), float(loss.asscalar())


def check(net, golden, size, labels, largest, ours):
    """Logits of both modes, loss and gradient norms. ours: {key of the original: our name}. Returns the parameters."""
    net.hybridize(static_alloc=True, static_shape=True)
    for kind, pictures in (('noise', noise(size)), ('blocks', blocks(size))):
        wanted = golden[f'logits_{kind}']
        assert np.abs(net(mx.nd.array(pictures)).asnumpy() - wanted).max() <= 1e-5 * np.abs(wanted).max()
    logits, loss = train_step(net, size, labels)
    assert np.abs(logits - golden['train_logits']).max() <= largest
    assert abs(loss - float(golden['train_loss'])) <= 1e-3
    params, compared = net.collect_params(), 0
    for key, wanted in zip(golden['grad_keys'], golden['grad_l2_f64']):
        param = params[ours[str(key)]]
        if wanted < 1e-9 * golden['grad_l2_f64'].max() or param.grad_req == 'null':
            continue
        norm = np.linalg.norm(param.grad().asnumpy().astype(np.float64))
        assert abs(norm - wanted) <= 0.05 * wanted, key
        compared += 1
    assert compared >= sum(p.grad_req != 'null' for p in params.values()) - 4
    return {name: param.data().asnumpy() for name, param in params.items()}


def authors(name):
    """{logits_noise, logits_blocks, train_logits, train_loss} of the authors' code; goldens/README.md."""
    with np.load(generate.PATH.with_name('authors.npz')) as file:
        return {key.split('/', 1)[1]: file[key] for key in file.files if key.startswith(f'{name}/')}


@pytest.mark.parametrize('name', OF_EACH_KIND)
def test_logits_of_the_authors(name):
    """In a plain clone too: the weights follow from the authors' keys, so that a wrong name is a wrong number."""
    golden, symbol = authors(name), SYMBOLS.get(name[len('symbol_') :])
    model, size, _, _ = symbol or (name, 224, (), 0)
    net = get_model(model)
    params = net.collect_params()
    if symbol:
        keys = {n: n.replace('_running_', '_moving_') for n in params}
        convert.load_mxnet(net, {key: fill(key, params[n].shape) for n, key in keys.items()})
    else:
        keys = names.torch_keys(list(params))
        convert.load_torch(net, {key: fill(key, params[n].shape) for n, key in keys.items()})
    net.hybridize(static_alloc=True, static_shape=True)
    for kind, pictures in (('noise', noise(size)), ('blocks', blocks(size))):
        wanted = golden[f'logits_{kind}']
        assert np.abs(net(mx.nd.array(pictures)).asnumpy() - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize('name', ALL)
def test_the_goldens_in_the_project_are_those_of_the_originals(shared, name):
    with np.load(shared / 'golden' / f'golden_{name}.npz') as file:
        for key, value in authors(name).items():
            assert np.array_equal(file[key].astype(np.float32), value), key


@pytest.mark.parametrize('name', TORCH)
def test_torch_networks(shared, name):
    golden = np.load(shared / 'golden' / f'golden_{name}.npz')
    manifest = json.loads((shared / 'golden' / f'manifest_{name}.json').read_text())
    net = get_model(name)
    convert.load_torch(net, {key: fill(key, shape) for key, shape, _ in manifest['state_dict']})
    ours = {key: n for n, key in names.torch_keys(list(net.collect_params())).items()}
    after = check(net, golden, 224, golden['labels'], TORCH[name], ours)
    for key in golden.files:
        if key.startswith('running/'):
            original = key[len('running/') :]
            np.testing.assert_allclose(
                after[ours[original]], golden[key], rtol=2e-3, atol=5e-4
            )  # torch's variance is unbiased


@pytest.mark.parametrize('name', SYMBOLS)
def test_symbols_of_2016(shared, name):
    model, size, labels, largest = SYMBOLS[name]
    golden = np.load(shared / 'golden' / f'golden_symbol_{name}.npz')
    manifest = json.loads((shared / 'golden' / f'symbol_manifest_{name}.json').read_text())
    keys = [(key, shape) for key, shape in manifest['args'] + manifest['aux'] if key not in ('data', 'softmax_label')]
    net = get_model(model)
    convert.load_mxnet(net, {key: fill(key, shape) for key, shape in keys})
    ours = {key: key.replace('_moving_', '_running_') for key, _ in keys}
    after = check(net, golden, size, labels, largest, ours)
    for key in golden.files:
        if key.startswith('aux/'):
            np.testing.assert_allclose(after[ours[key[len('aux/') :]]], golden[key], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('prefix', ['legacy-cifar20', 'legacy-cifar20-oldfmt'])
def test_checkpoints_of_2016(shared, prefix):
    golden = np.load(shared / 'golden' / 'golden_legacy_cifar20.npz')
    net = convert.load_symbol(shared / 'golden' / prefix, 0)
    for kind in ('noise', 'blocks'):
        wanted = golden[f'logits_{kind}']
        logits = net(mx.nd.array(golden[f'x_{kind}'])).asnumpy()
        assert np.abs(logits - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_a_checkpoint_of_2016_fills_the_registrys_network(shared):
    from ibnnet_mx.files import params_file

    golden = np.load(shared / 'golden' / 'golden_legacy_cifar20.npz')
    net = get_model('cifar_resnet20_v2')
    convert.load_mxnet(net, params_file.read_params(shared / 'golden' / 'legacy-cifar20-oldfmt-0000.params'))
    wanted = golden['logits_noise']
    assert np.abs(net(mx.nd.array(golden['x_noise'])).asnumpy() - wanted).max() <= 1e-5 * np.abs(wanted).max()


def manifests(folder):
    return sorted(path for path in folder.glob('manifest_*.json') if 'mabn' not in path.name)


def test_names_shapes_and_order_of_every_original(shared):
    """All of their state_dicts, without weights: what to_torch() writes is what the original's code asks for."""
    found = manifests(shared / 'golden')
    assert len(found) >= 27
    for path in found:
        manifest = json.loads(path.read_text())
        params = get_model(manifest['model']).collect_params()
        mine = [(key, params[n].shape) for n, key in names.torch_keys(list(params)).items()]
        wanted = [(k, tuple(s)) for k, s, _ in manifest['state_dict'] if not k.endswith('num_batches_tracked')]
        assert mine == wanted, path.name


@pytest.mark.parametrize('name', generate.MODELS)
@pytest.mark.parametrize('mode', ['eval', 'train'])
def test_own_goldens(name, mode):
    wanted = np.array(json.loads(generate.PATH.read_text())[name][mode])
    found = generate.logits(name, mode == 'train')
    # 164 layers amplify the rounding of a batch's statistics
    assert np.abs(found - wanted).max() <= (1e-5 if mode == 'eval' else 5e-3) * np.abs(wanted).max() + 1e-6
