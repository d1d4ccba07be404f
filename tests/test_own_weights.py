"""The weights that come along: whole, described, and as good as their cards say."""

import hashlib
import json
import shutil

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import get_model, hub
from ibnnet_mx.files import download
from ibnnet_mx.inference import opening
from ibnnet_mx.models import published
from tests.cli import test_train
from tests.conftest import ROOT
from tests.goldens.generate import pictures

run = test_train.run
SAMPLE, MARGIN = 1000, 0.035  # test pictures; three standard errors of an accuracy of 86 %
KEYS = {'data', 'recipe', 'command', 'seed', 'accuracy', 'corrupted_accuracy', 'class_names', 'pixels', 'licence'}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(url, *_):
        raise AssertionError(f'{url} was asked for')

    monkeypatch.setattr(download, 'fetch', refuse)


@pytest.mark.parametrize('name', published.OWN)
def test_each_has_a_card(name):
    card, content = hub.card(name), (hub.OWN_FOLDER / f'{name}.params').read_bytes()
    assert card.keys() >= KEYS
    assert (card['model'], card['bytes'], len(card['class_names'])) == (name, len(content), 10)
    assert hashlib.sha256(content).hexdigest() == card['sha256']
    assert 0.8 < card['accuracy'] < 0.95
    assert card['corrupted_accuracy'] < card['accuracy']


def test_they_are_small():
    assert sum(path.stat().st_size for path in hub.OWN_FOLDER.iterdir()) < 8e6


@pytest.mark.parametrize('name', published.OWN)
def test_they_are_loaded_without_a_network(name):
    golden = json.loads((ROOT / 'tests' / 'goldens' / 'own_weights.json').read_text())[name]
    logits = get_model(name, pretrained=True)(mx.nd.array(pictures(32))).asnumpy()
    np.testing.assert_allclose(logits, golden, rtol=1e-4, atol=1e-4)
    assert name in hub.models.list_models(pretrained=True)


def test_another_number_of_classes_needs_a_new_head():
    name = published.OWN[0]
    with pytest.raises(ValueError, match=r'has 10 classes, not 5: .* ibnnet_mx.hub.load\(net, .* new_head=True\)'):
        get_model(name, classes=5, pretrained=True)
    net = get_model(name, classes=5)
    hub.load(net, name, new_head=True)
    assert net.collect_params()['fc1_weight'].data().shape[0] == 5


def test_a_damaged_file_is_refused(tmp_path, monkeypatch):
    name = published.OWN[0]
    for kind in ('params', 'json'):
        shutil.copy(hub.OWN_FOLDER / f'{name}.{kind}', tmp_path)
    monkeypatch.setattr(hub, 'OWN_FOLDER', tmp_path)
    with open(tmp_path / f'{name}.params', 'r+b') as file:
        file.truncate(1000)
    with pytest.raises(ValueError, match=rf'{name}\.params is damaged: install ibnnet_mx again'):
        get_model(name, pretrained=True)
    (tmp_path / f'{name}.params').unlink()
    with pytest.raises(ValueError, match=rf'{name}\.params cannot be read'):
        get_model(name, pretrained=True)


def test_a_run_starts_from_them(run):
    name = published.OWN[1]
    log = run('--pretrained', name, '--model', 'resnet_ibn_a', '--depth', '20', '--epochs', '1')
    assert f'starts from the published {name}' in log
    assert 'a new classifier' in log  # that of ten classes is not taken
    last = run('--pretrained', 'resnet50_ibn_a', code=2).splitlines()[-1]
    assert 'is for ImageNet sizes' in last


@pytest.mark.parametrize('name', published.OWN)
def test_the_card_holds_on_test_pictures(shared, name):
    from ibnnet_mx.recordio.packing.open_source import open_source
    from ibnnet_mx.recordio.packing.worker import pixels_of

    source = open_source(str(shared / 'data' / 'cifar10_jpg.tar.gz'))
    network = opening.open_weights('published', name)
    assert network.names == source.classes
    samples = source.val[:: len(source.val) // SAMPLE][:SAMPLE]
    planes = [pixels_of(source.store.fetch(sample), 'ignore')[..., ::-1] for sample in samples]
    data = (np.stack(planes).transpose(0, 3, 1, 2) - np.reshape(network.pixels.mean, (3, 1, 1))) / np.reshape(
        network.pixels.std, (3, 1, 1)
    )
    logits = get_model(name, pretrained=True)(mx.nd.array(data)).asnumpy()
    right = np.mean(logits.argmax(1) == [sample.labels[0] for sample in samples])
    assert right == pytest.approx(hub.card(name)['accuracy'], abs=MARGIN)
