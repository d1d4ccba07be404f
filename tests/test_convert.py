import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import convert, get_model
from tests.goldens.generate import fill, pictures

TORCH = {  # parameter of an IBN-b bottleneck net -> key of XingangPan/IBN-Net
    'conv0_weight': 'conv1.weight',
    'bn0_gamma': 'bn1.weight',
    'fc1_bias': 'fc.bias',
    'stage1_unit1_sc_weight': 'layer1.0.downsample.0.weight',
    'stage1_unit1_sc_bn_running_var': 'layer1.0.downsample.1.running_var',
    'stage2_unit4_ibn1_beta': 'layer2.3.IN.bias',
    'stage3_unit2_bn3_running_mean': 'layer3.1.bn3.running_mean',
}


@pytest.mark.parametrize(('mine', 'key'), TORCH.items())
def test_names_of_the_original(mine, key):
    assert convert._rename(key, convert.FROM_TORCH) == mine


def test_names_of_ibn_a():
    assert convert._rename('layer1.0.bn1.IN.weight', convert.FROM_TORCH) == 'stage1_unit1_in1_gamma'
    assert convert._rename('layer1.0.bn1.BN.running_mean', convert.FROM_TORCH) == 'stage1_unit1_bn1_running_mean'


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
    with pytest.raises(ValueError, match='arg:conv0_weight and conv0_weight are both conv0_weight'):
        convert.load_mxnet(net, arrays)


def test_counters_of_torch_are_passed_over():
    net = get_model('cifar_resnet8')
    arrays = {}
    for name, array in filled(net).items():
        arrays[name] = array
    arrays['layer1.0.bn1.num_batches_tracked'] = np.zeros((), np.int64)
    convert.load_torch(net, arrays)


def saved(tmp_path, net):
    from ibnnet_mx import ndfile

    arrays = {('aux:' if 'running' in n else 'arg:') + n: p.data().asnumpy() for n, p in net.collect_params().items()}
    symbol = mx.sym.SoftmaxOutput(net(mx.sym.var('data')), name='softmax')
    (tmp_path / 'net-symbol.json').write_text(symbol.tojson())
    ndfile.write(tmp_path / 'net-0000.params', ndfile.encode(arrays))
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
    from ibnnet_mx import ndfile

    net = get_model('cifar_resnet8_v2')
    net.initialize()
    arrays = saved(tmp_path, net)
    arrays['arg:extra'] = np.zeros(3, np.float32)
    del arrays['arg:fc1_bias']
    ndfile.write(tmp_path / 'net-0000.params', ndfile.encode(arrays))
    with pytest.raises(ValueError, match='fc1_bias is missing; extra has no place in .*net-symbol.json'):
        convert.load_symbol(tmp_path / 'net', 0)
