import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

from ibnnet_mx import convert, get_model, models
from ibnnet_mx.models import tables
from tests.goldens.generate import fill

SMALL = [
    models.full_name(f, 8 if f.startswith('cifar_') else tables.ROWS[tables.base_of(f)].depths[0])
    for f in models.MODELS
]
BOTTLENECKS = ['resnet50_ibn_a', 'resnet50_ibn_b', 'resnet50_v2_ibn_a', 'cifar_resnet164_v2_ibn_a']
OF_EACH_KIND = ['resnet18_ibn_b', 'resnet18_v2_ibn_a', 'resnext50_ibn_a', 'se_resnet50_v2', 'densenet121_ibn_a']
OF_EACH_KIND += ['cifar_resnet8_v1a_ibn_a', 'cifar_resnet8_v2_ibn_b']
W_D = ['resnet18', 'resnet18_v2_ibn_a', 'resnext50_ibn_b', 'cifar_resnet8', 'cifar_resnet8_v2']


def of_each_kind(rows):  # others are thorough
    return [pytest.param(*row, marks=[] if row[0] in OF_EACH_KIND else pytest.mark.thorough) for row in rows]


def started(name, hybrid=True, **options):
    net = get_model(name, classes=5, **options)
    mx.random.seed(1)
    net.initialize()
    if hybrid:
        net.hybridize(static_alloc=True, static_shape=True)
    return net


def pictures(count=4, size=32):
    return mx.nd.array(np.random.RandomState(0).uniform(-1, 1, (count, 3, size, size)))


@pytest.mark.parametrize(
    ('name', 'options'),
    of_each_kind([(name, {}) for name in SMALL + BOTTLENECKS]) + [(name, {'w_d': True}) for name in W_D],
)
def test_every_parameter_gets_a_gradient(name, options):
    check_gradients(started(name, **options), 32)


def check_gradients(net, size):
    with autograd.record():
        loss = gluon.loss.SoftmaxCrossEntropyLoss()(net(pictures(4, size)), mx.nd.array([0, 1, 2, 3]))
    loss.backward()
    for key, param in net.collect_params().items():
        if param.grad_req != 'null':
            assert float(param.grad().abs().max().asscalar()) > 0, key


@pytest.mark.parametrize('name', of_each_kind([(name,) for name in SMALL]))
def test_hybridized_equals_imperative_in_both_modes(name):
    plain, fast = started(name, hybrid=False), started(name)
    x = pictures(size=64 if models.find(name).depth >= 50 else 32)  # deep nets enlarge rounding on maps of 1x1
    for training in (False, True, False):
        with autograd.record(training):
            a, b = plain(x), fast(x)
        np.testing.assert_allclose(b.asnumpy(), a.asnumpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', of_each_kind([(name,) for name in SMALL]))
def test_forward_at_the_usual_size_and_another(name):
    check_sizes(started(name), models.find(name).size)


OTHERS = sorted({*models.list_models()} - {*SMALL, *BOTTLENECKS})
DEEP = [name for name in OTHERS if sum(models.find(name).shape.units) > 60]


@pytest.mark.thorough
@pytest.mark.parametrize('name', sorted({*OTHERS} - {*DEEP}))
def test_every_other_network_at_small_sizes(name):
    net = started(name)
    check_gradients(net, 32)
    assert np.isfinite(net(pictures(2, 40)).asnumpy()).all()


@pytest.mark.slow
@pytest.mark.parametrize('name', sorted(models.list_models()))
def test_every_network_at_full_size(name):
    size = models.find(name).size
    plain, fast = started(name, hybrid=False), started(name)
    for net in (plain, fast):  # with weights as drawn a thousand layers predict NaN before they are trained
        convert.load(net, {n: fill(n, p.shape) for n, p in net.collect_params().items()})
    x = pictures(2, size)
    a, b = plain(x).asnumpy(), fast(x).asnumpy()
    assert np.abs(a - b).max() <= 1e-5 * np.abs(a).max()
    with autograd.record():
        a, b = plain(x).asnumpy(), fast(x).asnumpy()
        nudged = plain(x * (1 + 3e-7)).asnumpy()  # by the rounding of a float, which deep nets enlarge in training
    assert np.abs(a - b).max() <= max(5e-3 * np.abs(a).max(), 3 * np.abs(a - nudged).max())
    check_gradients(fast, size)
    check_sizes(fast, size)


def check_sizes(net, size):
    for side in (size, size * 5 // 4):
        logits = net(pictures(2, side)).asnumpy()
        assert logits.shape == (2, 5)
        assert np.isfinite(logits).all()
        assert np.ptp(logits, axis=0).max() > 0  # it looks at the picture


@pytest.mark.parametrize('name', ['resnet18_ibn_a', 'cifar_resnet8_v2_ibn_a'])
def test_one_network_takes_any_batch_and_size(name):
    net, plain = started(name), started(name, hybrid=False)
    for count, size in ((4, 32), (1, 48), (4, 40), (3, 32)):
        for training in (True, False):
            with autograd.record(training):
                found, wanted = net(pictures(count, size)), plain(pictures(count, size))
            np.testing.assert_allclose(found.asnumpy(), wanted.asnumpy(), rtol=1e-3, atol=3e-4)  # of few values a norm


@pytest.mark.parametrize('name', ['resnet18_ibn_b', 'cifar_resnet8_v2_ibn_a', 'resnet18'])
def test_export_and_imports(name, tmp_path):
    net = started(name)
    wanted = net(pictures()).asnumpy()
    with autograd.record():
        net(pictures())
    net.export(str(tmp_path / 'net'), 3)
    again = gluon.SymbolBlock.imports(str(tmp_path / 'net-symbol.json'), ['data'], str(tmp_path / 'net-0003.params'))
    np.testing.assert_allclose(again(pictures()).asnumpy(), wanted, rtol=1e-4, atol=1e-5)
    with autograd.record():
        found = again(pictures())  # the exported graph is right in training mode, too
        wanted = net(pictures())
    np.testing.assert_allclose(found.asnumpy(), wanted.asnumpy(), rtol=1e-4, atol=1e-4)


def test_summary(capsys):
    started('cifar_resnet8_ibn_a', hybrid=False).summary(pictures())
    assert 'ResidualUnit' in capsys.readouterr().out


def test_inside_another_block():
    net = started('cifar_resnet8_ibn_a', hybrid=False)
    whole = gluon.nn.HybridSequential()
    whole.add(net)
    wanted = {}
    for training in (True, False):
        with autograd.record(training):
            wanted[training] = net(pictures()).asnumpy()
    whole.hybridize()
    for training in (True, False):
        with autograd.record(training):
            np.testing.assert_allclose(whole(pictures()).asnumpy(), wanted[training], rtol=1e-4, atol=1e-4)


def norms(name):
    return {n[: -len('_gamma')] for n in get_model(name).collect_params() if n.endswith('_gamma')}


def test_ibn_a_is_the_first_norm_of_every_unit_but_the_last_stages():
    for name, stages in (('resnet50_ibn_a', 3), ('cifar_resnet20_ibn_a', 2), ('cifar_resnet20_v2_ibn_a', 2)):
        shape = models.find(name).shape
        wanted = {f'stage{s}_unit{u + 1}_in1' for s in range(1, stages + 1) for u in range(shape.units[s - 1])}
        assert {n for n in norms(name) if 'in1' in n} == wanted


def test_ibn_b_is_at_the_end_of_two_stages_and_in_the_stem():
    assert {n for n in norms('resnet50_ibn_b') if 'ibn' in n} == {'stage1_unit3_ibn1', 'stage2_unit4_ibn1'}
    assert 'bn0_running_mean' not in get_model('resnet50_ibn_b').collect_params()
    assert {n for n in norms('cifar_resnet20_v2_ibn_b') if 'ibn' in n} == {'stage1_unit3_ibn1', 'stage2_unit3_ibn1'}
    assert 'bn0' not in norms('cifar_resnet20_v2_ibn_b')


def test_v2_projects_at_every_stage_and_v1_where_shapes_change():
    def shortcuts(name):
        return {n for n in get_model(name).collect_params() if n.endswith('sc_weight')}

    assert {n[:6] for n in shortcuts('resnet18_v2')} == {'stage1', 'stage2', 'stage3', 'stage4'}
    assert {n[:6] for n in shortcuts('resnet18')} == {'stage2', 'stage3', 'stage4'}


def test_option_a_shortcuts_have_no_parameters_and_keep_every_other_pixel():
    from ibnnet_mx.models.blocks import PaddedIdentity

    assert not [n for n in get_model('cifar_resnet20_v1a').collect_params() if '_sc_' in n]
    x = pictures(2, 7)
    y = PaddedIdentity(3, 8, 2)(x).asnumpy()
    assert y.shape == (2, 8, 4, 4)
    np.testing.assert_array_equal(y[:, 2:5], x.asnumpy()[:, :, ::2, ::2])
    assert not y[:, :2].any()
    assert not y[:, 5:].any()


def test_squeeze_excite_is_its_formula():
    from ibnnet_mx.models.blocks import SqueezeExcite

    block = SqueezeExcite(32, 16)
    block.initialize()
    x = np.random.RandomState(0).normal(size=(2, 32, 5, 5))
    first, second = (p.data().asnumpy() for p in block.collect_params().values())
    gate = np.maximum(x.mean((2, 3)) @ first.T, 0) @ second.T
    wanted = x / (1 + np.exp(-gate))[:, :, None, None]
    np.testing.assert_allclose(block(mx.nd.array(x)).asnumpy(), wanted, rtol=1e-5, atol=1e-6)


def test_densenets_ibn_has_the_norm_first_in_every_third_unit():
    params = get_model('densenet121_ibn_a').collect_params()
    wanted = {f'stage{s}_unit{u}_' for s, units in ((1, 6), (2, 12), (3, 24)) for u in range(1, units + 1, 3)}
    assert {n[: -len('in1_gamma')] for n in params if n.endswith('in1_gamma')} == wanted
    assert params['stage1_unit1_bn1_gamma'].shape == (38,)
    assert params['stage1_unit1_in1_gamma'].shape == (26,)


@pytest.mark.parametrize('ratio', [0.25, 0.3, 0.8])
def test_ibn_takes_any_ratio(ratio):
    net = started('cifar_resnet8_ibn_a', ibn_ratio=ratio)
    assert net.collect_params()['stage2_unit1_in1_gamma'].shape == (int(32 * ratio),)
    with autograd.record():
        loss = net(pictures()).square().sum()
    loss.backward()
    assert net(pictures()).shape == (4, 5)


@pytest.mark.parametrize('stages', [(1,), (2, 3), (1, 2, 3)])
def test_ibn_is_in_the_stages_that_are_named(stages):
    own = {}
    for ending in ('a', 'b'):
        params = get_model(f'cifar_resnet20_ibn_{ending}', ibn_stages=stages).collect_params()
        own[ending] = {
            n[: n.rindex('_in1' if ending == 'a' else '_ibn1')] for n in params if '_in1_' in n or '_ibn1_' in n
        }
    assert own['a'] == {f'stage{s}_unit{u}' for s in stages for u in (1, 2, 3)}
    assert own['b'] == {f'stage{s}_unit3' for s in stages}
    dense = get_model('densenet121_ibn_a', ibn_stages=stages).collect_params()
    assert {int(n[5]) for n in dense if n.endswith('_in1_gamma')} == set(stages)
    usual = get_model('cifar_resnet20_ibn_a', ibn_stages=(1, 2)).collect_params()
    assert list(usual) == list(get_model('cifar_resnet20_ibn_a').collect_params())


def test_w_d_has_three_small_convolutions_and_larger_shortcuts():
    shapes = {n: p.shape for n, p in get_model('resnext50_ibn_a', w_d=True).collect_params().items()}
    assert [shapes[f'conv0{i}_weight'] for i in (1, 2, 3)] == [(64, 3, 3, 3), (64, 64, 3, 3), (64, 64, 3, 3)]
    assert [shapes[f'stage{s}_unit1_sc_weight'][2:] for s in (1, 2, 3, 4)] == [(1, 1), (3, 3), (3, 3), (3, 3)]
    net = started('resnet18', w_d=True)
    assert np.array_equal(net(pictures()).asnumpy(), net(pictures()).asnumpy())
    with autograd.train_mode():  # a tenth of the embedding or so is dropped
        assert not np.array_equal(net(pictures()).asnumpy(), net(pictures()).asnumpy())


@pytest.mark.parametrize('name', ['resnet18_ibn_a', 'resnet18_v2', 'densenet121', 'cifar_resnet8'])
def test_features_are_the_networks_own_maps(name):
    whole = started(name)
    fill = dict(whole.collect_params())
    taps = ('embedding', 'stage1', 'stage3')
    net = started(name, features=taps)
    for key, param in net.collect_params().items():
        param.set_data(fill[key].data())
    embedding, first, third = net(pictures())
    logits = whole.output(embedding).asnumpy()
    np.testing.assert_allclose(logits, whole(pictures()).asnumpy(), rtol=1e-4, atol=1e-5)
    assert first.shape[2] == third.shape[2] * 4
    again = started(name, features='stage3')
    assert set(again.collect_params()) < set(fill)
    single = started(name, features=True)
    assert single(pictures()).shape == embedding.shape


def test_last_stride_of_one_keeps_the_map():
    assert started('resnet18', features='stage4', last_stride=1)(pictures(1, 64)).shape == (1, 512, 4, 4)
    assert started('resnet18', features='stage4')(pictures(1, 64)).shape == (1, 512, 2, 2)
    names = [set(get_model('resnet50_ibn_a', last_stride=s).collect_params()) for s in (1, 2)]
    assert names[0] == names[1]


def test_initialisation_is_the_originals():
    mx.random.seed(0)
    v1, v2 = get_model('resnet18'), get_model('resnet18_v2')
    for net in (v1, v2):
        net.initialize()
    for net, fan in ((v1, 256 * 9), (v2, 128 * 9)):  # He by fan-out, He by fan-in
        std = float(net.collect_params()['stage3_unit1_conv1_weight'].data().asnumpy().std())
        assert abs(std - (2 / fan) ** 0.5) < 0.03 * (2 / fan) ** 0.5
    weight = v1.collect_params()['fc1_weight'].data().asnumpy()
    assert 0.99 < np.abs(weight).max() * 512**0.5 <= 1.0001  # torch's Linear: uniform in +-1/sqrt(in)
    assert np.abs(v1.collect_params()['fc1_bias'].data().asnumpy()).max() > 0
    assert np.abs(v2.collect_params()['fc1_bias'].data().asnumpy()).max() == 0


def test_densenet_starts_with_torchs_weights():
    mx.random.seed(0)
    net = get_model('densenet121')
    net.initialize()
    weight = np.abs(net.collect_params()['conv0_weight'].data().asnumpy()).max()
    assert 0.99 < weight * (3 * 49) ** 0.5 <= 1.0001  # uniform in +-1/sqrt(fan in)


def test_zero_gamma_makes_each_unit_start_as_its_shortcut():
    net = started('cifar_resnet8', zero_gamma=True)
    gammas = {n: p.data().asnumpy() for n, p in net.collect_params().items() if n.endswith('_gamma')}
    assert {n for n, g in gammas.items() if not g.any()} == {f'stage{s}_unit1_bn2_gamma' for s in (1, 2, 3)}


def test_norm_in_has_no_running_statistics_but_those_of_the_pixels():
    names = [n for n in get_model('cifar_resnet8_v2', norm='in').collect_params() if 'running' in n]
    assert names == ['bn_data_running_mean', 'bn_data_running_var']
