"""Archives of SageMaker and AutoGluon: the newest epoch comes out, and nothing else is unpacked."""

from __future__ import annotations

import os

import numpy as np
import pytest

from ibnnet_mx.cli import convert as command
from ibnnet_mx.convert import archive
from ibnnet_mx.files import params_file
from tests.convert.networks import arrays_of, filled, write_checkpoint
from tests.picture_sets import tar_of

MODEL = 'cifar_resnet8_v2'


@pytest.fixture
def files(tmp_path):
    """The files of a network, {name: bytes}, with an older epoch beside the newest."""
    net = filled(MODEL)
    write_checkpoint(tmp_path, net.symbol(), arrays_of(net))
    symbol, arrays = ((tmp_path / f'net-{end}').read_bytes() for end in ('symbol.json', '0000.params'))
    twice = {name: 2 * array for name, array in params_file.read_params(tmp_path / 'net-0000.params').items()}
    older = params_file.encode_params(twice)
    return {
        'image-classification-symbol.json': symbol,
        'image-classification-0003.params': older,
        './image-classification-0012.params': arrays,
        'model-shapes.json': b'[]',
        '../evil': b'evil',
    }


@pytest.mark.parametrize('name', ['model.tar.gz', 'model.tgz', 'model.tar'])
def test_the_newest_epoch_of_an_archive_is_converted(tmp_path, files, name, capsys):
    src = str(tar_of(tmp_path / name, files, 'w' if name.endswith('.tar') else 'w:gz'))
    assert command.main([src, str(tmp_path / 'out.safetensors'), '--own-names', '--check']) == 0
    assert MODEL in capsys.readouterr().out
    from safetensors.numpy import load_file

    loaded = load_file(str(tmp_path / 'out.safetensors'))
    np.testing.assert_array_equal(loaded['fc1_weight'], arrays_of(filled(MODEL))['fc1_weight'])
    assert not (tmp_path.parent / 'evil').exists()


def refused(path, capsys):
    assert command.main([path, str(os.path.dirname(path)) + '/out.pth']) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'ibnnet_mx-' not in line  # the temporary folder
    return line


def test_what_is_no_archive_of_one_network_is_refused(tmp_path, files, capsys, monkeypatch):
    del files['image-classification-symbol.json']
    text = 'must hold one network, NAME-symbol.json with NAME-0000.params; it holds none'
    assert text in refused(str(tar_of(tmp_path / 'a.tar.gz', files, 'w:gz')), capsys)
    whole = str(tar_of(tmp_path / 'b.tar', {'x-symbol.json': b'{}', 'x-0000.params': bytes(9999)}))
    assert f'{tmp_path}/b.tar' in refused(whole, capsys)
    monkeypatch.setattr(archive, 'GROWTH', 0)
    monkeypatch.setattr(archive, 'LEAST', 9000)
    assert 'bytes when it is unpacked, or is sparse: unpack it yourself' in refused(whole, capsys)
