import json

import numpy as np
import pytest

from ibnnet_mx import ndfile
from ibnnet_mx.cli import evaluate
from ibnnet_mx.recordio.format import RecordFile
from ibnnet_mx.recordio.pictures import decode


@pytest.fixture(scope='module')
def checkpoint(tiny_data, tmp_path_factory):
    from ibnnet_mx.cli import train

    path = tmp_path_factory.mktemp('evaluate')
    words = ['--recipe', 'digits', '--depth', '8', '--epochs', '1', '--batch-size', '16', '--data-dir', str(tiny_data)]
    assert train.main([*words, '--model-prefix', str(path / 'net'), '--log-file', str(path / 'net.log')]) == 0
    return path / 'net'


def run(checkpoint, data, capsys, *words):
    code = evaluate.main(['--prefix', str(checkpoint), '--epoch', '1', '--data-dir', str(data), *words])
    return code, capsys.readouterr()


@pytest.mark.parametrize('batch_size', ['1', '7', '100'])
def test_any_batch_size_gives_the_accuracy_of_training(checkpoint, tiny_data, capsys, batch_size):
    code, (out, _) = run(checkpoint, tiny_data, capsys, '--json', '--batch-size', batch_size)
    assert code == 0
    found, saved = json.loads(out), json.loads(checkpoint.with_name('net-0001.json').read_text())['metrics']
    assert found.pop('pictures') == len(RecordFile(tiny_data / 'cifar10_val.rec'))
    for name, value in found.items():
        assert abs(value - saved['validation'][name]) < 1e-5, name


def test_accuracy_is_that_of_predicting_each_picture(checkpoint, tiny_data, capsys):
    import mxnet as mx

    from ibnnet_mx import convert

    net, hits = convert.load_symbol(checkpoint, 1), 0
    facts = json.loads(checkpoint.with_name('net-0001.json').read_text())
    mean, std = (np.array(facts['pixels'][k]).reshape(1, 3, 1, 1) for k in ('mean', 'std'))
    records = RecordFile(tiny_data / 'cifar10_val.rec')
    for i in range(len(records)):
        item = records.read(i)
        picture = (decode(item.payload)[:, :, ::-1].transpose(2, 0, 1)[None] - mean) / std
        hits += int(net(mx.nd.array(picture)).asnumpy().argmax()) == int(item.label[0])
    _, (out, _) = run(checkpoint, tiny_data, capsys, '--json')
    assert json.loads(out)['accuracy'] == pytest.approx(hits / len(records))


def test_mistakes_are_one_line(checkpoint, tiny_data, tmp_path, capsys):
    for data, words, text in (
        (tmp_path, [], f'--data-dir {tmp_path} holds no cifar10_val.rec'),
        (tiny_data, ['--batch-size', '0'], '--batch-size 0 must be at least 1'),
        (tiny_data, ['--gpu', '0'], '--gpus 0: this machine'),
    ):
        code, (out, err) = run(checkpoint, data, capsys, *words)
        assert code == 2
        assert not out
        assert text in err
        assert len(err.strip().splitlines()) == 1


def test_damaged_weights_are_not_evaluated(checkpoint, tiny_data, tmp_path, capsys):
    for kind in ('symbol.json', '0001.params', '0001.json'):
        (tmp_path / f'net-{kind}').write_bytes(checkpoint.with_name(f'net-{kind}').read_bytes())
    data = bytearray((tmp_path / 'net-0001.params').read_bytes())
    data[5000] ^= 1
    ndfile.write(tmp_path / 'net-0001.params', bytes(data))
    code, (_, err) = run(tmp_path / 'net', tiny_data, capsys)
    assert code == 2
    assert 'net-0001.params is not the file that was saved: its checksum is wrong' in err
