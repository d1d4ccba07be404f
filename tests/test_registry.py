import subprocess
import sys

import pytest

import ibnnet_mx
from ibnnet_mx import nets, registry

COUNTS = {  # XingangPan/IBN-Net, torchvision, and tornadomeet/ResNet's symbols
    'resnet18': 11689512,
    'resnet34': 21797672,
    'resnet50': 25557032,
    'resnet101': 44549160,
    'resnet152': 60192808,
    'resnet18_ibn_a': 11689512,
    'resnet34_ibn_a': 21797672,
    'resnet50_ibn_a': 25557032,
    'resnet101_ibn_a': 44549160,
    'resnet152_ibn_a': 60192808,
    'resnet18_ibn_b': 11689896,
    'resnet34_ibn_b': 21798056,
    'resnet50_ibn_b': 25558568,
    'resnet101_ibn_b': 44550696,
    'resnet152_ibn_b': 60194344,
    'resnet18_v2': 11691950,
    'resnet34_v2': 21800110,
    'resnet50_v2': 25549486,
    'resnet101_v2': 44541614,
    'resnet152_v2': 60185262,
    'resnet200_v2': 64666286,
    'resnet269_v2': 102065838,
    'resnet50_v2_ibn_a': 25549486,
    'resnet101_v2_ibn_a': 44541614,
    'resnet152_v2_ibn_a': 60185262,
    'cifar_resnet20_v2': 272544,
    'cifar_resnet56_v2': 855840,
    'cifar_resnet110_v2': 1730784,
    'cifar_resnet164_v2': 1703264,
}


@pytest.mark.parametrize('name', COUNTS)
def test_parameter_counts_of_the_originals(name):
    assert nets.count_parameters(ibnnet_mx.get_model(name)) == COUNTS[name]


def test_the_deepest_cifar_net_builds():
    net = ibnnet_mx.get_model('cifar_resnet1001_v2', classes=10)
    assert len(net.stages) == 333
    assert 10_000_000 < nets.count_parameters(net) < 10_500_000  # 10.2 M in arXiv:1603.05027


def test_a_family_with_a_depth_is_the_full_name():
    assert registry.find('resnet_v2_ibn_a', 50) == registry.find('resnet50_v2_ibn_a')
    assert registry.find('cifar_resnet_v2', 20).name == 'cifar_resnet20_v2'


def test_every_listed_model_is_found_under_its_own_name():
    names = ibnnet_mx.list_models()
    assert len(set(names)) == len(names) >= 6 * 7 + 6 * 7
    assert [registry.find(name).name for name in names] == names


def test_class_counts():
    assert ibnnet_mx.get_model('resnet18').collect_params()['fc1_weight'].shape == (1000, 512)
    assert ibnnet_mx.get_model('cifar_resnet20').collect_params()['fc1_weight'].shape == (10, 64)
    assert ibnnet_mx.get_model('resnet18', classes=7).collect_params()['fc1_bias'].shape == (7,)


@pytest.mark.parametrize(
    ('name', 'options', 'text'),
    [
        ('resnet50_ibn_c', {}, r'--model resnet50_ibn_c is not known: did you mean .*resnet50_ibn_[ab]'),
        ('resnet51', {}, '--depth 51 is no ImageNet depth: use one of 18, 34, 50, 101, 152, 200, 269'),
        ('cifar_resnet21', {}, r'--depth 21 is no cifar10 depth: use 6n\+2 below 164 \(20, 56, 110\)'),
        ('cifar_resnet2', {}, '--depth 2 is no cifar10 depth'),
        ('cifar_resnet170', {}, '--depth 170 is no cifar10 depth'),
        ('resnet', {}, '--model resnet needs a depth: resnet50, or --depth 50'),
        ('resnet50', {'depth': 18}, '--depth 18 contradicts --model resnet50'),
        ('resnet50', {'norm': 'xn'}, '--norm xn is not known: use one of bn, in'),
        ('resnet50', {'classes': 0}, '--num-classes 0: a network needs at least one class'),
        ('resnet18_v2', {'zero_gamma': True}, '--zero-gamma needs a norm at the end of each unit'),
    ],
)
def test_errors_name_the_value_and_the_way_out(name, options, text):
    with pytest.raises(ValueError, match=text):
        ibnnet_mx.get_model(name, **options)


def test_tables_are_read_without_mxnet():
    code = 'import sys, ibnnet_mx.recipe as r; r.RECIPES; import ibnnet_mx; ibnnet_mx.list_models(); '
    code += "sys.exit('mxnet' in sys.modules)"
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
