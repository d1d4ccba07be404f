"""Checkpoints: what is saved comes back, also in mxnet's own hands; what is kept, chosen and refused."""

import errno
import hashlib
import json
import os
import pickle
from dataclasses import replace

import mxnet as mx
import numpy as np
import pytest
from mxnet import gluon

from ibnnet_mx import data, models
from ibnnet_mx.checkpoint import Facts, Store, restore
from ibnnet_mx.files import params_file
from ibnnet_mx.recipe import saved
from ibnnet_mx.recordio.reading.options import Options
from tests.tiny_runs import PLAN, arrays, batches, equal, make, values

NAG = replace(PLAN, optimizer='nag', epochs=4)
# MABN whose warm-up neither has nor has not ended where the run is cut, after half of its steps
WARMING = dict(norm='mabn', norm_args=(('B', 2), ('real_B', 6), ('warmup_iters', 7)))


def facts(accuracy=0.5):
    metrics = {} if accuracy is None else {'validation': {'accuracy': accuracy}}
    return Facts('cifar_resnet8_v2', {}, saved.to_dict(PLAN), metrics=metrics)


@pytest.fixture(scope='module')
def run():
    """A network after one step."""
    run = make(plan=NAG)
    run.step(*batches(4)[0], 0.05)
    return run


@pytest.fixture
def store(tmp_path, run):
    """Whole checkpoints of the epochs 1 and 2."""
    store = Store(tmp_path / 'net')
    for epoch in (1, 2):
        store.save(run, epoch, facts())
    return store


def names(store):
    return sorted(path.name for path in store.symbol_path.parent.iterdir())


def damage(path, at=-20):
    changed = bytearray(path.read_bytes())
    changed[at] ^= 1
    path.write_bytes(changed)


def rewrite(store, epoch, kind, data):
    """Other bytes in the place of a file, with the sum in the .json put right, as an attacker would."""
    path = store.path(epoch, kind)
    path.write_bytes(data)
    facts = json.loads(store.path(epoch, 'json').read_text())
    facts['files'][path.name] = {'bytes': len(data), 'sha256': hashlib.sha256(data).hexdigest()}
    store.path(epoch, 'json').write_text(json.dumps(facts))


@pytest.mark.parametrize('cpus', [1, 2])
def test_what_is_saved_comes_back(store, run, cpus):
    other = make(plan=replace(NAG, seed=7), cpus=cpus)
    assert not equal(values(run), values(other))
    restore(other, store.open(2, states=True))
    for device in range(cpus):
        assert equal(values(run), values(other, device))
    assert equal(arrays(run.states()), arrays(other.states()))
    assert other.epoch == 2


@pytest.mark.parametrize('model', ['cifar_resnet8_v2', 'cifar_resnet8_ibn_a', 'cifar_resnet8_ibn_b'])
def test_every_save_writes_the_same_graph(tmp_path, model):
    run, store, graphs = make(model), Store(tmp_path / 'net'), set()
    for epoch in (1, 2, 3):
        store.save(run, epoch, facts())
        graphs.add(store.symbol_path.read_bytes())
        run.step(*batches(4)[0], 0.05)
        run.net(batches(2)[0][0])
    assert len(graphs) == 1


def test_the_json_says_what_lies_beside_it(store):
    found = store.facts(2)
    assert found.epoch == 2
    assert found.recipe == json.loads(json.dumps(saved.to_dict(PLAN)))
    assert {name: file['bytes'] for name, file in found.files.items()} == {
        path.name: path.stat().st_size for path in (store.symbol_path, store.path(2, 'params'), store.path(2, 'states'))
    }
    assert names(store) == sorted(
        ['net-symbol.json', *(f'net-000{epoch}.{kind}' for epoch in (1, 2) for kind in ('json', 'params', 'states'))]
    )


@pytest.mark.parametrize(
    ('model', 'cpus', 'recompute', 'changes'),
    [
        ('cifar_resnet8_v2_ibn_a', 1, False, {}),
        ('cifar_resnet8', 2, False, dict(mixup=0.3, schedule='cosine', lr_steps=())),
        ('cifar_resnet8_ibn_b', 1, True, dict(label_smoothing=0.1, clip_gradient=1.0, mom=0.0)),
        ('cifar_resnet8_ibn_a', 1, False, WARMING),
        ('cifar_resnet8_v2', 1, True, WARMING),
        ('cifar_resnet8', 2, False, dict(norm='mabn', norm_batch_size=2, norm_args=(('real_B', 10),))),
        ('cifar_resnet8', 2, False, dict(norm='brn', norm_args=(('warmup_iters', 2), ('r_iters', 9), ('d_iters', 9)))),
    ],
)
def test_two_halves_are_the_whole(tmp_path, tiny_data, model, cpus, recompute, changes):
    """4 epochs = 2, saved, loaded by another trainer, 2 more: weights, statistics and optimiser bit for bit."""
    plan, source = replace(NAG, batch_size=20, **changes), models.find(model)
    pixels = data.Input(source.size, source.pixels.mean, source.pixels.std)
    runs, store = [], Store(tmp_path / 'half')
    for begin, end in ((0, 4), (0, 2), (2, 4)):
        run = make(model, plan, cpus, recompute)
        train, val = data.record_iters(plan, tiny_data, run.cluster, pixels, Options(threads=1))
        if begin:
            restore(run, store.open(begin, states=True))
        for _ in range(begin, end):
            run.train_epoch(train)
            run.evaluate(val)
        store.save(run, end, facts()) if end == 2 else runs.append(run)
    whole, second = runs
    assert equal(values(whole), values(second))
    assert equal(arrays(whole.states()), arrays(second.states()))
    assert [m for m in whole.report.means if m[0] >= 2] == second.report.means


@pytest.mark.filterwarnings('ignore::UserWarning:mxnet')
def test_mxnet_loads_it_in_three_ways(store, run):
    pixels, _ = batches(3, seed=9)[0]
    expected = mx.nd.softmax(run.net(pixels)).asnumpy()
    prefix = str(store.prefix)
    symbol, arguments, statistics = mx.model.load_checkpoint(prefix, 2)
    assert {*arguments, *statistics} == set(values(run))
    module = mx.mod.Module(symbol)
    module.bind([('data', pixels.shape)], for_training=False)
    module.set_params(arguments, statistics)
    module.forward(mx.io.DataBatch([pixels]), is_train=False)
    block = gluon.SymbolBlock.imports(f'{prefix}-symbol.json', ['data', 'softmax_label'], f'{prefix}-0002.params')
    for found in (module.get_outputs()[0], block(pixels, mx.nd.zeros((3,)))):
        np.testing.assert_allclose(found.asnumpy(), expected, atol=1e-6)
    states = {name: array.asnumpy() for name, array in mx.nd.load(f'{prefix}-0002.states').items()}
    assert equal(states, arrays(run.states()))


@pytest.mark.parametrize(
    ('keep', 'scores', 'stay'),
    [
        (None, [0.1, 0.2, 0.3], [1, 2, 3]),
        (1, [0.1, 0.2, 0.3], [3]),
        (1, [0.9, 0.2, 0.3, 0.4], [1, 4]),
        (2, [0.1, 0.9, 0.3, 0.4, 0.2], [2, 4, 5]),
        (2, [0.5, 0.5, 0.1, 0.1], [2, 3, 4]),
        (1, [0.5, float('nan'), None, 0.1], [1, 4]),
    ],
)
def test_the_newest_and_the_best_are_kept(tmp_path, run, keep, scores, stay):
    store = Store(tmp_path / 'net', keep)
    for epoch, score in enumerate(scores, 1):
        store.save(run, epoch, facts(score))
    assert store.epochs() == stay
    assert len(names(store)) == 3 * len(stay) + 1


def test_clearing_minds_neither_missing_files_nor_those_of_others(tmp_path, run):
    (tmp_path / 'net-0009.params').write_bytes(b'not ours: it has no .json')
    (tmp_path / 'net-a-0001.json').write_text('{}')
    store = Store(tmp_path / 'net', 1)
    store.save(run, 1, facts())
    store.path(1, 'states').unlink()
    store.save(run, 2, facts())
    assert store.epochs() == [2]
    assert {'net-0009.params', 'net-a-0001.json'} < set(names(store))
    assert 'net-0001.params' not in names(store)


@pytest.mark.parametrize('kind', ['params', 'states', 'json'])
@pytest.mark.parametrize('how', ['flip', 'cut', 'empty', 'missing'])
def test_a_damaged_checkpoint_is_passed_over_and_said_to_be(store, kind, how):
    path, said = store.path(2, kind), []
    if how == 'flip':
        damage(path, at=0 if kind == 'json' else -20)
    elif how == 'missing':
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: -50 if how == 'cut' else 0])
    assert store.choose(warn=said.append).place == 1
    if (kind, how) == ('json', 'missing'):
        assert said == []  # a save that never ended
    else:
        (line,) = said
        assert line.startswith(f'epoch 2 is passed over: {path}')
    with pytest.raises(ValueError, match=f'^model_load_epoch=2: {path}.*checkpoints of {store.prefix}: 1'):
        store.choose(2)
    assert store.choose(1).place == 1


@pytest.mark.parametrize(
    'text',
    [
        '[]',
        '{}',
        'null',
        '{"model": 1, "recipe": {}, "files": {}}',
        '{"model": "a", "recipe": [], "files": {}}',
        '{"model": "a", "recipe": {}, "files": {}}',
        '{"model": "a", "recipe": {}, "files": {"x.params": 1, "x.states": 1}}',
        '{"model": "a", "recipe": {}, "files": {"x.params": {}}}',
        '\xff',
    ],
)
def test_a_json_that_is_no_description_is_a_fault(store, text):
    store.path(2, 'json').write_text(text, encoding='latin-1')
    assert store.verdict(2).reason.startswith(f'{store.path(2, "json")} is damaged')
    assert store.choose(warn=lambda text: None).place == 1


def test_where_nothing_is_whole_each_reason_is_told(store):
    for epoch in (1, 2):
        damage(store.path(epoch, 'params'))
    with pytest.raises(ValueError, match='^retrain: there is no undamaged checkpoint') as error:
        store.choose(warn=lambda text: None)
    assert all(f'{store.path(epoch, "params")} is not the file that was saved' in str(error.value) for epoch in (1, 2))
    with pytest.raises(ValueError, match='there is no undamaged checkpoint .*/none-NNNN.params with its .json$'):
        Store(store.symbol_path.with_name('none')).choose()


def test_a_checkpoint_may_be_renamed(store):
    for kind in ('params', 'states', 'json'):
        store.path(2, kind).rename(store.path(2, kind).with_name(f'best-0000.{kind}'))
    best = Store(store.symbol_path.with_name('best'))
    assert best.choose().place == 0
    assert best.facts(0).epoch == 0


@pytest.mark.parametrize('model', ['cifar_resnet14_v2', 'cifar_resnet8_v2_ibn_a', 'cifar_resnet8'])
def test_another_network_is_refused_with_the_files_name(store, model):
    with pytest.raises(ValueError, match=f'^{store.path(2, "params")} does not fit the network: .*_'):
        restore(make(model), store.open(2, states=True))


def test_states_of_another_network_are_refused_with_the_files_name(store):
    rewrite(store, 2, 'states', params_file.encode_params({'nobody': np.ones(2, 'f')}))
    with pytest.raises(ValueError, match=f'^{store.path(2, "states")} cannot be used: .*nobody'):
        restore(make(), store.open(2, states=True))


class Evil:
    """What mxnet's own reader of .states would run."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_a_pickle_as_states_is_refused_and_not_run(store, tmp_path):
    """With the sum in the .json put right, as an attacker would."""
    data = pickle.dumps(Evil(tmp_path / 'run'))
    rewrite(store, 2, 'states', data)
    with pytest.raises(ValueError, match=f'^{store.path(2, "states")} is no .params file of mxnet'):
        store.open(2, states=True)
    assert not (tmp_path / 'run').exists()
    pickle.loads(data)  # the attack would do harm
    assert (tmp_path / 'run').exists()


@pytest.mark.parametrize('function', ['fsync', 'replace'])
@pytest.mark.parametrize('file', range(4))
def test_a_full_disk_leaves_the_older_ones_and_names_the_file(store, run, monkeypatch, function, file):
    """At each of the four files, once it is written (fsync) and at its renaming."""
    before = {name: (store.symbol_path.parent / name).read_bytes() for name in names(store)}
    calls, original = iter(range(100)), getattr(os, function)

    def full(*args):
        if next(calls) == file:
            raise OSError(errno.ENOSPC, 'No space left on device')
        return original(*args)

    monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError, match='No space left on device') as error:
        store.save(run, 3, facts())
    path = [store.symbol_path, *(store.path(3, kind) for kind in ('params', 'states', 'json'))][file]
    assert error.value.filename == str(path)
    after = {name: (store.symbol_path.parent / name).read_bytes() for name in names(store) if '0003' not in name}
    assert after == before
    assert not any(name.endswith('.part') for name in names(store))
    assert store.choose().place == 2
