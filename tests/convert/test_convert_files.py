"""Networks through files of other kinds and back."""

import json

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import convert, get_model, models
from ibnnet_mx.convert import identify, names, torch_file
from ibnnet_mx.files import params_file
from ibnnet_mx.inference import engines
from ibnnet_mx.models import tables
from tests.conftest import thorough
from tests.convert.networks import arrays_of, equal, filled, official, write_checkpoint
from tests.goldens.generate import fill, pictures

FAMILIES = [
    'resnet18_ibn_a',
    'resnet18_ibn_b',
    'resnet18_v2',
    'resnet50_v2_ibn_a',
    'resnext50_ibn_a',
    'resnext50_ibn_b',
    'se_resnet50_ibn_a',
    'se_resnext50',
    'densenet121_ibn_a',
    'cifar_resnet20_v1a',
    'cifar_resnet8_ibn_a',
    'cifar_resnet8_v2_ibn_b',
]
SLOW = FAMILIES[:1] + FAMILIES[3:6] + ['se_resnext50']
OF_EACH_KIND = [*(name for name in FAMILIES if name not in SLOW), *thorough(*SLOW)]
OTHERS = sorted(
    {
        models.full_name(f, 8 if f.startswith('cifar_') else tables.ROWS[tables.base_of(f)].depths[0])
        for f in models.MODELS
    }
    - {*FAMILIES}
)


def side(name):
    return 32 if name.startswith('cifar_') else 64


@pytest.mark.parametrize('suffix', ['.pth', *thorough('.safetensors')])
@pytest.mark.parametrize('name', ['resnet18_ibn_b', 'se_resnet50_ibn_a', 'densenet121_ibn_a', 'cifar_resnet8_v2_ibn_a'])
def test_torch_to_ours_to_torch(name, suffix, tmp_path):
    arrays = official(name)
    torch_file.write_torch(tmp_path / 'first.pth', arrays)
    net = get_model(name)
    assert convert.load_torch(net, tmp_path / 'first.pth') == []
    convert.to_torch(net, tmp_path / f'second{suffix}')
    again = convert.read_weights(tmp_path / f'second{suffix}')
    assert equal(dict(sorted(again.items())), dict(sorted(arrays.items())))
    assert suffix != '.pth' or list(again) == list(arrays)


def test_what_torch_itself_reads(tmp_path):
    torch = pytest.importorskip('torch')
    arrays = official('resnet18_ibn_a')
    net = get_model('resnet18_ibn_a')
    convert.load_torch(net, {k: torch.from_numpy(a) for k, a in arrays.items()})
    convert.to_torch(net, tmp_path / 'a.pth')
    found = torch.load(tmp_path / 'a.pth', weights_only=True)
    assert equal({k: t.numpy() for k, t in found.items()}, arrays)


@pytest.mark.parametrize('name', OF_EACH_KIND)
def test_safetensors_and_back(name, tmp_path):
    net, other = filled(name), get_model(name)
    convert.save_safetensors(net, tmp_path / 'net.safetensors')
    convert.load_safetensors(other, tmp_path / 'net.safetensors')
    assert equal(arrays_of(other), arrays_of(net))


def check_onnx(name, path, **options):
    onnx = pytest.importorskip('onnx')
    net = filled(name, **options)
    convert.to_onnx(net, path, size=side(name))
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == 13
    assert [value.name for value in model.graph.input] == ['data']
    run = engines.OnnxEngine(path)
    for count in (1, 3):
        x = np.random.RandomState(count).uniform(-2, 2, (count, 3, side(name), side(name))).astype(np.float32)
        wanted = net(mx.nd.array(x)).asnumpy()
        assert np.abs(run(x) - wanted).max() <= 1e-5 * np.abs(wanted).max()
    pixels = json.loads(run.facts['pixels'])
    assert (run.facts['model'], tuple(pixels['mean'])) == (name, models.find(name).pixels.mean)


@pytest.mark.parametrize('name', OF_EACH_KIND)
def test_onnx_gives_the_same_logits(name, tmp_path):
    check_onnx(name, tmp_path / 'net.onnx')


@pytest.mark.slow
@pytest.mark.parametrize('name', OTHERS)
def test_onnx_of_the_other_families(name, tmp_path):
    check_onnx(name, tmp_path / 'net.onnx')


@pytest.mark.parametrize('options', [{'w_d': True}, *thorough({'norm': 'in'}, {'last_stride': 1})], ids=str)
def test_onnx_of_options(options, tmp_path):
    check_onnx('resnet18_v2', tmp_path / 'net.onnx', **options)


def test_onnx_normalises_by_itself_and_takes_one_picture(tmp_path):
    pytest.importorskip('onnxruntime')
    net, path = filled('cifar_resnet8'), tmp_path / 'net.onnx'
    convert.to_onnx(net, path, dynamic_batch=False, with_preprocess=True, class_names=['a'] * 10)
    run = engines.OnnxEngine(path)
    assert run.shape == [1, 3, 32, 32]
    raw = np.random.RandomState(0).randint(0, 256, (3, 3, 32, 32)).astype(np.float32)
    mean, std = (np.array(v, np.float32).reshape(1, 3, 1, 1) for v in models.IMAGENET)
    wanted = net(mx.nd.array((raw - mean) / std)).asnumpy()
    np.testing.assert_allclose(run(raw), wanted, rtol=1e-4, atol=1e-5)
    assert json.loads(run.facts['pixels'])['std'] == [1.0, 1.0, 1.0]
    assert json.loads(run.facts['class_names']) == ['a'] * 10


def test_a_fixed_gamma_is_written_as_one(tmp_path):
    """bn_data's stored gamma has no effect in mxnet and must have none elsewhere."""
    pytest.importorskip('onnxruntime')
    net = get_model('cifar_resnet8_v2')
    arrays = {n: fill(n, p.shape) for n, p in net.collect_params().items()}
    arrays['bn_data_gamma'] = np.full(3, 3.0, np.float32)
    convert.load_mxnet(net, arrays)
    convert.to_onnx(net, tmp_path / 'net.onnx')
    x = pictures(32).astype(np.float32)
    wanted = net(mx.nd.array(x)).asnumpy()
    np.testing.assert_allclose(engines.OnnxEngine(tmp_path / 'net.onnx')(x), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', FAMILIES)
def test_a_network_is_recognised_by_its_arrays(name):
    params = get_model(name, 7).collect_params()
    arrays = {n: np.zeros(p.shape) for n, p in params.items()}
    for keys in (dict(zip(arrays, arrays)), names.torch_keys(list(params))):
        for ordered in (list(arrays), sorted(arrays)):
            model, told = identify.model_of({keys[n]: arrays[n] for n in ordered})
            assert (model.name, told['classes']) == (name, 7)
    del arrays['fc1_bias']
    assert identify.model_of(arrays) is None


def test_a_symbol_of_the_registry_becomes_its_network_and_any_other_a_block(tmp_path):
    net = filled('cifar_resnet8_v2_ibn_a', 5)
    x = mx.nd.array(pictures(32))
    wanted = net(x).asnumpy()
    found = convert.load_symbol(write_checkpoint(tmp_path, net(mx.sym.var('data')), arrays_of(net)))
    assert found.model.name == 'cifar_resnet8_v2_ibn_a'
    np.testing.assert_allclose(found(x).asnumpy(), wanted, rtol=1e-4, atol=1e-5)
    other = -2 * net(mx.sym.var('data'))  # the same names, another function
    block = convert.load_symbol(write_checkpoint(tmp_path, other, arrays_of(net)))
    assert isinstance(block, mx.gluon.SymbolBlock)
    np.testing.assert_allclose(block(x).asnumpy(), -2 * wanted, rtol=1e-4, atol=1e-5)


def test_a_graph_that_mxnet_cannot_compute_is_one_line(tmp_path):
    net = filled('cifar_resnet8_ibn_a', 5)
    prefix = write_checkpoint(tmp_path, net(mx.sym.var('data')), arrays_of(net))
    graph = json.loads((tmp_path / 'net-symbol.json').read_text())
    next(node for node in graph['nodes'] if node['op'] == 'BatchNorm')['inputs'].append([0, 0, 0])
    for text in (json.dumps(graph), '[' * 100_000):
        (tmp_path / 'net-symbol.json').write_text(text)
        with pytest.raises(ValueError, match='net-symbol.json is damaged'):
            convert.load_symbol(prefix)


def test_embedding_beside_the_logits():
    net = filled('cifar_resnet8_ibn_a')
    logits, rows = convert.with_embedding(net)(mx.nd.array(pictures(32)))
    np.testing.assert_allclose(logits.asnumpy(), net(mx.nd.array(pictures(32))).asnumpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(net.output(rows).asnumpy(), logits.asnumpy(), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match='the network has no embedding: it does not end in a dense layer'):
        convert.with_embedding(filled('cifar_resnet8', features=True))


def test_the_state_of_an_optimiser_is_no_network(tmp_path):
    """Its arrays have the names and shapes of a network without running statistics."""
    (tmp_path / 'net-0001.states').write_bytes(params_file.encode_params({'fc1_bias': np.zeros(3, 'f')}))
    with pytest.raises(ValueError, match='holds the state of an optimiser, not weights'):
        convert.read_weights(tmp_path / 'net-0001.states')


def test_files_of_no_kind_are_refused(tmp_path):
    (tmp_path / 'x.safetensors').write_bytes(b'\xff' * 50)
    (tmp_path / 'x.params').write_bytes(b'no such thing at all')
    with pytest.raises(ValueError, match='x.safetensors is not a safetensors file, or is damaged'):
        convert.read_weights(tmp_path / 'x.safetensors')
    with pytest.raises(ValueError, match='x.params is no .params file of mxnet'):
        convert.read_weights(tmp_path / 'x.params')
    (tmp_path / 'x.onnx').write_bytes(b'no such thing at all')
    with pytest.raises(ValueError, match="x.onnx' cannot be run by onnxruntime"):
        engines.OnnxEngine(tmp_path / 'x.onnx')
    with pytest.raises(ValueError, match='x.bin: the name must end in .pth or .safetensors'):
        convert.to_torch(get_model('cifar_resnet8'), tmp_path / 'x.bin')


def check_told(name, option, value):
    """Arrays of a network with an option are taken for that, under our names and PyTorch's; those without are not."""
    params = get_model(name, **{option: value}).collect_params()
    arrays = {n: np.zeros(p.shape) for n, p in params.items()}
    for keys in (dict(zip(arrays, arrays)), names.torch_keys(list(params))):
        model, told = identify.model_of({keys[n]: a for n, a in arrays.items()})
        assert model.name == name
        assert {n: p.shape for n, p in get_model(name, **told).collect_params().items()} == {
            n: p.shape for n, p in params.items()
        }
    usual = {n: np.zeros(p.shape) for n, p in get_model(name).collect_params().items()}
    assert option not in identify.options(usual)


@pytest.mark.parametrize('name', ['cifar_resnet8_ibn_a', 'resnet18_v2_ibn_a', 'densenet121_ibn_a'])
@pytest.mark.parametrize('ratio', [0.25, 0.3, 0.7])
def test_the_ratio_of_ibn_is_told_by_the_shapes(name, ratio):
    check_told(name, 'ibn_ratio', ratio)


@pytest.mark.parametrize('name', ['cifar_resnet8_ibn_a', 'resnet18_ibn_b', 'resnet18_v2_ibn_a', 'densenet121_ibn_a'])
@pytest.mark.parametrize('stages', [(1,), (2, 3), (1, 2, 3)])
def test_the_stages_of_ibn_are_told_by_the_names(name, stages):
    check_told(name, 'ibn_stages', stages)


def test_symbols_with_several_results_are_refused(tmp_path):
    data = mx.sym.Flatten(mx.sym.var('data'))
    write_checkpoint(tmp_path, data, {})
    (tmp_path / 'net-symbol.json').write_text(mx.sym.Group([data, data * 2]).tojson())
    with pytest.raises(ValueError, match='a network needs the input data and one output'):
        convert.load_symbol(tmp_path / 'net')


def test_bfloat16_in_safetensors(tmp_path):
    """Written by hand: numpy has no such type."""
    values = np.array([[1.5, -2.0], [0.25, 3.0]], np.float32)
    raw = (values.view(np.uint32) >> 16).astype('<u2').tobytes()
    for kind, wanted in (('BF16', values), ('F8_E4M3', None)):
        size = len(raw) if kind == 'BF16' else 4
        head = json.dumps({'a': {'dtype': kind, 'shape': [2, 2], 'data_offsets': [0, size]}}).encode()
        (tmp_path / 'a.safetensors').write_bytes(len(head).to_bytes(8, 'little') + head + raw[:size])
        if wanted is None:
            with pytest.raises(ValueError, match='a.safetensors is not a safetensors file, or is damaged: .*F8_E4M3'):
                convert.read_weights(tmp_path / 'a.safetensors')
        else:
            np.testing.assert_array_equal(convert.read_weights(tmp_path / 'a.safetensors')['a'], wanted)


def test_onnx_files_from_elsewhere(tmp_path):
    onnx = pytest.importorskip('onnx')
    helper, kinds = onnx.helper, onnx.TensorProto

    def write(shape, kind=kinds.FLOAT, operator='Flatten'):
        value = helper.make_tensor_value_info('x', kind, shape)
        out = helper.make_tensor_value_info('y', kind, None)
        graph = helper.make_graph([helper.make_node(operator, ['x'], ['y'])], 'g', [value], [out])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)], ir_version=7)
        onnx.save(model, str(tmp_path / 'a.onnx'))
        return engines.OnnxEngine(tmp_path / 'a.onnx')

    for shape, kind in (
        (['N', 32, 32, 3], kinds.FLOAT),
        (['N', 1, 32, 32], kinds.FLOAT),
        (['N', 3, 32, 32], kinds.DOUBLE),
        (['N', 3], kinds.FLOAT),
    ):
        with pytest.raises(
            ValueError, match=r"a.onnx': it needs one input of float32 \(N, 3, H, W\), but has x tensor"
        ):
            write(shape, kind)
    with pytest.raises(ValueError, match=r'must give logits \(N, classes\), but gives \(1, 3, 8, 8\)'):
        write(['N', 3, 'S', 'S'], operator='Relu').classes(8)
    run = write(['N', 3, 32, 32])
    assert run.classes(32) == 3 * 32 * 32
    with pytest.raises(ValueError, match=r'takes \[.N., 3, 32, 32\] and got \(1, 3, 64, 64\)'):
        run.classes(64)
    fixed = write([2, 3, 8, 8])
    assert fixed(np.ones((5, 3, 8, 8), np.float32)).shape == (5, 192)
    assert fixed(np.ones((0, 3, 8, 8), np.float32)).shape[0] == 0
