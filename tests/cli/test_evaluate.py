import json
import tarfile

import numpy as np
import pytest

from ibnnet_mx.cli import evaluate
from ibnnet_mx.files import atomic
from ibnnet_mx.recordio.format import RecordFile
from ibnnet_mx.recordio.pixels.pictures import decode


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
    assert found['count'] == len(RecordFile(tiny_data / 'cifar10_val.rec'))
    assert abs(found['top1'] - saved['validation']['accuracy']) < 1e-9
    assert abs(found['cross_entropy'] - saved['validation']['cross-entropy']) < 1e-5


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
    assert json.loads(out)['top1'] == pytest.approx(hits / len(records))


def test_mistakes_are_one_line(checkpoint, tiny_data, tmp_path, capsys):
    for data, words, text in (
        (tmp_path, [], str(tmp_path)),
        (tiny_data, ['--weights', 'x.pth'], '--prefix and --weights given: name one'),
        (tiny_data, ['--model', 'resnet18'], '--model resnet18 belongs to --weights'),
        (tiny_data, ['--norm', 'gn'], '--norm gn belongs to --weights'),
        (tiny_data, ['--norm-args', 'groups=8'], '--norm-args groups=8 needs --norm: add it'),
        (tiny_data, [str(tiny_data)], f'DATA: name one place of pictures; {tiny_data} and {tiny_data} given'),
        (tiny_data, ['--crops', '3'], '--crops 3'),
        (tiny_data, ['--batch-size', '0'], '--batch-size 0 must be at least 1'),
        (tiny_data, ['--gpu', '0'], '--gpu 0: this machine'),
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
    atomic.write_file(tmp_path / 'net-0001.params', bytes(data))
    code, (_, err) = run(tmp_path / 'net', tiny_data, capsys)
    assert code == 2
    assert 'net-0001.params is not the file that was saved: its checksum is wrong' in err


def evaluated(words, capsys):
    assert evaluate.main([str(word) for word in words]) == 0
    out, err = capsys.readouterr()
    return json.loads(out), err


def test_weights_and_onnx_are_evaluated_as_the_checkpoint(checkpoint, tiny_data, tmp_path, capsys):
    from ibnnet_mx.cli import convert

    wanted, _ = evaluated([tiny_data, '--prefix', checkpoint, '--epoch', 1, '--json'], capsys)
    for name in ('net.pth', 'net.onnx'):
        assert convert.main([str(checkpoint) + '-0001.params', str(tmp_path / name)]) == 0
        capsys.readouterr()
        option = '--onnx' if name.endswith('.onnx') else '--weights'
        found, _ = evaluated([tiny_data, option, tmp_path / name, '--json'], capsys)
        assert (found['top1'], found['top5'], found['count']) == (wanted['top1'], wanted['top5'], wanted['count'])
        assert found['cross_entropy'] == pytest.approx(wanted['cross_entropy'], rel=1e-4)


def test_the_text_names_the_classes(checkpoint, tiny_data, capsys):
    assert evaluate.main([str(tiny_data), '--prefix', str(checkpoint), '--epoch', '1', '--per-class']) == 0
    out = capsys.readouterr().out
    assert 'top-1' in out
    assert 'standing' in out


@pytest.fixture(scope='module')
def cifar10_test(shared, tmp_path_factory):
    """The 10,000 test pictures as class folders."""
    folder = tmp_path_factory.mktemp('cifar10')
    with tarfile.open(shared / 'data' / 'cifar10_jpg.tar.gz') as archive:
        members = [m for m in archive if m.name.startswith('test/') and m.isfile() and m.name.endswith('.jpg')]
        assert len(members) == 10000
        for member in members:
            path = folder / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.extractfile(member).read())
    return folder / 'test'


@pytest.mark.parametrize(('file', 'right', 'right5'), [('resnet20.th', 8103, 9872), ('resnet56.th', 8320, 9895)])
def test_published_weights_on_the_pictures_of_cifar10(shared, cifar10_test, file, right, right5, capsys):
    """Real weights (option A, published errors 8.27 % and 6.61 % on lossless pictures) on JPEGs of quality 75."""
    found, err = evaluated([cifar10_test, '--weights', shared / 'data' / 'weights' / file, '--json'], capsys)
    assert not err
    assert found['count'] == 10000
    # no pair of logits that decides a picture is nearer than 9e-4 (of 30), so that rounding changes no count
    assert (found['top1'] * 10000, found['top5'] * 10000) == (right, right5)
