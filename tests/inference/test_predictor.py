"""The Predictor of Python users: checkpoints, weights and ONNX files answer alike, from files and from pixels."""

import json

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import Predictor, checkpoint, convert, get_model
from ibnnet_mx.cli import predict
from ibnnet_mx.errors import OptionError
from ibnnet_mx.recordio.pixels.pictures import decode
from tests.record_sets import png, scene

NAMES = ['ant', 'bee', 'cow']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """net-0003.params with its facts, the same weights as a .params alone, and two pictures."""
    folder = tmp_path_factory.mktemp('predictor')
    mx.random.seed(3)
    net = get_model('cifar_resnet8_v2', 3)
    net.initialize()
    net(mx.nd.zeros((1, 3, 32, 32)))
    facts = checkpoint.Facts('cifar_resnet8_v2', {}, {}, network=net.norm_options, class_names=NAMES, epoch=3)
    checkpoint.Store(folder / 'net').write(net, facts)
    convert.save_safetensors(net, folder / 'net.safetensors')
    convert.to_onnx(net, folder / 'net.onnx', class_names=NAMES)
    for number in (0, 1):
        (folder / f'{number}.png').write_bytes(png(scene(number, 48, 64)))
    return folder


def test_it_answers_as_the_command_does(folder, capsys):
    files = [str(folder / f'{number}.png') for number in (0, 1)]
    results = Predictor.open(str(folder / 'net'), 3)(files, top=2)
    assert predict.main(['--img', *files, '--prefix', str(folder / 'net'), '--epoch', '3', '--json', '--top', '2']) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for result, line in zip(results, lines):
        assert [(label, name) for label, name, _ in result.top] == [(row['label'], row['name']) for row in line['top']]
        np.testing.assert_allclose([p for *_, p in result.top], [row['probability'] for row in line['top']])
        assert result.crop.shape == (32, 32, 3)
        assert {name for _, name, _ in result.top} <= set(NAMES)


def test_pixels_answer_as_the_file_that_holds_them(folder):
    predictor, path = Predictor.open(str(folder / 'net'), 3), folder / '0.png'
    pixels = np.ascontiguousarray(decode(path.read_bytes())[..., ::-1])
    ((_, crop, top, *_), (_, other_crop, other_top, *_)) = predictor([path, pixels])
    assert np.array_equal(crop, other_crop)
    assert top == other_top


def test_weights_and_onnx_answer_alike(folder):
    paths = [folder / '0.png', folder / '1.png']
    one = Predictor.open(str(folder / 'net'), 3, crop='resize')(paths)
    for other in (
        Predictor.open_weights(str(folder / 'net.safetensors')),
        Predictor.open_onnx(str(folder / 'net.onnx'), pixels='raw'),
    ):
        other.crop = 'resize'
        for mine, theirs in zip(one, other(paths)):
            np.testing.assert_allclose([p for *_, p in mine.top], [p for *_, p in theirs.top], atol=1e-5)


def test_nothing_answers_nothing(folder):
    assert Predictor.open(str(folder / 'net'), 3)([]) == []


@pytest.mark.parametrize('pixels', [np.zeros((4, 4), 'u1'), np.zeros((4, 4, 3), 'f'), np.zeros((0, 4, 3), 'u1')])
def test_what_is_no_picture_is_named(folder, pixels):
    with pytest.raises(ValueError, match=r'a picture must be uint8 \(H, W, 3\), '):
        Predictor.open(str(folder / 'net'), 3)([pixels])


def test_mistakes_name_options_as_python_does(folder):
    with pytest.raises(
        ValueError, match=r'net epoch 7: .*net-0007.params does not exist; choose one of the epochs 3 by `epoch`'
    ):
        Predictor.open(str(folder / 'net'), 7)
    with pytest.raises(OptionError, match="^explain_class='cov': .* no such class; did you mean cow"):
        Predictor.open(str(folder / 'net'), 3).explain('cov')
    with pytest.raises(OptionError, match='^onnx=.*cannot be read: no such file'):
        Predictor.open_onnx(str(folder / 'none.onnx'))
