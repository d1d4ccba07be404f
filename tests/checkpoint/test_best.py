"""The best epoch of a prefix: by the accuracy, by the loss of a task without one, and after a change of the files."""

import os

import pytest

from ibnnet_mx.checkpoint import Store, best
from ibnnet_mx.checkpoint.facts import Facts


def put(store, epoch, **validation):
    facts = Facts('m', {}, {}, metrics={'validation': validation} if validation else {}, epoch=epoch)
    path = store.path(epoch, 'json')
    path.write_bytes(facts.to_json())
    os.utime(path, ns=(epoch, epoch))
    store.path(epoch, 'params').touch()


@pytest.mark.parametrize(
    ('results', 'line'),
    [
        ([{'accuracy': 0.5}, {'accuracy': 0.862}, {'accuracy': 0.862}, {}], '3 of 4, the best (accuracy 86.20 %)'),
        ([{'accuracy': 0.5, 'loss': 2}, {'accuracy': 0.4, 'loss': 1}], '1 of 2, the best (accuracy 50.00 %)'),
        ([{'loss': 0.5}, {'loss': 0.25}, {'loss': float('nan')}], '2 of 3, the best (loss 0.2500)'),
        ([{}, {}], '2, the last, because no validation results are with it'),
    ],
)
def test_the_best_epoch_is_told(tmp_path, results, line):
    store = Store(tmp_path / 'a')
    for epoch, validation in enumerate(results, 1):
        put(store, epoch, **validation)
    assert best.best_epoch(store).line() == f'epoch {line}'


def test_facts_are_read_again_when_their_file_has_changed(tmp_path):
    store = Store(tmp_path / 'a')
    put(store, 1, accuracy=0.25)
    assert store.facts(1) is store.facts(1)
    put(store, 1, accuracy=0.125)
    assert store.facts(1).metrics['validation']['accuracy'] == 0.125
    store.path(1, 'json').unlink()
    with pytest.raises(ValueError, match='cannot be read'):
        store.facts(1)


def test_the_lowest_loss_is_kept(tmp_path):
    store = Store(tmp_path / 'a', keep=1)
    for epoch, loss in enumerate((3.0, 1.0, 2.0), 1):
        put(store, epoch, loss=loss)
    store._clear(3)
    assert store.epochs() == [2, 3]


def test_files_of_another_program_are_told_with_the_way_out(tmp_path):
    store = Store(tmp_path / 'old')
    for epoch in (3, 12):
        store.path(epoch, 'params').touch()
    text = 'has no .json, so another program wrote it, .*: begin a new run from its weights by `init` .*/old-{}.params$'
    with pytest.raises(ValueError, match='^retrain: .*; .*old-0012.params ' + text.format('0012')):
        store.choose()
    with pytest.raises(ValueError, match='^model_load_epoch=3: .*old-0003.params ' + text.format('0003')):
        store.choose(3)
