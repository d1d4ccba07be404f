"""ibnnet convert: what it writes and its mistakes."""

import json
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import models
from ibnnet_mx.cli import convert as command
from ibnnet_mx.convert import torch_file
from tests.convert.networks import arrays_of, equal, filled, official, write_checkpoint


@pytest.fixture(scope='module')
def pth(tmp_path_factory):
    path = tmp_path_factory.mktemp('pth') / 'weights.pth'
    torch_file.write_torch(path, {f'module.{k}': a for k, a in official('cifar_resnet20_v1a').items()})
    return path


def run(*words):
    return command.main([str(word) for word in words])


@pytest.mark.parametrize(
    ('dst', 'words'),
    [
        ('net-0003.params', []),
        ('net.pth', []),
        ('net.safetensors', []),
        ('net.safetensors', ['--own-names']),
        ('net.onnx', ['--with-preprocess']),
        ('net.onnx', ['--fixed-batch', '--size', '48']),
    ],
)
def test_command(pth, dst, words, tmp_path, capsys):
    assert run(pth, tmp_path / dst, '--check', *words) == 0
    out = capsys.readouterr().out
    assert f'{dst}: cifar_resnet20_v1a, 10 classes' in out
    assert 'of the largest' in out
    if dst.endswith('.params'):
        facts = json.loads((tmp_path / 'net-0003.json').read_text())
        assert (facts['model'], facts['pixels']['mean']) == ('cifar_resnet20_v1a', list(models.IMAGENET.mean))
        assert run(tmp_path / dst, tmp_path / 'back.pth') == 0
        again, first = torch_file.read_torch(tmp_path / 'back.pth'), torch_file.read_torch(pth)
        assert equal(again, {k[len('module.') :]: a for k, a in first.items()})


def test_command_with_a_new_head_and_from_plain(pth, tmp_path, capsys):
    assert run(pth, tmp_path / 'net-0000.params', '--classes', 3, '--new-head') == 0
    assert 'a new classifier of 3 classes replaces the one of 10' in capsys.readouterr().err
    words = [pth, tmp_path / 'ibn-0000.params', '--model', 'cifar_resnet20_v1a_ibn_a', '--init-from-plain', '--check']
    assert run(*words) == 0
    assert 'from the plain network' in capsys.readouterr().err


def test_a_size_beyond_the_limit_is_refused(capsys):
    with pytest.raises(SystemExit):
        command.main(['a.pth', 'x.onnx', '--size', '100000'])
    assert "'100000' must be a side, or height x width, of 1 to 16000 pixels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        (['{pth}', 'x.pkl'], 'DST x.pkl must end in .pth, .safetensors, .onnx or -0000.params'),
        (['{pth}', 'x.params'], 'DST x.params must end in an epoch of four digits, such as x-0000.params'),
        (['{pth}', 'x.pth', '--size', '64'], '--image-size is for .onnx files, but DST is x.pth'),
        (['{pth}', 'x.onnx', '--own-names'], '--own-names is for .safetensors files'),
        (['{pth}', 'x.pth', '--pixels', 'raw'], '--pixels raw: a .pth file cannot hold the normalisation'),
        (['{pth}', 'x.pth', '--new-head'], '--new-head needs --classes'),
        (['{pth}', 'x.pth', '--classes', '5'], r'10 classes, not 5: --new-head'),
        (
            ['{pth}', 'x.pth', '--model', 'resnet18'],
            'weights.pth fits cifar_resnet20_v1a, not resnet18: the weights do not fit the network, 131 faults',
        ),
        (['none.pth', 'x.pth'], 'none.pth cannot be read: No such file or directory'),
        (['{pth}', 'none/x.pth'], 'none/x.pth'),
        (['published', 'x.pth'], '--weights published needs --model'),
    ],
)
def test_mistakes_of_the_command_are_one_line(pth, words, text, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*(word.format(pth=pth) for word in words)) == 2
    err = capsys.readouterr().err
    assert text in err
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_is_not_written_over(pth, tmp_path, capsys):
    assert run(pth, tmp_path / 'net-0001.params') == 0
    before = contents(tmp_path)
    assert run(pth, tmp_path / 'net-0001.params') == 2
    assert 'net-0001.params: this checkpoint exists already; name another prefix or epoch' in capsys.readouterr().err
    assert run(pth, tmp_path / 'net-0002.params', '--classes', 3, '--new-head') == 2
    assert 'net-symbol.json belongs to another network; name another prefix' in capsys.readouterr().err
    assert run(pth, pth) == 2
    assert 'is the same file as SRC: name another file' in capsys.readouterr().err
    assert contents(tmp_path) == before


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_symbol_that_is_no_network_of_the_registry_keeps_its_graph(tmp_path, capsys):
    """Its weights alone would be taken for the network whose names and shapes they have."""
    net = filled('cifar_resnet8', last_stride=1)
    write_checkpoint(tmp_path, net(mx.sym.var('data')), arrays_of(net))
    src = tmp_path / 'net-0000.params'
    for name in ('a.pth', 'a.safetensors'):
        assert run(src, tmp_path / name) == 2
        assert 'weights alone do not say which network this is; write ONNX or a checkpoint' in capsys.readouterr().err
    for name in ('a.onnx', 'copy-0000.params'):
        assert run(src, tmp_path / name, '--check', *(['--size', 32] if name.endswith('onnx') else [])) == 0


@pytest.mark.parametrize('layer', ['dense without bias', 'parameters of other names'])
def test_symbols_from_elsewhere(layer, tmp_path, capsys):
    data = mx.sym.Flatten(mx.sym.Pooling(mx.sym.var('data'), global_pool=True, pool_type='avg', kernel=(1, 1)))
    if layer == 'dense without bias':
        logits = mx.sym.FullyConnected(data, num_hidden=7, no_bias=True, name='last')
        arrays = {'last_weight': np.ones((7, 3), np.float32)}
    else:
        logits = mx.sym.dot(data, mx.sym.var('W0'))
        arrays = {'W0': np.ones((3, 7), np.float32)}
    write_checkpoint(tmp_path, logits, arrays)
    assert run(tmp_path / 'net-0000.params', tmp_path / 'net.onnx', '--check') == 0
    assert '7 classes' in capsys.readouterr().out


def test_the_module_is_the_command(pth, tmp_path):
    words = [sys.executable, '-m', 'ibnnet_mx', 'convert', str(pth), str(tmp_path / 'net.onnx'), '--check']
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert 'net.onnx: cifar_resnet20_v1a, 10 classes' in done.stdout
    assert not done.stderr
