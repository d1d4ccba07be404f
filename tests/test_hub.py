"""get_model(pretrained=...): right weights, downloaded and converted once, whatever the network and the disk do."""

import hashlib
import json
import os
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import convert, get_model, hub, models
from ibnnet_mx.convert import names, torch_file
from ibnnet_mx.files import download
from ibnnet_mx.models import published
from tests.goldens.generate import fill, pictures
from tests.loopback import Server, nobody

MODEL = 'cifar_resnet8_ibn_a'  # small, and taken for published here
WAY_OUT = (
    rf"put {MODEL}-.*\.pth into a folder and set IBNNET_MX_REPO to it, or pass .* pretrained='/path/{MODEL}-.*pth'"
)


def write(path, model=MODEL, **options):
    """A .pth under the original's keys."""
    shapes = {n: p.shape for n, p in get_model(model, **options).collect_params().items()}
    torch_file.write_torch(path, {key: fill(key, shapes[name]) for name, key in names.torch_keys(list(shapes)).items()})
    return path


def run(net):
    return net(mx.nd.array(pictures(32))).asnumpy()


@pytest.fixture(scope='module')
def pth(tmp_path_factory):
    """The file that is published, under the name that it is published under; nobody may delete it."""
    plain = write(tmp_path_factory.mktemp('mirror') / 'plain.pth')
    path = plain.with_name(f'{MODEL}-{hashlib.sha256(plain.read_bytes()).hexdigest()[:8]}.pth')
    plain.rename(path)
    yield path
    assert os.listdir(path.parent) == [path.name]


@pytest.fixture(scope='module')
def wanted(pth):
    """Logits of the published weights."""
    net = get_model(MODEL)
    convert.load_torch(net, torch_file.read_torch(pth))
    return run(net)


@pytest.fixture
def server(pth, monkeypatch):
    """A server that publishes the file."""
    with Server({f'/{pth.name}': pth.read_bytes()}) as server:
        monkeypatch.setattr(published, 'WEIGHTS', {MODEL: pth.stem[-8:]})
        monkeypatch.setattr(download, 'PAUSE', 0)
        monkeypatch.setenv(hub.REPO_VARIABLE, server.url)
        yield server


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Where the weights go."""
    monkeypatch.setenv('MXNET_HOME', str(tmp_path / 'home'))
    return tmp_path / 'home' / 'models'


def test_published_weights_are_downloaded_and_converted_once(server, root, pth, wanted, capsys):
    np.testing.assert_array_equal(run(get_model(MODEL, pretrained=True)), wanted)
    assert server.asked == [(f'/{pth.name}', None)]
    assert sorted(os.listdir(root)) == [f'{pth.stem}.json', f'{pth.stem}.params']
    data = (root / f'{pth.stem}.params').read_bytes()
    assert json.loads((root / f'{pth.stem}.json').read_text()) == {
        'model': MODEL,
        'source': f'{server.url}/{pth.name}',
        'bytes': len(data),
        'sha256': hashlib.sha256(data).hexdigest(),
    }
    server.always = 404
    np.testing.assert_array_equal(run(get_model(MODEL, pretrained=True)), wanted)
    assert len(server.asked) == 1
    assert capsys.readouterr() == ('', '')


def test_the_release_is_asked_unless_told_otherwise(root, monkeypatch):
    def refuse(url, *rest):
        raise download.DownloadError(url)

    monkeypatch.delenv(hub.REPO_VARIABLE, raising=False)
    monkeypatch.setattr(download, 'fetch', refuse)
    for model, digits in published.WEIGHTS.items():
        with pytest.raises(ValueError, match=f'^{published.RELEASE}/{model}-{digits}.pth$'):
            hub.load(None, model)


def test_root_is_taken(server, root, tmp_path, wanted):
    net = get_model(MODEL, pretrained=True, root=tmp_path / 'mine')
    np.testing.assert_array_equal(run(net), wanted)
    assert len(os.listdir(tmp_path / 'mine')) == 2
    assert not root.exists()


def test_features_need_no_classifier(server, root, pth):
    net = get_model(MODEL, features='stage2', classes=5)
    convert.load_torch(net, torch_file.read_torch(pth))
    found = run(get_model(MODEL, features='stage2', classes=5, pretrained=True))
    np.testing.assert_array_equal(found, run(net))


def test_another_number_of_classes_is_refused_before_any_download(server, root, monkeypatch):
    monkeypatch.setattr(models, 'create', None)
    with pytest.raises(
        ValueError, match=r'has 10 classes, not 5: build it with classes=5 .*new_head=True.* `pretrained`'
    ):
        get_model(MODEL, classes=5, pretrained=True)
    assert server.asked == []


def test_a_model_without_published_weights_is_refused_before_it_is_built(server, root, monkeypatch):
    monkeypatch.setattr(models, 'create', None)
    with pytest.raises(ValueError, match=f'no weights of cifar_resnet8_v2 are published, only those of {MODEL}'):
        get_model('cifar_resnet8_v2', pretrained=True)
    assert server.asked == []


def test_a_new_head_takes_the_rest(server, root, pth):
    net = get_model(MODEL, classes=5)
    hub.load(net, MODEL, new_head=True)
    params = net.collect_params()
    assert params['fc1_weight'].data().shape[0] == 5
    np.testing.assert_array_equal(params['conv0_weight'].data().asnumpy(), torch_file.read_torch(pth)['conv1.weight'])


@pytest.mark.parametrize('fault', ['404', 'cut', 'damaged', 'nobody'])
def test_what_goes_wrong_names_the_url_and_the_way_out(server, root, pth, fault, monkeypatch):
    url = server.url
    if fault == 'cut':
        server.always, server.ranges = 'cut', False
    elif fault == 'nobody':
        url = nobody()
        monkeypatch.setenv(hub.REPO_VARIABLE, url + '/')
    else:
        server.files = {} if fault == '404' else {f'/{pth.name}': b'<html>' * 1000}
    why = {
        '404': '404 Not Found',
        'cut': 'the connection ended after .* bytes',
        'damaged': 'has the SHA256 sum .* damaged',
        'nobody': 'Connection refused',
    }[fault]
    with pytest.raises(ValueError, match=f'{why}.*{WAY_OUT}') as error:
        get_model(MODEL, pretrained=True)
    assert f'{url}/{pth.name}' in str(error.value)
    assert [name for name in os.listdir(root) if not name.endswith('.part')] == []


def test_a_download_that_was_lost_is_gone_on_with(server, root, pth, wanted):
    server.faults, server.always = ['cut'], 503
    with pytest.raises(ValueError, match='503'):
        get_model(MODEL, pretrained=True)
    server.always = None
    np.testing.assert_array_equal(run(get_model(MODEL, pretrained=True)), wanted)
    assert sum(server.sent) == pth.stat().st_size


@pytest.mark.parametrize(
    'damage',
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b'!'),
        lambda path: path.with_suffix('.json').write_text('{"bytes": 3}'),
        lambda path: path.with_suffix('.json').write_text('['),
    ],
    ids=['shorter', 'another byte', 'another json', 'no json'],
)
def test_damaged_copies_are_fetched_anew(server, root, pth, wanted, damage, capsys):
    get_model(MODEL, pretrained=True)
    damage(root / f'{pth.stem}.params')
    np.testing.assert_array_equal(run(get_model(MODEL, pretrained=True)), wanted)
    assert capsys.readouterr().err == f'{root / pth.stem}.params is damaged: it is downloaded again\n'
    get_model(MODEL, pretrained=True)
    assert len(server.asked) == 2


@pytest.mark.parametrize('ending', ['.params', '.json'])
def test_half_of_a_copy_counts_for_nothing(server, root, pth, wanted, ending):
    get_model(MODEL, pretrained=True)
    (root / f'{pth.stem}{ending}').unlink()
    np.testing.assert_array_equal(run(get_model(MODEL, pretrained=True)), wanted)
    assert len(server.asked) == 2


def test_a_folder_that_cannot_be_written_is_named(server, root, tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    with pytest.raises(ValueError, match=r'file/models cannot be written \(.*\): set MXNET_HOME .* or pass root=FOLD'):
        get_model(MODEL, pretrained=True, root=tmp_path / 'file' / 'models')
    assert server.asked == []


@pytest.mark.parametrize('form', ['{}', 'file://{}', '{}/'])
def test_a_folder_serves_as_mirror_and_is_left_as_it_is(server, root, pth, wanted, form, monkeypatch):
    monkeypatch.setenv(hub.REPO_VARIABLE, form.format(pth.parent))
    np.testing.assert_array_equal(run(get_model(MODEL, pretrained=True)), wanted)
    assert (server.asked, len(os.listdir(root))) == ([], 2)


def test_a_mirror_without_the_file_says_so(server, root, tmp_path, monkeypatch):
    monkeypatch.setenv(hub.REPO_VARIABLE, str(tmp_path))
    with pytest.raises(ValueError, match=rf'cannot get {tmp_path}/{MODEL}-.*No such file.*{WAY_OUT}'):
        get_model(MODEL, pretrained=True)


def test_a_file_is_read_and_not_kept(root, pth, wanted):
    for source in (pth, str(pth), f'file://{pth}'):
        np.testing.assert_array_equal(run(get_model(MODEL, pretrained=source)), wanted)
    assert not root.exists()


def test_a_file_may_have_other_classes(root, tmp_path):
    path = write(tmp_path / 'five.pth', classes=5)
    net = get_model(MODEL, classes=5)
    convert.load_torch(net, torch_file.read_torch(path))
    np.testing.assert_array_equal(run(get_model(MODEL, classes=5, pretrained=path)), run(net))
    with pytest.raises(ValueError, match='5 classes, not 10'):
        get_model(MODEL, pretrained=path)


def test_a_file_whose_name_holds_another_sum_is_refused(root, tmp_path, pth):
    path = tmp_path / 'run-20240131.pth'
    path.write_bytes(pth.read_bytes())
    with pytest.raises(ValueError, match='SHA256 sum .*, not 20240131: it is damaged; .* are no checksum, rename it'):
        get_model(MODEL, pretrained=path)
    with pytest.raises(ValueError, match='cannot get .*none.pth .*No such file'):
        get_model(MODEL, pretrained=tmp_path / 'none.pth')


def test_urls_are_kept_under_their_sum_or_that_of_the_url(server, root, pth, wanted):
    server.files['/mine.pth'] = pth.read_bytes()
    for name in (pth.name, 'mine.pth'):
        for _ in range(2):
            np.testing.assert_array_equal(run(get_model(MODEL, pretrained=f'{server.url}/{name}')), wanted)
    assert [path for path, _ in server.asked] == [f'/{pth.name}', '/mine.pth']
    assert len(os.listdir(root)) == 4


@pytest.mark.parametrize('content', ['html', 'another network'])
def test_what_cannot_be_converted_names_its_url_and_leaves_nothing(server, root, tmp_path, content):
    other = b'<html>' if content == 'html' else write(tmp_path / 'other.pth', 'cifar_resnet14').read_bytes()
    server.files['/mine.pth'] = other
    with pytest.raises(ValueError, match=f'{server.url}/mine.pth'):
        get_model(MODEL, pretrained=f'{server.url}/mine.pth')
    assert os.listdir(root) == []


def test_a_url_may_have_other_classes(server, root, tmp_path):
    server.files['/five.pth'] = write(tmp_path / 'five.pth', classes=5).read_bytes()
    net = get_model(MODEL, classes=5)
    convert.load(net, tmp_path / 'five.pth')
    found = get_model(MODEL, classes=5, pretrained=f'{server.url}/five.pth')
    np.testing.assert_array_equal(run(found), run(net))


PROCESS = """
import sys
from ibnnet_mx import get_model
from ibnnet_mx.files import locks
from ibnnet_mx.models import published
def told(path, locked=locks.waiting):
    print('ready', flush=True)
    return locked(path)
locks.waiting = told
published.WEIGHTS = {sys.argv[1]: sys.argv[2]}
net = get_model(sys.argv[1], pretrained=True)
print(sum(float(param.data().abs().sum().asscalar()) for param in net.collect_params().values()))
"""


def test_two_processes_download_and_convert_once(server, root, pth):
    def start():
        words = [sys.executable, '-c', PROCESS, MODEL, pth.stem[-8:]]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    server.gate.clear()
    first, second = start(), start()
    assert server.seen.wait(60)
    assert first.stdout.readline() == second.stdout.readline() == 'ready\n'
    server.gate.set()
    (one, said), (two, more) = (process.communicate(timeout=60) for process in (first, second))
    assert (one, said, more) == (two, '', '')
    assert server.sent == [pth.stat().st_size]
    assert sorted(os.listdir(root)) == [f'{pth.stem}.json', f'{pth.stem}.params']
