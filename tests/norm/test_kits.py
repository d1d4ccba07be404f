"""Every norm on networks: forms, prediction, recomputation, devices, checkpoints, refusals."""

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd

from ibnnet_mx import convert, get_model, models, norm, operators
from ibnnet_mx.cli import convert as cli
from ibnnet_mx.models import nets
from tests.conftest import thorough
from tests.norm.kits import KITS, ROWS, STATEFUL, build, near, options, pictures, plan_of, train
from tests.refusals import refused
from tests.tiny_runs import arrays, batches, equal, make, values


@pytest.mark.parametrize('native', [False, True])
@pytest.mark.parametrize('kit', KITS)
@pytest.mark.parametrize('model', ['cifar_resnet8_ibn_a', *thorough('cifar_resnet8_v2', 'cifar_resnet8_ibn_b')])
def test_hybridized_is_imperative(model, kit, native, monkeypatch):
    """Training logits, all gradients, what the step makes of the state, and prediction."""
    if native and not (operators.fused() or kit in STATEFUL and operators.loaded()):
        pytest.skip('no operators of its own')
    if not native:
        monkeypatch.setattr(operators, 'loaded', lambda: False)
    slow, fast = (build(kit, model, hybrid=hybrid) for hybrid in (False, True))
    for data, label in pictures(ROWS, ROWS, ROWS):
        (expected, slopes), (found, gradients) = (train(net, data, label) for net in (slow, fast))
        near(found, expected, 2e-4)
        for name, slope in slopes.items():  # as vectors: a ReLU whose input is nearly 0 decides some values alone
            assert np.linalg.norm(gradients[name] - slope) <= 5e-2 * np.linalg.norm(slope) + 1e-6, name
        for name, param in slow.collect_params().items():
            if norm.is_state(param):
                near(fast.collect_params()[name].data().asnumpy(), param.data().asnumpy(), 1e-4)
    data = pictures(5)[0][0]
    near(fast(data).asnumpy(), slow(data).asnumpy(), 1e-4)


@pytest.mark.parametrize('kit', KITS)
def test_every_parameter_gets_a_gradient(kit):
    _, gradients = train(build(kit, 'cifar_resnet8'), *pictures(ROWS)[0])
    assert all(np.isfinite(g).all() and np.abs(g).max() > 0 for g in gradients.values())


@pytest.mark.parametrize('kit', KITS)
@pytest.mark.parametrize(
    'family', ['resnet_ibn_a', *thorough('resnet_v2_ibn_b', 'resnext', 'se_resnet_v2', 'densenet_ibn_a')]
)
def test_every_family_takes_every_kit(family, kit):
    """A training graph and a prediction graph at 64 pixels, all shapes known; the head and the SE gate stay plain."""
    net = get_model(family, depth=121 if family.startswith('dense') else 50, **options(kit))
    shapes = {name: param.shape for name, param in net.collect_params().items()}
    for symbol in (net.trace(ROWS)[0], net.trace()[0], net.symbol()):
        given = {name: shape for name, shape in shapes.items() if name in symbol.list_inputs()}
        assert symbol.infer_shape(data=(ROWS, 3, 64, 64), **given)[1] == [(ROWS, 1000)]
    assert ('bn_data_gamma' in net.collect_params()) == ('v2' in family)


@pytest.mark.parametrize('model', ['resnet50', 'resnet50_v2', 'densenet121', 'cifar_resnet20_v1a'])
def test_mabn_centres_every_convolution_but_not_the_head(model):
    net = get_model(model, norm='mabn')
    found = []
    net.apply(lambda block: found.append(block))
    convolutions = [b for b in found if isinstance(b, norm.CenConv2d)]
    assert not [b for b in found if isinstance(b, mx.gluon.nn.Conv2D)]
    four = [n for n, p in net.collect_params().items() if len(p.shape or ()) == 4 and n.endswith('weight')]
    assert len(convolutions) == len(four) > 8
    own = [b for b in found if isinstance(b, mx.gluon.nn.BatchNorm)]
    assert [b.prefix for b in own] == (['bn_data_'] if 'v2' in model else [])


@pytest.mark.parametrize('kit', STATEFUL)
@pytest.mark.parametrize('cpus', [2, *thorough(1)])
def test_recomputing_changes_nothing(kit, cpus):
    """The forward pass that memonger runs a second time does not move the state a second time; bit for bit."""
    plain, thrifty = (make('cifar_resnet8_ibn_a', plan_of(kit), cpus, recompute) for recompute in (False, True))
    for data, label in batches(16, 16, 10, 16, 16):
        expected, found = (run.step(data, label, 0.01) for run in (plain, thrifty))
        for a, b in zip(expected, found):
            assert np.array_equal(a.asnumpy(), b.asnumpy())
    for device in range(cpus):
        assert equal(values(plain, device), values(thrifty, device))
    assert equal(arrays(plain.states()), arrays(thrifty.states()))


@pytest.mark.parametrize('kit', STATEFUL)
def test_devices_keep_their_own_state_within_an_epoch(kit):
    """Two devices with the same pictures are one; with others they differ, until the epoch's mean."""
    run = make(plan=plan_of(kit), cpus=2)
    data, label = batches(8)[0]
    run.step(mx.nd.concat(data, data, dim=0), mx.nd.concat(label, label, dim=0), 0.01)
    alone = make(plan=plan_of(kit))
    alone.step(data, label, 0.01)
    mx.nd.waitall()
    moved = [n for n, p in run.net.collect_params().items() if norm.is_state(p) and 'bn_data' not in n]
    one, two, single = values(run, 0), values(run, 1), values(alone)
    for name in moved:
        assert np.array_equal(one[name], two[name])
        near(one[name], single[name], 1e-4)
    run.step(*batches(16, seed=5)[0], 0.01)
    mx.nd.waitall()
    assert any(not np.array_equal(values(run, 0)[n], values(run, 1)[n]) for n in moved)
    run.cluster.average([run.net.collect_params()[n] for n in moved])
    assert all(np.array_equal(values(run, 0)[n], values(run, 1)[n]) for n in moved)


@pytest.mark.parametrize('kit', KITS)
def test_the_inference_form_predicts_the_same(kit):
    """With no more parameters than BatchNorm's net has, and as a SymbolBlock, a checkpoint and an export."""
    net = build(kit, 'cifar_resnet8_v2_ibn_a')
    for data, label in pictures(ROWS, ROWS):
        train(net, data, label)
    data = pictures(3)[0][0]
    wanted, twin = net(data).asnumpy(), net.inference_form()
    if kit.startswith(('brn', 'mabn')) or kit == 'bn, 2':
        plain = get_model('cifar_resnet8_v2_ibn_a', 4)
        assert list(twin.collect_params()) == list(plain.collect_params())
        assert twin.symbol().tojson().count('Convolution') == plain.symbol().tojson().count('Convolution')
        assert nets.count_macs(twin, 32) == nets.count_macs(plain, 32)
    else:
        assert twin is net
    near(twin(data).asnumpy(), wanted, 1e-5)


@pytest.mark.parametrize('kit', ['bn, 2', 'brn', 'mabn', 'mabn, 2', 'gn'])
def test_an_ibn_network_starts_from_the_plain_one(kit):
    """The two norms of each IBN share what the one norm had."""
    plain, net = build(kit, 'cifar_resnet8'), build(kit, 'cifar_resnet8_ibn_a', seed=9)
    for data, label in pictures(ROWS, ROWS):
        train(plain, data, label)
    arrays = {name: param.data() for name, param in plain.collect_params().items()}
    convert.load(net, arrays, from_plain=True)
    for word in ('gamma', 'running_var') if kit != 'gn' else ('gamma',):
        whole = arrays[f'stage1_unit1_bn1_{word}'].asnumpy()
        half = net.collect_params()[f'stage1_unit1_bn1_{word}'].data().asnumpy()
        assert np.array_equal(half.ravel(), whole.ravel()[8:])
        other = net.collect_params()[f'stage1_unit1_bn2_{word}'].data().asnumpy()
        assert np.array_equal(other, arrays[f'stage1_unit1_bn2_{word}'].asnumpy())
    assert all((p.data().asnumpy() == 0).all() for n, p in net.collect_params().items() if n.endswith('iters'))


def test_small_parts_are_normalised_apart():
    """A picture's training logits depend on its part of the batch alone: pictures 0 and 4 of 8 in parts of 2."""
    for kit in ('bn, 2', 'brn, 2'):
        net, (data, _) = build(kit, 'cifar_resnet8'), pictures(8)[0]
        other = data.copy()
        other[1] += 1
        with autograd.train_mode():
            one, two = net(data).asnumpy(), net(other).asnumpy()
        changed = [bool(np.abs(a - b).max() > 1e-5) for a, b in zip(one, two)]
        assert changed == [i in (1, 5) for i in range(8)]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(norm='xn'), '--norm xn is not known: use one of bn, in, ln, gn, syncbn, mabn, brn'),
        (dict(norm='gn', norm_args=dict(B=2)), '--norm-args B=2: --norm gn has no such argument, it has groups'),
        (dict(norm_args=dict(B=2)), '--norm-args B=2: --norm bn has no such argument, it has none'),
        (dict(norm='mabn', norm_args=dict(B=3)), '--norm-args real_B=32 must be a multiple of B=3'),
        (dict(norm='mabn', norm_args=dict(B=2.5)), '--norm-args B=2.5 must be a whole number, such as 2'),
        (dict(norm='mabn', norm_args=dict(variant='x')), '--norm-args variant=x: use formal or cls'),
        (dict(norm='mabn', norm_args=dict(momentum=1.5)), '--norm-args momentum=1.5 must be below 1'),
        (dict(norm='brn', norm_args=dict(r_max=0.5)), '--norm-args r_max=0.5 must be at least 1'),
        (dict(norm='brn', norm_args=dict(r_max='a')), '--norm-args r_max=a must be a number, such as 3.0'),
        (
            dict(norm='gn', norm_batch_size=2),
            '--norm-batch-size 2 cannot be used with --norm gn, only with bn, brn, mabn',
        ),
        (dict(norm_batch_size=0), '--norm-batch-size 0 must be at least 1'),
        (
            dict(norm='mabn', norm_batch_size=2, norm_args=dict(variant='formal')),
            '--norm-args variant=formal contradicts --norm-batch-size 2',
        ),
        (dict(norm='gn', norm_args=dict(groups=5)), '--norm-args groups=5 must divide the 16 channels'),
        (dict(norm='syncbn'), '--norm syncbn needs GPUs and there are none; on CPUs it would hang: use bn'),
    ],
)
def test_what_a_norm_cannot_be_is_refused(changes, message):
    with refused(f'^{message}'):
        get_model('cifar_resnet8', **changes)


def test_published_weights_have_their_own_norm(capsys):
    assert cli.main(['published', 'net.pth', '--model', 'resnet50_ibn_a', '--norm', 'gn']) == 2
    assert (
        capsys.readouterr().err == 'ibnnet convert: --norm gn: published networks have their own norm; leave it out\n'
    )


def test_parts_in_a_foreign_block_are_refused():
    net, outer = build('bn, 2', hybrid=False), mx.gluon.nn.HybridSequential(prefix='')
    outer.add(net)
    outer.hybridize()
    with pytest.raises(ValueError, match='hybridize the network itself'):
        outer(pictures(4)[0][0])


@pytest.mark.parametrize('kit', ['bn', 'brn', 'mabn', 'mabn, 2', 'gn'])
def test_a_network_in_a_foreign_block_trains(kit):
    """Traced once for both modes."""
    net, inner = build(kit), build(kit, hybrid=False)
    outer = mx.gluon.nn.HybridSequential(prefix='')
    outer.add(inner)
    outer.hybridize()
    for data, label in pictures(ROWS, ROWS):
        with autograd.record():
            logits = outer(data)
            loss = -mx.nd.pick(mx.nd.log_softmax(logits), label).mean()
        loss.backward()
        near(logits.asnumpy(), train(net, data, label)[0], 1e-3)
    data = pictures(3)[0][0]
    near(outer(data).asnumpy(), net(data).asnumpy(), 1e-3)


@pytest.mark.parametrize(
    ('channels', 'groups'), [(16, 4), (32, 8), (64, 32), (128, 32), (48, 12), (72, 24), (6, 1), (2, 1)]
)
def test_usual_groups(channels, groups):
    assert norm.usual_groups(channels) == groups


def test_registry_names_every_kit():
    assert set(models.NORMS) == set(norm.KITS)
