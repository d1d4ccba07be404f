import json
import re
import subprocess
import sys

import pytest

import ibnnet_mx
from ibnnet_mx import models as registry
from ibnnet_mx.cli import models
from ibnnet_mx.models import create, nets, published
from tests.refusals import refused

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
    'resnext50': 25028904,
    'resnext50_32x4d': 25028904,
    'resnext50_ibn_a': 25028904,
    'resnext101_ibn_a': 44177704,
    'resnext152_ibn_a': 59951400,
    'se_resnet50_ibn_a': 28071976,
    'se_resnet101_ibn_a': 49292328,
    'se_resnet152_ibn_a': 66770984,
    'densenet121': 7978856,
    'densenet121_ibn_a': 7978856,
    'densenet169_ibn_a': 14149480,
    'densenet201_ibn_a': 20013928,
    'densenet161_ibn_a': 28681000,
    'cifar_resnet20_v1a': 269722,
    'cifar_resnet56_v1a': 853018,
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
    assert sum(len(stage) for stage in net.features[1:4]) == 333
    assert 10_000_000 < nets.count_parameters(net) < 10_500_000  # 10.2 M in arXiv:1603.05027


def test_a_family_with_a_depth_is_the_full_name():
    assert registry.find('resnet_v2_ibn_a', 50) == registry.find('resnet50_v2_ibn_a')
    assert registry.find('cifar_resnet_v2', 20).name == 'cifar_resnet20_v2'
    assert registry.find('se_resnext', 101) == registry.find('se_resnext101')


def test_other_libraries_names_are_understood():
    assert registry.find('resnext50_32x4d').name == 'resnext50'
    assert registry.find('se_resnext101_32x4d_ibn_a').name == 'se_resnext101_ibn_a'
    assert registry.find('resnet50_v1b').name == 'resnet50'


def test_the_official_constructors_are_all_there():
    resnets = [f'resnet{d}_ibn_{x}' for d in (18, 34, 50, 101, 152) for x in 'ab']
    others = [f'{base}{d}_ibn_a' for base in ('resnext', 'se_resnet') for d in (50, 101, 152)]
    dense = [f'densenet{d}_ibn_a' for d in (121, 169, 201, 161)]
    official = resnets + others + dense
    assert len(official) == 20
    assert set(official) <= set(registry.list_models())
    assert [registry.find(name).name for name in official] == official


def test_published_weights_are_of_networks_that_exist():
    assert len(published.WEIGHTS) == 12
    assert {*published.WEIGHTS, *published.ERRORS} <= set(registry.list_models())
    assert published.file_name('resnet50_ibn_a') == 'resnet50_ibn_a-d9d0bb7b.pth'
    with pytest.raises(ValueError, match='no weights of resnet50 are published, only those of resnet18_ibn_a'):
        published.file_name('resnet50')


def test_the_table_of_networks(capsys):
    assert models.main(['resnext50_ibn_a', 'densenet121_ibn_a', '--json']) == 0
    rows = {row['name']: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert set(rows) == {'resnext50_ibn_a', 'se_resnext50_ibn_a', 'densenet121_ibn_a'}
    row = rows['densenet121_ibn_a']
    assert (row['parameters'], row['batch_norms'], row['instance_norms']) == (7978856, 121, 14)
    assert row['published_error'] == [24.47, 7.25]
    assert (row['weights'], row['original'], rows['se_resnext50_ibn_a']['original']) == (True, True, False)
    assert models.main(['resnext50_ibn_a']) == 0
    out = capsys.readouterr().out
    assert re.search(r'^resnext50_ibn_a +25,028,904 +4\.230 +224 +53 BN \+ 13 IN +-$', out, re.MULTILINE)
    assert models.main(['lenet']) == 2
    assert 'no model has lenet in its name' in capsys.readouterr().err


def test_multiplications_of_the_original():
    assert nets.count_macs(ibnnet_mx.get_model('resnet50_ibn_a'), 224) == 4089184256  # a count of the original's layers


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
        ('resnet51', {}, '--depth 51 is not a depth of resnet: use one of 18, 34, 50, 101, 152, 200, 269'),
        ('resnext18', {}, '--depth 18 is not a depth of resnext: use one of 50, 101, 152'),
        ('densenet50_ibn_a', {}, '--depth 50 is not a depth of densenet_ibn_a: use one of 121, 161, 169, 201'),
        ('densenet121_ibn_b', {}, '--model densenet121_ibn_b is not known: did you mean .*densenet121_ibn_a'),
        ('cifar_resnet21', {}, r'--depth 21 is not a cifar10 depth: use 6n\+2 below 164 \(20, 56, 110\)'),
        ('cifar_resnet2', {}, '--depth 2 is not a cifar10 depth'),
        ('cifar_resnet170', {}, '--depth 170 is not a cifar10 depth'),
        ('resnet', {}, '--model resnet needs a depth: resnet50, or --depth 50'),
        ('resnet50', {'depth': 18}, '--depth 18 contradicts --model resnet50'),
        ('resnet50', {'norm': 'xn'}, '--norm xn is not known: use one of bn, in, ln, gn'),
        ('resnet50', {'classes': 0}, '--num-classes 0: a network needs at least one class'),
        ('resnet18_v2', {'zero_gamma': True}, '--zero-gamma needs a norm at the end of each unit'),
        ('densenet121', {'zero_gamma': True}, '--zero-gamma is for residual networks'),
        ('densenet121', {'w_d': True}, '--w-d is for residual networks: a DenseNet cannot have it'),
        ('cifar_resnet20_v1a', {'w_d': True}, '--w-d changes shortcuts with a convolution'),
        ('resnet18', {'ibn_ratio': 0.5}, '--ibn-ratio 0.5: resnet18 has no IBN-a; leave this option out'),
        ('resnet18_ibn_a', {'ibn_ratio': 0.001}, '--ibn-ratio 0.001 leaves one half of 64 channels empty'),
        ('resnet18', {'ibn_stages': (1,)}, '--ibn-stages 1: resnet18 is not an IBN network; leave this option out'),
        ('cifar_resnet20_ibn_b', {'ibn_stages': (1, 4)}, '--ibn-stages 1,4: name some of the stages 1, 2, 3'),
        ('densenet121_ibn_a', {'ibn_stages': (2, 1)}, '--ibn-stages 2,1: name some of the stages 1, 2, 3, 4, in this'),
        ('resnet18_ibn_a', {'ibn_stages': ()}, '--ibn-stages without any: name some'),
        ('resnet18', {'last_stride': 3}, '--last-stride 3: use 1 or 2'),
        (
            'resnet18',
            {'features': 'neck'},
            '--features neck: use True, or names of stem, stage1, .*, stage4, embedding',
        ),
        (
            'resnet18',
            {'nrom': 'bn'},
            '--nrom bn is not an option of a network: use one of norm, norm_args, norm_batch_size, bn_mom',
        ),
    ],
)
def test_errors_name_the_value_and_the_way_out(name, options, text):
    with refused(text):
        ibnnet_mx.get_model(name, **options)


def test_tables_are_read_without_mxnet():
    code = 'import sys, ibnnet_mx.recipe as r; r.RECIPES; import ibnnet_mx; ibnnet_mx.list_models(); '
    code += "sys.exit('mxnet' in sys.modules)"
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


def test_the_list_of_models_can_be_filtered():
    assert ibnnet_mx.list_models(filter='resnet50*') == [
        name for name in ibnnet_mx.list_models() if name.startswith('resnet50')
    ]
    assert ibnnet_mx.list_models(filter='*_ibn_b', pretrained=True) == [
        f'resnet{depth}_ibn_b' for depth in (18, 34, 50, 101)
    ]
    assert sorted(ibnnet_mx.list_models(pretrained=True)) == sorted(published.names())


@pytest.mark.parametrize(
    'name', ['cifar_resnet8', 'cifar_resnet8_ibn_a', 'cifar_resnet8_ibn_b', 'resnet18_v2', 'densenet121_ibn_a']
)
def test_a_network_is_created_again_from_its_options(name):
    options = create(name).options
    assert create(name, **{key: options[key] for key in ('ibn_ratio', 'ibn_stages', 'w_d')}).options == options
