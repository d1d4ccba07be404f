import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import convert, get_model
from ibnnet_mx.convert import names
from tests.goldens.generate import fill, pictures

TORCH = {  # parameter of a net -> key of XingangPan/IBN-Net
    'resnet50_ibn_b': {
        'conv0_weight': 'conv1.weight',
        'bn0_gamma': 'bn1.weight',
        'fc1_bias': 'fc.bias',
        'stage1_unit1_sc_weight': 'layer1.0.downsample.0.weight',
        'stage1_unit1_sc_bn_running_var': 'layer1.0.downsample.1.running_var',
        'stage2_unit4_ibn1_beta': 'layer2.3.IN.bias',
        'stage3_unit2_bn3_running_mean': 'layer3.1.bn3.running_mean',
    },
    'se_resnet50_ibn_a': {
        'stage1_unit1_in1_gamma': 'layer1.0.bn1.IN.weight',
        'stage1_unit1_bn1_running_mean': 'layer1.0.bn1.BN.running_mean',
        'stage4_unit1_bn1_gamma': 'layer4.0.bn1.weight',
        'stage2_unit1_se_fc2_weight': 'layer2.0.se.fc.2.weight',
    },
    'densenet121_ibn_a': {
        'bn0_beta': 'features.norm0.bias',
        'stage1_unit1_bn1_gamma': 'features.denseblock1.denselayer1.norm1.BN.weight',
        'stage1_unit1_in1_gamma': 'features.denseblock1.denselayer1.norm1.IN.weight',
        'stage1_unit2_bn1_gamma': 'features.denseblock1.denselayer2.norm1.weight',
        'transition2_conv_weight': 'features.transition2.conv.weight',
        'bn1_running_var': 'features.norm5.running_var',
        'fc1_weight': 'classifier.weight',
    },
}


@pytest.mark.parametrize('model', TORCH)
def test_names_of_the_original(model):
    keys = names.torch_keys(list(get_model(model).collect_params()))
    assert TORCH[model].items() <= keys.items()
    assert len(set(keys.values())) == len(keys)


def filled(net):
    return {n: fill(n, p.shape) for n, p in net.collect_params().items()}


def test_prefixed_and_plain_names_and_arrays_of_both_kinds():
    net = get_model('cifar_resnet8_v2')
    arrays = filled(net)
    convert.load_mxnet(net, arrays)  # initialises the network
    wanted = net(mx.nd.array(pictures(32))).asnumpy()
    other = get_model('cifar_resnet8_v2')
    other.initialize()
    old = {n.replace('_running_', '_moving_'): a for n, a in arrays.items()}
    convert.load_mxnet(other, {('aux:' if 'moving' in n else 'arg:') + n: mx.nd.array(a) for n, a in old.items()})
    np.testing.assert_array_equal(other(mx.nd.array(pictures(32))).asnumpy(), wanted)


def test_leftovers_on_either_side_and_wrong_shapes_are_listed_and_nothing_is_loaded():
    net = get_model('cifar_resnet8_v2')
    net.initialize()
    before = {n: p.data().asnumpy() for n, p in net.collect_params().items()}
    arrays = filled(net)
    arrays['extra_weight'] = arrays.pop('conv0_weight')
    arrays['fc1_bias'] = np.zeros(11, np.float32)
    with pytest.raises(ValueError, match='3 faults') as error:
        convert.load_mxnet(net, arrays)
    for text in (
        'conv0_weight is missing',
        'extra_weight has no place in the network',
        r'fc1_bias has shape (11,), the network needs (10,)',
    ):
        assert text in str(error.value)
    for name, array in before.items():
        np.testing.assert_array_equal(net.collect_params()[name].data().asnumpy(), array)


def test_two_keys_for_one_parameter_are_refused():
    net = get_model('cifar_resnet8_v2')
    arrays = filled(net)
    arrays['arg:conv0_weight'] = arrays['conv0_weight']
    with pytest.raises(ValueError, match='arg:conv0_weight and conv0_weight both mean conv0_weight'):
        convert.load_mxnet(net, arrays)


def test_counters_of_torch_are_passed_over():
    net = get_model('cifar_resnet8')
    wanted = filled(net)
    assert convert.load_torch(net, {**wanted, 'layer1.0.bn1.num_batches_tracked': np.zeros((), np.int64)}) == []
    for name, param in net.collect_params().items():
        np.testing.assert_array_equal(param.data().asnumpy(), wanted[name])


def saved(tmp_path, net):
    from ibnnet_mx.files import atomic, params_file

    arrays = {('aux:' if 'running' in n else 'arg:') + n: p.data().asnumpy() for n, p in net.collect_params().items()}
    symbol = mx.sym.SoftmaxOutput(net(mx.sym.var('data')), name='softmax')
    (tmp_path / 'net-symbol.json').write_text(symbol.tojson())
    atomic.write_file(tmp_path / 'net-0000.params', params_file.encode_params(arrays))
    return arrays


def test_load_symbol_gives_logits(tmp_path):
    net = get_model('cifar_resnet8_v2_ibn_a')
    net.initialize()
    saved(tmp_path, net)
    found = convert.load_symbol(tmp_path / 'net', 0)(mx.nd.array(pictures(32))).asnumpy()
    np.testing.assert_allclose(found, net(mx.nd.array(pictures(32))).asnumpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ('damage', 'text'),
    [
        (lambda t: (t / 'net-symbol.json').unlink(), 'net-symbol.json cannot be read: No such file'),
        (lambda t: (t / 'net-symbol.json').write_text('{"nodes": 3}'), 'net-symbol.json is damaged'),
        (lambda t: (t / 'net-symbol.json').write_text('no json'), 'net-symbol.json is damaged'),
        (lambda t: (t / 'net-0000.params').unlink(), 'net-0000.params cannot be read: No such file'),
        (lambda t: (t / 'net-0000.params').write_bytes(b'x' * 99), 'net-0000.params is no .params file of mxnet'),
        (
            lambda t: (t / 'net-0000.params').write_bytes((t / 'net-0000.params').read_bytes()[:5000]),
            'net-0000.params is damaged or cut short',
        ),
    ],
)
def test_damaged_files_are_named(tmp_path, damage, text):
    net = get_model('cifar_resnet8_v2')
    net.initialize()
    saved(tmp_path, net)
    damage(tmp_path)
    with pytest.raises(ValueError, match=text):
        convert.load_symbol(tmp_path / 'net', 0)


def test_weights_of_another_network_are_refused(tmp_path):
    from ibnnet_mx.files import atomic, params_file

    net = get_model('cifar_resnet8_v2')
    net.initialize()
    arrays = saved(tmp_path, net)
    arrays['arg:extra'] = np.zeros(3, np.float32)
    del arrays['arg:fc1_bias']
    atomic.write_file(tmp_path / 'net-0000.params', params_file.encode_params(arrays))
    with pytest.raises(ValueError, match='fc1_bias is missing; extra has no place in .*net-symbol.json'):
        convert.load_symbol(tmp_path / 'net', 0)


def torch_arrays(model, classes=None):
    """A state_dict of the original's keys for a model of ours."""
    params = get_model(model, classes).collect_params()
    return {key: fill(key, params[name].shape) for name, key in names.torch_keys(list(params)).items()}


def logits(net, size=32):
    return net(mx.nd.array(pictures(size))).asnumpy()


def loaded(model, arrays, classes=None, **how):
    net = get_model(model, classes)
    notes = convert.load(net, arrays, **how)
    return net, notes


@pytest.mark.parametrize('prefix', ['module.', 'backbone.', 'module.model.base.'])
def test_any_common_prefix(prefix):
    arrays = torch_arrays('cifar_resnet8_ibn_a')
    wanted = logits(loaded('cifar_resnet8_ibn_a', arrays)[0])
    net, notes = loaded('cifar_resnet8_ibn_a', {prefix + key: array for key, array in arrays.items()})
    assert not notes
    np.testing.assert_array_equal(logits(net), wanted)


@pytest.mark.parametrize('head', ['linear', 'last_linear', 'classifier'])
def test_other_names_of_the_classifier(head):
    arrays = torch_arrays('cifar_resnet8')
    other = {key.replace('fc.', f'{head}.'): array for key, array in arrays.items()}
    np.testing.assert_array_equal(logits(loaded('cifar_resnet8', other)[0]), logits(loaded('cifar_resnet8', arrays)[0]))


def test_densenets_of_older_torchvision():
    arrays = torch_arrays('densenet121')
    old = {key.replace('.norm1.', '.norm.1.').replace('.conv2.', '.conv.2.'): a for key, a in arrays.items()}
    assert old.keys() != arrays.keys()
    np.testing.assert_array_equal(logits(loaded('densenet121', old)[0]), logits(loaded('densenet121', arrays)[0]))


def test_gluons_own_files_of_a_network(tmp_path):
    net = get_model('cifar_resnet8_ibn_a')
    net.initialize()
    net.save_parameters(str(tmp_path / 'gluon.params'))
    other = get_model('cifar_resnet8_ibn_a')
    convert.load_mxnet(other, tmp_path / 'gluon.params')
    np.testing.assert_array_equal(logits(other), logits(net))


def test_a_head_of_another_class_count():
    arrays = torch_arrays('cifar_resnet8', 7)
    with pytest.raises(ValueError, match=r'fc.weight has shape \(7, 64\).*7 classes, not 10: `new_head` starts'):
        loaded('cifar_resnet8', arrays)
    mx.random.seed(1)
    fresh = get_model('cifar_resnet8')
    fresh.initialize()
    before = fresh.output.weight.data().asnumpy()
    notes = convert.load(fresh, arrays, new_head=True)
    assert notes == ['a new classifier of 10 classes replaces the one of 7']
    np.testing.assert_array_equal(fresh.output.weight.data().asnumpy(), before)
    np.testing.assert_array_equal(fresh.collect_params()['conv0_weight'].data().asnumpy(), arrays['conv1.weight'])


def test_features_pass_over_what_they_lack():
    arrays = torch_arrays('cifar_resnet8_ibn_a')
    whole = loaded('cifar_resnet8_ibn_a', arrays)[0]
    for taps in (True, 'stage1', ('stage1', 'embedding')):
        net = get_model('cifar_resnet8_ibn_a', features=taps)
        convert.load_torch(net, arrays)
        found = net(mx.nd.array(pictures(32)))
    np.testing.assert_allclose(whole.output(found[1]).asnumpy(), logits(whole), rtol=1e-5, atol=1e-6)
    arrays['layer1.0.extra'] = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match='1 faults: layer1.0.extra has no place in the network'):
        convert.load_torch(get_model('cifar_resnet8_ibn_a', features=True), arrays)


@pytest.mark.parametrize(
    ('model', 'plain'),
    [('cifar_resnet8_ibn_a', 'cifar_resnet8'), ('densenet121_ibn_a', 'densenet121'), ('resnet18_ibn_b', 'resnet18')],
)
def test_an_ibn_network_starts_from_a_plain_one(model, plain):
    arrays = torch_arrays(plain)
    with pytest.raises(ValueError, match='they belong to the plain network: `init_from_plain` starts from it'):
        loaded(model, arrays)
    net, notes = loaded(model, arrays, from_plain=True)
    assert 'from the plain network' in notes[0]
    params = {n: p.data().asnumpy() for n, p in net.collect_params().items()}
    keys = names.torch_keys(list(get_model(plain).collect_params()))
    halved = {n.replace('in1_', 'bn1_') for n in params if '_in1_' in n}
    assert len(halved) == {'cifar_resnet8_ibn_a': 4, 'densenet121_ibn_a': 28, 'resnet18_ibn_b': 0}[model]
    for name, array in params.items():
        if name in halved:
            halves = [params[name.replace('bn1_', 'in1_')], array]
            whole = np.concatenate(halves[::-1] if plain.startswith('densenet') else halves)
            np.testing.assert_array_equal(whole, arrays[keys[name]])
        elif '_ibn1_' in name:
            assert np.all(array == float(name.endswith('gamma')))
        elif '_in1_' not in name:
            whole = arrays[keys[name]]
            first = 0 if plain.startswith('densenet') else len(whole) - len(array)  # BatchNorm's half of the statistics
            np.testing.assert_array_equal(array, whole[first : first + len(array)])


def test_a_plain_network_has_nothing_to_start_from():
    with pytest.raises(ValueError, match='^init_from_plain: the network is plain itself; leave it out'):
        loaded('cifar_resnet8', torch_arrays('cifar_resnet8'), from_plain=True)


@pytest.mark.parametrize(
    ('model', 'plain', 'options'),
    [
        ('resnet18_ibn_b', 'resnet18', {'w_d': True}),
        ('resnet18_ibn_a', 'resnet18', {'norm': 'in'}),
        ('resnet18_ibn_b', 'resnet18', {'norm': 'in'}),
    ],
)
def test_options_of_a_plain_network_are_those_of_its_ibn_network(model, plain, options):
    arrays = filled(get_model(plain, **options))
    net = get_model(model, **options)
    convert.load(net, arrays, from_plain=True)
    assert np.isfinite(net(mx.nd.array(pictures(32))).asnumpy()).all()


@pytest.mark.parametrize(
    ('key', 'array', 'text'),
    [
        ('fc.bias', np.float32(1), r'fc.bias has shape \(\), the network needs \(10,\)'),
        ('fc.weight', np.float32(1), r'fc.weight has shape \(\)'),
        ('fc.bias', np.ones(10, np.complex64), "'fc.bias' must be a name with an array of real numbers"),
        ('fc.bias', np.array([None] * 10), "'fc.bias' must be a name with an array of real numbers"),
    ],
)
def test_arrays_of_other_kinds_are_refused(key, array, text):
    with pytest.raises(ValueError, match=text):
        loaded('cifar_resnet8', {**torch_arrays('cifar_resnet8'), key: array})
