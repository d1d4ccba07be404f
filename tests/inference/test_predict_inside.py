"""predict.py --explain, --compare and --shift: what is drawn lies on what the network saw; mistakes are one line."""

from __future__ import annotations

import json
import re

import cv2
import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import data, get_model, shift
from ibnnet_mx.cli import predict
from ibnnet_mx.files import atomic, params_file
from ibnnet_mx.report import explanations
from tests.goldens.generate import fill

CLASSES = 4


def write(prefix, symbol, arrays):
    prefix.with_name(f'{prefix.name}-symbol.json').write_text(symbol.tojson())
    atomic.write_file(prefix.with_name(f'{prefix.name}-0000.params'), params_file.encode_params(arrays))


def tiny(prefix, model, classes):
    net = get_model(model, classes)
    arrays = {name: fill(name, param.shape) for name, param in net.collect_params().items()}
    arrays['bn_data_running_mean'] += 120  # raw pixels
    arrays['bn_data_running_var'] += 3000
    write(prefix, net.symbol(), arrays)


def corners(prefix):
    """No network of the registry: class 0 is as red as the picture, 1 as green, 2 as blue."""
    x = mx.sym.Convolution(mx.sym.var('data'), kernel=(1, 1), num_filter=3, no_bias=True, name='conv')
    x = mx.sym.Pooling(mx.sym.relu(x), global_pool=True, kernel=(2, 2), pool_type='avg')
    x = mx.sym.FullyConnected(mx.sym.Flatten(x), num_hidden=3, no_bias=True, name='fc')
    eye = np.eye(3, dtype=np.float32)
    write(prefix, x, {'conv_weight': eye.reshape(3, 3, 1, 1), 'fc_weight': eye / 50})


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Checkpoints a-* of four classes, b-* of three, corners-*, flat-* without a convolution; pictures; names."""
    path = tmp_path_factory.mktemp('inside')
    tiny(path / 'a', 'cifar_resnet8_v2', CLASSES)
    tiny(path / 'b', 'cifar_resnet8_v2_ibn_a', 3)
    corners(path / 'corners')
    x = mx.sym.FullyConnected(mx.sym.mean(mx.sym.var('data'), axis=(2, 3)), num_hidden=3, no_bias=True, name='fc')
    write(path / 'flat', x, {'fc_weight': np.eye(3, dtype=np.float32)})
    draw = np.random.RandomState(0)
    cv2.imwrite(str(path / '0.png'), draw.randint(0, 256, (40, 50, 3), np.uint8))
    cv2.imwrite(str(path / '1.png'), cv2.resize(draw.randint(0, 256, (6, 6, 3), np.uint8), (64, 48)))
    (path / 'broken.jpg').write_bytes(b'no picture')
    (path / 'four.txt').write_text('ant\nbee\ncat\ncat\n')
    return path


@pytest.fixture
def run(folder, monkeypatch, tmp_path):
    """run('a', ...) -> exit code; of the words those that are names in `folder` are found there."""
    monkeypatch.chdir(tmp_path)

    def start(prefix, *words):
        there = [
            str(folder / word) if (folder / word).exists() or word in ('a', 'b', 'flat') else word for word in words
        ]
        return predict.main(['--prefix', str(folder / prefix), *there])

    return start


@pytest.fixture
def drawn(monkeypatch):
    """What explanations.draw_predictions() is asked for: {option: (results, seen, heat)}."""
    found = {}

    def draw(option, path, results, look):
        found[option], found['shift'] = (results, look.seen, look.heat), look.shift

    monkeypatch.setattr(explanations, 'draw_predictions', draw)
    return found


def rows(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize('kind', ['png', 'svg', 'pdf'])
def test_explanations_are_drawn(run, kind, tmp_path):
    more = ('--compare', 'b') if kind == 'png' else ()
    words = ('--img', '0.png', '1.png', '--plot', f'new/p.{kind}', '--explain', f'new/e.{kind}')
    assert run('a', *words, *more) == 0
    for name in ('p', 'e'):
        assert (tmp_path / 'new' / f'{name}.{kind}').stat().st_size > 5000
    if kind == 'png':
        shapes = [cv2.imread(str(tmp_path / 'new' / f'{name}.png')).shape for name in ('p', 'e')]
        assert shapes[0][0] < shapes[1][0]  # the scale of the heat
        assert shapes[0][1] * 7 == shapes[1][1] * 5  # picture, bars, bars; two overlays more


def test_the_heat_lies_where_the_network_looked(run, folder, drawn, tmp_path):
    """A green corner of the crop, not of the picture, whose middle two thirds alone are seen."""
    picture = np.zeros((224, 336, 3), np.uint8)
    picture[:40, 230:280, 1] = 250
    picture[:40, :50, 2] = 250  # red, out of sight
    cv2.imwrite(str(tmp_path / 'wide.png'), picture)
    assert run('corners', '--img', 'wide.png', '--explain', 'e.png', '--crop', 'center') == 0
    ((_, (view,)),), seen, heat = drawn['explain']
    assert (seen, heat, view.top[0][0], view.explained) == (True, True, 1, 'class 1')
    np.testing.assert_array_equal(view.crop, data.load_crop(tmp_path / 'wide.png', 224))
    np.testing.assert_allclose(view.heat, view.crop[:, :, 1] / (50 * 224 * 224), rtol=1e-5)
    moved = (explanations.overlay(view.crop, view.heat) != view.crop).any(axis=2)
    np.testing.assert_array_equal(moved, view.crop[:, :, 1] > 0)
    assert moved.any()
    assert not moved[:, :150].any()


def test_no_heat_leaves_the_pixels_alone():
    crop = np.random.RandomState(0).randint(0, 256, (16, 16, 3), np.uint8)
    for value in (0, np.nan):
        np.testing.assert_array_equal(explanations.overlay(crop, np.full((4, 4), value, np.float32)), crop)


def test_the_class_that_is_explained(run, drawn):
    heats = {}
    for wanted in ('0', '1', 'bee', None):
        more = () if wanted is None else ('--explain-class', wanted)
        assert run('a', '--img', '0.png', '--synset', 'four.txt', '--explain', 'e.png', *more) == 0
        view = drawn['explain'][0][0][1][0]
        heats[wanted] = view.heat
        assert view.explained == {'0': 'ant', None: view.top[0][1]}.get(wanted, 'bee')
    assert np.array_equal(heats['1'], heats['bee'])
    assert not np.array_equal(heats['0'], heats['1'])


def test_img_given_twice_is_all_of_them(run, capsys):
    assert run('a', '--img', '0.png', '--img', '1.png', '--json') == 0
    assert len(rows(capsys)) == 2


def test_a_checkpoint_beside_itself(run, folder, capsys, drawn):
    assert run('a', '--img', '0.png', '1.png', '--compare', 'a', '--json', '--explain', 'e.png') == 0
    for line in rows(capsys):
        assert list(line) == ['image', 'top', 'compare']
        assert line['compare'] == {'network': f'--compare {folder / "a"} --compare-epoch 0', 'top': line['top']}
    for _, (one, other) in drawn['explain'][0]:
        np.testing.assert_array_equal(one.heat, other.heat)
        np.testing.assert_array_equal(one.crop, other.crop)


def test_two_networks_say_what_each_says_alone(run, folder, capsys):
    """Their classes differ: the names are for the one that they fit."""
    words = ('--img', '0.png', '--synset', 'four.txt', '--json', '--top', '3')
    assert run('a', *words, '--compare', 'b') == 0
    (both,) = rows(capsys)
    assert run('a', *words) == 0
    assert run('b', *words[:2], *words[4:]) == 0
    one, other = rows(capsys)
    assert (both['top'], both['compare']['top']) == (one['top'], other['top'])
    assert {row['name'] for row in other['top']} == {'class 0', 'class 1', 'class 2'}
    assert run('a', *words[:2], '--compare', 'b') == 0
    told = capsys.readouterr().out
    labels = [f'By --prefix {folder / "a"} --epoch 0:', f'By --compare {folder / "b"} --compare-epoch 0:']
    assert [line for line in told.splitlines() if line.startswith('By ')] == labels
    assert told.count('Top1 result is') == 2


def test_a_shift_is_of_the_pixels_that_the_network_sees(run, folder, drawn, capsys, tmp_path):
    """As of evaluate.py: of the crop, drawn from the place among the files, those that cannot be read included."""
    words = ('--shift', 'gaussian_noise:3', '--json')
    assert run('a', '--img', 'broken.jpg', '0.png', *words, '--plot', 'p.png') == 1
    (shifted,) = rows(capsys)
    assert shifted['shift'] == drawn['shift'] == 'gaussian_noise:3'
    assert run('a', '--img', '0.png', *words[:2]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f'{folder}/0.png, gaussian_noise:3'
    ((_, (view,)),), seen, heat = drawn['plot']
    assert (seen, heat) == (True, False)
    crop = data.load_crop(folder / '0.png', 32, 'resize')
    np.testing.assert_array_equal(view.crop, shift.apply(crop[None], [1], 'gaussian_noise', 3)[0])
    cv2.imwrite(str(tmp_path / 'noisy.png'), view.crop[:, :, ::-1])
    assert run('a', '--img', 'noisy.png', '--json') == 0
    assert rows(capsys)[0]['top'] == shifted['top']
    assert run('a', '--img', 'broken.jpg', '0.png', *words, '--plot', 'p.png', '--seed', '5') == 1
    again = drawn['plot'][0][0][1][0].crop
    np.testing.assert_array_equal(again, shift.apply(crop[None], [1], 'gaussian_noise', 3, 5)[0])


def test_networks_that_cannot_be_explained(run, folder, capsys, tmp_path):
    from ibnnet_mx.cli import convert

    assert convert.main([str(folder / 'a-0000.params'), str(tmp_path / 'net.onnx')]) == 0
    capsys.readouterr()
    words = ['--img', str(folder / '0.png'), '--explain', 'e.png']
    assert predict.main([*words, '--onnx', 'net.onnx']) == 2
    text = 'predict: --explain: --onnx net.onnx gives no gradients, which Grad-CAM needs; '
    assert capsys.readouterr() == (
        '',
        text + 'open the checkpoint or weights that it was made from, by --prefix or --weights\n',
    )
    assert run('flat', *words, '--image-size', '224') == 2
    text = f'predict: --explain: --prefix {folder / "flat"} --epoch 0: no maps of several pixels lie between a '
    assert capsys.readouterr() == ('', text + 'convolution and its logits at 224x224\n')


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        (('--explain', 'e.bmp'), '--explain e.bmp: the name must end in .png, .svg, .pdf'),
        (('--explain', '/proc/e.png'), '--explain /proc/e.png cannot be written: '),
        (('--explain', 'a.png', '--plot', 'a.png'), '--explain a.png is the file of --plot too: name another'),
        (('--explain-class', '1'), '--explain-class 1 needs --explain'),
        (
            ('--explain', 'e.png', '--explain-class', '4'),
            '--explain-class 4: .* has no such class; use a name, or a numb',
        ),
        (('--explain', 'e.png', '--explain-class', 'bea'), '--explain-class bea: .* no such class; did you mean bee?'),
        (('--explain', 'e.png', '--explain-class', 'cat'), '--explain-class cat: 2 classes of .* have that name'),
        (
            ('--compare', 'b', '--explain', 'e.png', '--explain-class', '3'),
            '--explain-class 3: --compare .*b --compare-epoch 0 has no such class',
        ),
        (('--compare', 'nowhere'), '--compare nowhere: there is no checkpoint nowhere-NNNN.params'),
        (('--compare', 'a', '--compare-epoch', '3'), '--compare .*a --compare-epoch 3: .*a-0003.params does not exist'),
        (('--compare-epoch', '3'), '--compare-epoch 3 needs --compare'),
        (('--compare', 'damaged'), '--compare damaged: damaged-0000.params '),
        (('--shift', 'fog'), '--shift fog is 5 shifts: name one, with its severity, such as fog:3'),
        (('--shift', 'fog:3,blur:1'), '--shift fog:3,blur:1 is 5 shifts: name one'),
        (('--shift', 'fog:9'), "--shift fog:9: severity '9'"),
        (('--shift', ''), '--shift '),
        (('--shift', 'fog:1', '--seed', '-1'), '--seed -1 must be at least 0'),
        (('--seed', '1'), '--seed 1 is the seed of --shift: add --shift'),
    ],
)
def test_mistakes_are_one_line(run, capsys, tmp_path, words, text):
    for name in ('symbol.json', '0000.params'):
        (tmp_path / f'damaged-{name}').write_bytes(b'{}')
    assert run('a', '--img', '0.png', '--synset', 'four.txt', *words) == 2
    err = capsys.readouterr().err
    assert len(err.strip().splitlines()) == 1
    assert re.search(text, err)


@pytest.mark.parametrize('option', ['--explain', '--plot'])
def test_a_drawing_replaces_no_picture(run, folder, capsys, option):
    before = (folder / '0.png').read_bytes()
    assert run('a', '--img', '0.png', option, str(folder / '.' / '0.png')) == 2
    assert 'would replace what is read from' in capsys.readouterr().err
    assert (folder / '0.png').read_bytes() == before


def test_names_that_fit_neither_network(run, capsys, tmp_path):
    (tmp_path / 'five.txt').write_text('1\n2\n3\n4\n5\n')
    assert run('a', '--img', '0.png', '--compare', 'b', '--synset', 'five.txt') == 1
    assert '--synset five.txt has 5 names and the networks 3 and 4 classes' in capsys.readouterr().err
