"""Training in bfloat16: what is cast, that every network and norm takes it, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import _env, get_model, operators
from ibnnet_mx import graph as passes
from ibnnet_mx.cli import run_options
from tests.conftest import thorough
from tests.norm.test_kits import KITS, options, pictures, train
from tests.tiny_runs import PLAN, batches, equal, make, values

HALF_PLAN = replace(PLAN, dtype='bfloat16')
needs_avx512 = pytest.mark.skipif(_env.bfloat16() == 'no', reason='oneDNN computes in bfloat16 with AVX-512 only')


def nodes(net, rows=2):
    return json.loads(net.trace(rows, mx.cpu())[0].tojson(remove_amp_cast=False))['nodes']


def cosine(one, other):
    return (one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other)


def drawn(model, classes=4, **more):
    net = get_model(model, classes, **more)
    mx.random.seed(3)
    net.initialize()
    net.hybridize(static_alloc=True, static_shape=True)
    return net


@pytest.mark.parametrize('model', ['resnet18_ibn_a', 'resnet50_v2', 'se_resnet50_ibn_b', 'densenet121_ibn_a'])
def test_convolutions_and_dense_layers_get_bfloat16_and_nothing_else(model):
    graph = nodes(get_model(model, dtype='bfloat16'))
    follow = passes.precision.PASSED + passes.precision.NORMS
    for node in (node for node in graph if node['op'] in ('Convolution', 'FullyConnected')):
        for given in (graph[i] for i, _, _ in node['inputs']):
            while given['op'] in follow:
                given = graph[given['inputs'][0][0]]
            assert given['op'] in ('Convolution', 'FullyConnected') or given['attrs']['dtype'] == 'bfloat16'
    assert {node['op'] for node in nodes(get_model(model))}.isdisjoint({'amp_cast'})
    heads = json.loads(get_model(model, dtype='bfloat16').trace(2, mx.cpu())[0].tojson(remove_amp_cast=False))['heads']
    assert graph[heads[0][0]]['attrs']['dtype'] == 'float32'


def test_prediction_stays_float32():
    for symbol in (
        get_model('resnet18', dtype='bfloat16').trace()[0],
        get_model('resnet18', dtype='bfloat16').symbol(),
    ):
        assert 'bfloat16' not in symbol.tojson(remove_amp_cast=False)


@needs_avx512
@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize('kit', KITS)
@pytest.mark.parametrize('model', ['cifar_resnet8_ibn_a', 'cifar_resnet8_v2', 'cifar_resnet8_ibn_b'])
def test_every_norm_trains_near_float32(model, kit, fused, monkeypatch):
    if not fused:
        monkeypatch.setattr(operators, 'fused', lambda: False)
    elif not operators.fused():
        pytest.skip('ibnnet build operators has not built it')
    whole, half = (drawn(model, dtype=dtype, **options(kit)) for dtype in ('float32', 'bfloat16'))
    data, label = pictures(8)[0]
    (expected, slopes), (found, gradients) = (train(net, data, label) for net in (whole, half))
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= 0.05 * np.abs(expected).max()
    assert {gradients[name].dtype for name in slopes} == {np.dtype('float32')}
    for name in ('fc1_weight', 'stage3_unit1_conv2_weight'):
        assert np.linalg.norm(gradients[name] - slopes[name]) <= 0.3 * np.linalg.norm(slopes[name])
    assert {np.dtype(param.dtype) for param in half.collect_params().values()} == {np.dtype('float32')}


@needs_avx512
@pytest.mark.parametrize(
    'model', ['resnet18', 'densenet121_ibn_a', *thorough('resnet50_v2_ibn_b', 'se_resnet50', 'resnext50_ibn_a')]
)
def test_every_family_trains_near_float32(model):
    whole, half = (drawn(model, 10, dtype=dtype) for dtype in ('float32', 'bfloat16'))
    mx.random.seed(1)
    data, label = mx.nd.random.normal(shape=(8, 3, 64, 64)), mx.nd.arange(8)
    (expected, slopes), (found, gradients) = (train(net, data, label) for net in (whole, half))
    # Before training small differences grow with depth: torch's autocast gives a ResNet-50 here a cosine of 0.8.
    assert cosine(found - found.mean(axis=0), expected - expected.mean(axis=0)) > 0.7
    assert cosine(gradients['fc1_weight'], slopes['fc1_weight']) > 0.85


@needs_avx512
def test_a_run_learns_and_recomputes_bit_for_bit():
    found = []
    for recompute in (False, True):
        run = make('cifar_resnet8_v2_ibn_a', HALF_PLAN, recompute=recompute)
        for data, label in batches(8, 8, 8):
            run.step(data, label, 0.1)
        found.append(values(run))
    assert equal(*found)


class Given:
    gpus = ''


def test_what_cannot_be_had_is_refused(monkeypatch):
    wanted = HALF_PLAN
    monkeypatch.setattr(_env, 'bfloat16', lambda: 'no')
    with pytest.raises(ValueError, match='^--dtype bfloat16: this processor has no AVX-512'):
        run_options.check_dtype(Given, wanted)
    monkeypatch.setattr(_env, 'bfloat16', lambda: 'slow')
    assert run_options.check_dtype(Given, wanted)[0].endswith('it will be slower than float32')
    monkeypatch.setattr(Given, 'gpus', '0')
    with pytest.raises(ValueError, match='^--dtype bfloat16 is for the CPU'):
        run_options.check_dtype(Given, wanted)
    with pytest.raises(ValueError, match="^dtype='float16': use one of float32, bfloat16"):
        get_model('resnet18', dtype='float16')


@pytest.mark.parametrize(
    ('flags', 'kind'),
    [
        ('avx2', 'no'),
        ('avx512f avx512bw avx512vl avx512dq', 'slow'),
        ('avx512f avx512bw avx512vl avx512dq avx512_bf16', 'fast'),
        ('avx512f avx512bw avx512vl avx512dq amx_bf16 amx_tile', 'fast'),
    ],
)
def test_processors_are_told_apart(flags, kind, monkeypatch):
    monkeypatch.setattr(
        _env, 'read_text', lambda path: f'flags\t\t: fpu {flags}\n' if path == Path('/proc/cpuinfo') else ''
    )
    assert _env.bfloat16() == kind
