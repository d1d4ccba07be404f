import json
import subprocess
import sys
from pathlib import Path

import cv2
import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import get_model
from ibnnet_mx.cli import predict
from ibnnet_mx.files import atomic, params_file
from tests.goldens.generate import fill

ROOT = Path(__file__).resolve().parents[2]
CLASSES = 4


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Seed-style checkpoints without a .json (epoch 0): small-*, a CIFAR net; and pictures a.png, b.jpg, broken.jpg."""
    path = tmp_path_factory.mktemp('predict')
    net = get_model('cifar_resnet8_v2', classes=CLASSES)
    arrays = {}
    for name, param in net.collect_params().items():
        values = fill(name, param.shape)
        if name == 'bn_data_running_mean':
            values += 120  # raw pixels
        if name == 'bn_data_running_var':
            values += 3000
        arrays[('aux:' if 'running' in name else 'arg:') + name.replace('running', 'moving')] = values
    text = mx.sym.SoftmaxOutput(net(mx.sym.var('data')), name='softmax').tojson().replace('running_', 'moving_')
    (path / 'small-symbol.json').write_text(text)
    atomic.write_file(path / 'small-0000.params', params_file.encode_params(arrays))
    draw = np.random.RandomState(0)
    cv2.imwrite(str(path / 'a.png'), draw.randint(0, 256, (40, 50, 3), np.uint8))
    cv2.imwrite(str(path / 'b.jpg'), cv2.resize(draw.randint(0, 256, (6, 6, 3), np.uint8), (80, 60)))
    (path / 'broken.jpg').write_bytes((path / 'b.jpg').read_bytes()[:600])
    (path / 'synset.txt').write_text('ant\nbee\ncat\ndog\n')
    (path / 'short.txt').write_text('ant\nbee\n')
    return path


def run(folder, *words):
    return predict.main(['--prefix', str(folder / 'small'), *map(str, words)])


def test_the_seeds_convention(folder, capsys):
    """RGB, raw 0..255, plain resize to the CIFAR net's 32, epoch 0."""
    assert run(folder, '--img', folder / 'b.jpg', '--json', '--top', CLASSES) == 0
    line = json.loads(capsys.readouterr().out)
    picture = cv2.resize(cv2.imread(str(folder / 'b.jpg')), (32, 32), interpolation=cv2.INTER_AREA)
    from ibnnet_mx import convert

    net = convert.load_symbol(folder / 'small', 0)
    logits = net(mx.nd.array(picture[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32))).asnumpy()[0]
    wanted = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    assert line['image'] == str(folder / 'b.jpg')
    assert {row['label']: row['name'] for row in line['top']} == {i: f'class {i}' for i in range(CLASSES)}
    found = [row['probability'] for row in sorted(line['top'], key=lambda row: row['label'])]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    assert [row['probability'] for row in line['top']] == sorted(found, reverse=True)


@pytest.mark.parametrize(
    ('text', 'count'),
    [('', 0), ('ant\n', 1), ('a\x0cb\nc\nd\n', 3), ('a\nb\nc\nd\ne\n\n', 5), ('\ufeffa\u2028\nb\nc\n', 3)],
)
def test_a_synset_of_another_length_is_told(folder, text, count, tmp_path, capsys):
    (tmp_path / 'names.txt').write_text(text, encoding='utf-8')
    assert run(folder, '--img', folder / 'a.png', '--synset', tmp_path / 'names.txt') == 1
    assert (
        f'names.txt has {count} names and the network 4 classes: its own names, or numbers, are'
        in capsys.readouterr().err
    )


def test_names_are_as_an_editor_shows_them(folder, tmp_path, capsys):
    (tmp_path / 'names.txt').write_text('\ufeffant\r\na\x0cb\r\nc\u2028d\r\n', encoding='utf-8')
    with (tmp_path / 'names.txt').open('a') as file:
        file.write('dog')
    words = ('--synset', tmp_path / 'names.txt', '--json', '--top', 4)
    assert run(folder, '--img', folder / 'a.png', *words) == 0
    named = {row['label']: row['name'] for row in json.loads(capsys.readouterr().out)['top']}
    assert named == {0: 'ant', 1: 'a\ufffdb', 2: 'c\u2028d', 3: 'dog'}


def test_text_and_names(folder, capsys):
    assert run(folder, '--img', folder / 'a.png', '--synset', folder / 'synset.txt', '--top', 3) == 0
    out = capsys.readouterr().out
    assert 'Top1 result is: ' in out
    assert 'Top3 result is:' in out
    assert sum(name in out.split('Top3')[1] for name in ('ant', 'bee', 'cat', 'dog')) == 3


def test_a_folder_goes_through_and_what_cannot_be_read_is_said(folder, capsys):
    assert run(folder, '--img', folder, folder / 'gone.png', '--json') == 1
    out, err = capsys.readouterr()
    assert [Path(json.loads(line)['image']).name for line in out.splitlines()] == ['a.png', 'b.jpg']
    lines = err.strip().splitlines()
    assert len(lines) == 2
    assert 'broken.jpg is truncated' in lines[0]
    assert 'gone.png cannot be read: No such file or directory' in lines[1]


@pytest.mark.parametrize(
    ('names', 'text'),
    [
        ('short.txt', 'short.txt has 2 names and the network 4 classes'),
        ('none.txt', 'none.txt cannot be read: No such'),
    ],
)
def test_a_names_file_that_does_not_fit(folder, capsys, names, text):
    assert run(folder, '--img', folder / 'a.png', '--synset', folder / names) == 1
    out, err = capsys.readouterr()
    assert 'Top1 result is: class ' in out
    assert text in err


def test_default_names_only_where_their_length_fits(folder, capsys):
    words = ['--prefix', str(folder / 'small'), '--img', str(folder / 'a.png')]
    assert predict.main(words, default_names=folder / 'synset.txt') == 0
    assert 'class' not in capsys.readouterr().out
    assert predict.main(words, default_names=ROOT / 'predict' / 'synset.txt') == 0
    assert 'class ' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        (['--img', 'a.png', '--epoch', '3'], '--epoch 3: .*small-0003.params does not exist'),
        (['--img', 'a.png', '--top', '0'], '--top 0 must be at least 1'),
        (['--img', 'a.png', '--plot', 'x.bmp'], '--plot x.bmp: the name must end in .png'),
        (['--img', 'empty'], '--img .*empty has no pictures in it'),
    ],
)
def test_mistakes_are_one_line(folder, capsys, words, text):
    (folder / 'empty').mkdir(exist_ok=True)
    words = [str(folder / word) if word in ('a.png', 'empty') else word for word in words]
    assert run(folder, *words) == 2
    out, err = capsys.readouterr()
    assert not out
    assert len(err.strip().splitlines()) == 1
    import re

    assert re.search(text, err)


def test_a_gpu_that_is_not_there_is_said_and_the_cpu_used(folder, capsys):
    assert run(folder, '--img', folder / 'a.png', '--gpu', 0) == 0
    assert '--gpu 0: there is no such GPU, running on the CPU' in capsys.readouterr().err


def test_plot(folder, tmp_path):
    target = tmp_path / 'new' / 'bars.png'
    assert run(folder, '--img', folder / 'a.png', folder / 'b.jpg', '--plot', target) == 0
    assert cv2.imread(str(target)).std() > 10


@pytest.mark.parametrize('damage', ['truncate', 'other bytes'])
def test_damaged_weights_are_refused(folder, capsys, tmp_path, damage):
    for name in ('small-symbol.json', 'small-0000.params'):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    data = (tmp_path / 'small-0000.params').read_bytes()
    (tmp_path / 'small-0000.params').write_bytes(data[:-50] if damage == 'truncate' else b'PK' + data[2:])
    assert run(tmp_path, '--img', folder / 'a.png') == 2
    assert 'small-0000.params' in capsys.readouterr().err


def test_the_script_as_the_seeds_page_calls_it(folder):
    words = [sys.executable, '-u', 'predict.py', '--img', str(folder / 'a.png'), '--prefix', str(folder / 'small')]
    done = subprocess.run([*words, '--gpu', '0'], cwd=ROOT / 'predict', capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('result is:') == 2


def features(words, path, code=0):
    assert predict.main([*map(str, words), '--features', str(path), '--json']) == code
    found = np.load(path)
    return found['embedding'], list(found['files']), str(found['model'])


def test_features_are_what_the_classifier_is_fed(folder, tmp_path, capsys):
    pictures = [folder / 'a.png', folder / 'b.jpg']
    rows, files, model = features(['--prefix', folder / 'small', '--img', *pictures], tmp_path / 'out.npz')
    assert (rows.shape, files, model) == ((2, 64), [str(p) for p in pictures], 'cifar_resnet8_v2')
    net = get_model('cifar_resnet8_v2', classes=CLASSES)
    arrays = {n.split(':')[1]: a for n, a in params_file.read_params(folder / 'small-0000.params').items()}
    from ibnnet_mx import convert

    convert.load_mxnet(net, arrays)
    logits = net.output(mx.nd.array(rows)).asnumpy()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line['top'][0]['label'] for line in lines] == logits.argmax(axis=1).tolist()


def test_pictures_that_cannot_be_read_have_no_features(folder, tmp_path, capsys):
    words = ['--prefix', folder / 'small', '--img', folder / 'broken.jpg', folder / 'b.jpg']
    rows, files, _ = features(words, tmp_path / 'out.npz', code=1)
    assert (len(rows), files) == (1, [str(folder / 'b.jpg')])


def test_weights_and_onnx_predict_as_the_checkpoint(folder, tmp_path, capsys):
    from ibnnet_mx.cli import convert

    outs = []
    for name in (None, 'net.pth', 'net.onnx'):
        words = ['--prefix', folder / 'small']
        if name is not None:
            assert convert.main([str(folder / 'small-0000.params'), str(tmp_path / name)]) == 0
            words = ['--onnx' if name.endswith('onnx') else '--weights', tmp_path / name]
        capsys.readouterr()
        assert predict.main([*map(str, words), '--img', str(folder / 'b.jpg'), '--json', '--crop', 'resize']) == 0
        outs.append([row['label'] for row in json.loads(capsys.readouterr().out)['top']])
    assert outs[0] == outs[1] == outs[2]


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        (['--features', 'out.txt'], '--features out.txt: the name must end in .npz'),
        (['--features', '/proc/none/out.npz'], '--features /proc/none/out.npz cannot be written: '),
        (['--weights', 'x.pth'], '--prefix and --weights given: name one'),
        (['--model', 'resnet18'], '--model resnet18 belongs to --weights: --prefix describes its network itself'),
    ],
)
def test_mistakes_about_the_network(folder, words, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(folder, '--img', folder / 'b.jpg', *words) == 2
    assert text in capsys.readouterr().err


def test_no_network_at_all(folder, capsys):
    assert predict.main(['--img', str(folder / 'b.jpg')]) == 2
    assert 'no network given: name one, by --prefix and --epoch, by --model and --weights, or by --onnx' in (
        capsys.readouterr().err
    )


def test_an_epoch_belongs_to_a_prefix(folder, capsys):
    assert predict.main(['--img', str(folder / 'b.jpg'), '--weights', 'x.pth', '--epoch', '3']) == 2
    assert '--epoch 3 belongs to --prefix: --weights has no epochs' in capsys.readouterr().err


def test_a_network_that_gives_no_numbers(folder, tmp_path, capsys):
    arrays = params_file.read_params(folder / 'small-0000.params')
    arrays['arg:fc1_bias'] = np.full(CLASSES, np.nan, np.float32)
    atomic.write_file(tmp_path / 'nan.params', params_file.encode_params(arrays))
    assert predict.main(['--img', str(folder / 'b.jpg'), '--weights', str(tmp_path / 'nan.params'), '--json']) == 1
    out, err = capsys.readouterr()
    assert {row['probability'] for row in json.loads(out)['top']} == {None}
    assert 'the network gives no numbers (NaN)' in err


@pytest.mark.parametrize('facts', [{'class_names': '5'}, {'pixels': '{"mean": [0], "std": [0]}'}])
def test_onnx_files_with_other_metadata(folder, facts, tmp_path, capsys):
    onnx = pytest.importorskip('onnx')
    from ibnnet_mx.cli import convert

    assert convert.main([str(folder / 'small-0000.params'), str(tmp_path / 'net.onnx')]) == 0
    model = onnx.load(str(tmp_path / 'net.onnx'))
    onnx.helper.set_model_props(model, facts)
    onnx.save(model, str(tmp_path / 'net.onnx'))
    capsys.readouterr()
    assert predict.main(['--img', str(folder / 'b.jpg'), '--onnx', str(tmp_path / 'net.onnx')]) == 2
    assert 'its metadata are damaged or of another program' in capsys.readouterr().err
