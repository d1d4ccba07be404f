"""Networks that end in softmax, and networks that do not say their size: what they answer is right, not nearly."""

from __future__ import annotations

import json

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import convert, get_model
from ibnnet_mx.cli import evaluate, predict
from ibnnet_mx.graph.sizes import PictureSize, picture_size
from ibnnet_mx.inference.opening import open_checkpoint, open_onnx
from ibnnet_mx.size import Size
from tests.convert.networks import filled, write_checkpoint
from tests.graded_pictures import write_graded
from tests.refusals import refused

X = np.random.RandomState(0).uniform(-1, 1, (2, 3, 16, 16)).astype(np.float32)
ENDS = {
    'SoftmaxOutput': lambda x: mx.sym.SoftmaxOutput(x, name='softmax'),
    'softmax': lambda x: mx.sym.softmax(x),
    'softmax of a temperature': lambda x: mx.sym.softmax(x, temperature=2.0),
    'SoftmaxActivation': lambda x: mx.sym.SoftmaxActivation(x),
    'log_softmax': lambda x: mx.sym.log_softmax(x),
    'identity behind': lambda x: mx.sym.identity(mx.sym.softmax(x)),
    'Flatten behind': lambda x: mx.sym.Flatten(mx.sym.softmax(x)),
    'Dropout and BlockGrad': lambda x: mx.sym.BlockGrad(mx.sym.Dropout(mx.sym.softmax(x), p=0.5)),
    'maps': lambda x: mx.sym.Flatten(mx.sym.SoftmaxActivation(mx.sym.Reshape(x, (0, 0, 1, 1)), mode='channel')),
    'logits': lambda x: x,
    'Flatten alone': lambda x: mx.sym.Flatten(x),
}


def small():
    """A network outside of the tables, and its arrays."""
    x = mx.sym.Convolution(mx.sym.var('data'), kernel=(3, 3), stride=(2, 2), num_filter=4, no_bias=True, name='conv')
    x = mx.sym.Pooling(mx.sym.relu(x), global_pool=True, kernel=(2, 2), pool_type='avg')
    x = mx.sym.FullyConnected(mx.sym.Flatten(x), num_hidden=5, no_bias=True, name='fc')
    draw = np.random.RandomState(1)
    return x, {
        'conv_weight': draw.normal(0, 1, (4, 3, 3, 3)).astype('f'),
        'fc_weight': draw.normal(0, 3, (5, 4)).astype('f'),
    }


def write(folder, symbol, arrays):
    """A checkpoint without a .json; its symbol ends as it is given."""
    write_checkpoint(folder, symbol, arrays)
    (folder / 'net-symbol.json').write_text(symbol.tojson())
    return folder / 'net'


@pytest.mark.parametrize('end', ENDS)
def test_what_comes_out_of_a_symbol_are_logits(tmp_path, end):
    logits, arrays = small()
    wanted = convert.load_symbol(write(tmp_path, logits, arrays))(mx.nd.array(X)).asnumpy()
    net = convert.load_symbol(write(tmp_path, ENDS[end](logits), arrays))
    factor = 0.5 if 'temperature' in end else 1
    np.testing.assert_allclose(net(mx.nd.array(X)).asnumpy(), wanted * factor, rtol=1e-5, atol=1e-6)
    if end in ('softmax', 'SoftmaxOutput'):
        assert [part.shape for part in convert.with_embedding(net)(mx.nd.array(X))] == [(2, 5), (2, 4)]


@pytest.mark.parametrize('sigmoid', [mx.sym.sigmoid, mx.sym.LogisticRegressionOutput])
def test_a_sigmoid_at_the_end_is_refused(tmp_path, sigmoid):
    logits, arrays = small()
    with pytest.raises(ValueError, match=r'net-symbol.json: it ends in a sigmoid, so that several classes may be true'):
        convert.load_symbol(write(tmp_path, sigmoid(logits), arrays))


ONNX_ENDS = {
    'Softmax': ['Softmax'],
    'LogSoftmax': ['LogSoftmax'],
    'Identity behind': ['Softmax', 'Identity'],
    'Flatten behind': ['Softmax', 'Flatten'],
}


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    pytest.importorskip('onnxruntime')
    path = tmp_path_factory.mktemp('onnx') / 'net.onnx'
    convert.to_onnx(filled('cifar_resnet8_v2', 4), path)
    return path


def ended(source, path, kinds, external=False):
    """The .onnx file `source` with more nodes at its end."""
    import onnx

    model = onnx.load(str(source))
    name = model.graph.output[0].name
    for number, kind in enumerate(kinds):
        model.graph.node.append(onnx.helper.make_node(kind, [name], [f'end{number}']))
        name = f'end{number}'
    model.graph.output[0].name = name
    onnx.save(model, str(path), save_as_external_data=external, size_threshold=0)
    return str(path)


@pytest.mark.parametrize('end', ONNX_ENDS)
@pytest.mark.parametrize('external', [False, True])
def test_what_comes_out_of_an_onnx_file_are_logits(exported, tmp_path, end, external):
    x = np.random.RandomState(0).uniform(0, 255, (3, 3, 32, 32)).astype(np.float32)
    wanted = open_onnx(str(exported)).predict(mx.nd.array(x))
    logits_of_file = open_onnx(ended(exported, tmp_path / 'a.onnx', ONNX_ENDS[end], external)).predict(mx.nd.array(x))
    offset = (logits_of_file - wanted).mean(
        axis=1, keepdims=True
    )  # logarithms of probabilities are logits but for a constant
    np.testing.assert_allclose(logits_of_file - offset, wanted, rtol=1e-4, atol=1e-4)
    assert external or 'Log' in end or np.allclose(offset, 0, atol=1e-5)


def test_a_sigmoid_at_the_end_of_an_onnx_file_is_refused(exported, tmp_path):
    with refused('--onnx .*a.onnx ends in a sigmoid'):
        open_onnx(ended(exported, tmp_path / 'a.onnx', ['Sigmoid']))


def test_the_numbers_of_an_evaluation_do_not_depend_on_the_end(tmp_path, capsys):
    logits, arrays = small()
    data = write_graded(tmp_path / 'data')
    reports = []
    for end in ('logits', 'softmax', 'Flatten behind'):
        prefix = write(
            tmp_path, mx.sym.FullyConnected(logits, num_hidden=4, no_bias=True, name='last'), arrays_of_four(arrays)
        )
        symbol = mx.sym.load(f'{prefix}-symbol.json')
        (tmp_path / 'net-symbol.json').write_text(ENDS[end](symbol).tojson())
        for crops in (1, 10):
            words = [str(data), '--prefix', str(prefix), '--image-size', '24', '--crops', str(crops), '--json']
            assert evaluate.main(words) == 0
            report = json.loads(capsys.readouterr().out)
            reports.append((crops, report['cross_entropy'], report['calibration_error'], report['top1']))
    for crops, *numbers in reports:
        np.testing.assert_allclose(numbers, next(rest for first, *rest in reports if first == crops), rtol=1e-5)


def arrays_of_four(arrays):
    return {**arrays, 'last_weight': np.random.RandomState(5).normal(0, 1, (4, 5)).astype('f')}


def fixed(side):
    """A network for one size of pictures: a dense layer behind a Flatten."""
    x = mx.sym.Convolution(mx.sym.var('data'), kernel=(5, 5), num_filter=2, no_bias=True, name='conv')
    x = mx.sym.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type='max')
    x = mx.sym.FullyConnected(mx.sym.Flatten(x), num_hidden=3, no_bias=True, name='fc')
    cells = ((side - 4) // 2) ** 2 * 2
    return x, {'conv_weight': np.ones((2, 3, 5, 5), 'f'), 'fc_weight': np.ones((3, cells), 'f')}


@pytest.mark.parametrize('side', [28, 32, 50, 224])
def test_a_network_for_one_size_tells_it(tmp_path, side, capsys):
    symbol, arrays = fixed(side)
    network = open_checkpoint(str(write(tmp_path, symbol, arrays)))
    assert (network.size, network.fixed, network.notes) == (side, True, [])
    assert network.predict(mx.nd.ones((2, 3, side, side))).shape == (2, 3)
    assert capsys.readouterr() == ('', '')  # nothing of mxnet's own


def sized(name):
    net = get_model(name)
    symbol = net.symbol()
    return picture_size(symbol, {n: p.shape for n, p in net.collect_params().items() if n in symbol.list_inputs()})


def test_other_networks_are_judged_by_how_much_they_shrink_pictures():
    assert sized('resnet18') == PictureSize(Size.of(224), False)
    assert sized('cifar_resnet8_v2') == PictureSize(Size.of(32), False)
    assert sized('densenet121_ibn_a') == PictureSize(Size.of(224), False)


def test_a_size_that_is_guessed_is_told_and_can_be_named(tmp_path, capsys):
    import cv2

    prefix = write(tmp_path, *small())
    cv2.imwrite(str(tmp_path / 'a.png'), np.random.RandomState(0).randint(0, 256, (40, 40, 3)).astype(np.uint8))
    words = ['--img', str(tmp_path / 'a.png'), '--prefix', str(prefix)]
    assert predict.main(words) == 0
    assert (
        'does not say the size of its pictures: 32 is taken for its layers (--image-size 32;' in capsys.readouterr().err
    )
    guessed = predict.main([*words, '--json']) or capsys.readouterr().out
    for size in ('32', '32x32'):
        assert predict.main([*words, '--json', '--image-size', size]) == 0
        assert capsys.readouterr() == (guessed, '')
    assert predict.main([*words, '--json', '--image-size', '32x16']) == 0
    assert capsys.readouterr().err == ''
    for size in ('big', '0x32', '10000000'):
        with pytest.raises(SystemExit):
            predict.main([*words, '--image-size', size])
        why = f"'{size}' must be a side, or height x width, of 1 to 16000 pixels, such as 224 or 256x128"
        assert why in capsys.readouterr().err


def test_a_fixed_network_takes_no_other_size(tmp_path, capsys):
    prefix = write(tmp_path, *fixed(32))
    (tmp_path / 'a.png').write_bytes(b'any')
    assert predict.main(['--img', str(tmp_path / 'a.png'), '--prefix', str(prefix), '--image-size', '40']) == 2
    assert '--image-size 40: --prefix' in capsys.readouterr().err


def test_the_handed_networks_of_fixed_size(shared):
    for side in (28, 32):
        network = open_checkpoint(str(shared / 'cases' / 'symbol_fixed_size' / f'lenet{side}'))
        assert (network.size, network.fixed) == (side, True)


@pytest.fixture
def face(tmp_path):
    """A network as insightface's: it normalises its pixels itself, and ends in a norm of 6 numbers."""
    x = (mx.sym.var('data') - 127.5) * 0.0078125
    x = mx.sym.Convolution(x, kernel=(3, 3), stride=(4, 4), num_filter=4, no_bias=True, name='conv')
    x = mx.sym.FullyConnected(mx.sym.Flatten(mx.sym.relu(x)), num_hidden=6, no_bias=True, name='pre_fc1')
    x = mx.sym.BatchNorm(x, fix_gamma=False, name='fc1')
    shapes, _, states = x.infer_shape(data=(1, 3, 112, 112))
    draw = np.random.RandomState(0)
    arrays = {n: draw.normal(0, 1, s).astype('f') for n, s in zip(x.list_arguments(), shapes) if n != 'data'}
    arrays.update({n: np.ones(s, 'f') for n, s in zip(x.list_auxiliary_states(), states)})
    return write(tmp_path, x, arrays)


def test_an_embedding_is_no_list_of_classes(face, tmp_path, capsys):
    import cv2

    pictures = [np.random.RandomState(i).randint(0, 256, (112, 112, 3)).astype(np.uint8) for i in range(3)]
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(tmp_path / f'{number}.png'), picture)
    words = ['--img', *(str(tmp_path / f'{i}.png') for i in range(3)), '--prefix', str(face)]
    assert predict.main(words) == 2
    assert 'ends in an embedding of 6 numbers, it has no classes: --features FILE.npz alone' in capsys.readouterr().err
    assert predict.main([*words, '--features', str(tmp_path / 'f.npz')]) == 0
    stored = np.load(tmp_path / 'f.npz')
    x = np.stack([picture[..., ::-1].transpose(2, 0, 1) for picture in pictures]).astype(np.float32)
    np.testing.assert_allclose(stored['embedding'], open_checkpoint(str(face)).predict(mx.nd.array(x)), rtol=1e-5)
    assert open_checkpoint(str(face)).size == 112
    assert evaluate.main([str(write_graded(tmp_path / 'data')), '--prefix', str(face)]) == 2
    assert 'it has no classes' in capsys.readouterr().err


def test_an_embedding_is_converted(face, tmp_path, capsys):
    from ibnnet_mx.cli import convert as command

    assert command.main([f'{face}-0000.params', str(tmp_path / 'other-0000.params'), '--check']) == 0
    assert 'an embedding of 6 numbers' in capsys.readouterr().out
    assert open_checkpoint(str(tmp_path / 'other')).embeds


@pytest.mark.parametrize('softmax', [False, True])
def test_a_classifier_that_ends_in_a_pooling_has_classes(tmp_path, softmax, capsys):
    """As NiN and SqueezeNet: a convolution to the classes, then a global mean."""
    x = mx.sym.Convolution(mx.sym.var('data'), kernel=(3, 3), stride=(2, 2), num_filter=4, no_bias=True, name='conv')
    x = mx.sym.Flatten(mx.sym.Pooling(mx.sym.relu(x), global_pool=True, kernel=(2, 2), pool_type='avg'))
    weights = {'conv_weight': np.random.RandomState(0).normal(0, 1, (4, 3, 3, 3)).astype('f')}
    prefix = write(tmp_path, mx.sym.softmax(x) if softmax else x, weights)
    assert evaluate.main([str(write_graded(tmp_path / 'data')), '--prefix', str(prefix), '--json']) == 0
    assert json.loads(capsys.readouterr().out)['count'] == 30
