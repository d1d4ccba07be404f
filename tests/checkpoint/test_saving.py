"""A process that is killed while it saves: at each moment a whole checkpoint lies on the disk, old or new."""

import os
import shutil

import pytest

from ibnnet_mx.checkpoint import Store, restore
from tests.checkpoint.test_store import facts
from tests.tiny_runs import arrays, batches, equal, make, values


@pytest.fixture(scope='module')
def runs():
    """Two states of a network that a save must not mix up."""
    runs = make(), make()
    for run, steps in zip(runs, (1, 2)):
        for batch in batches(*[4] * steps):
            run.step(*batch, 0.05)
    return runs


def moments(store, monkeypatch, save):
    """The folder as it is before every fsync, rename and deletion of save(), and after it."""
    folder, copies = store.symbol_path.parent, []

    def copy():
        copies.append(folder.with_name(f'copy-{len(copies)}'))
        shutil.copytree(folder, copies[-1])

    def watched(function):
        def call(*args, **kwargs):
            copy()
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in ('fsync', 'replace', 'unlink'):
            patch.setattr(os, name, watched(getattr(os, name)))
        save()
    copy()
    return [Store(path / store.symbol_path.name[: -len('-symbol.json')], store.keep) for path in copies]


def check(store, expected):
    """The newest whole checkpoint holds the state that its epoch must have, and a later save finds its way."""
    opened, run = store.choose(warn=lambda text: None), make()
    restore(run, opened)
    epoch = opened.place
    assert equal(values(run), values(expected[epoch]))
    assert equal(arrays(run.states()), arrays(expected[epoch].states()))
    store.save(run, 3, facts())
    assert store.choose().place == 3
    return epoch


def test_the_older_checkpoint_is_whole_until_the_newer_one_is(tmp_path, monkeypatch, runs):
    store = Store(tmp_path / 'model' / 'net')
    store.prepare()
    store.save(runs[0], 1, facts())
    copies = moments(store, monkeypatch, lambda: store.save(runs[1], 2, facts()))
    found = [check(copy, {1: runs[0], 2: runs[1]}) for copy in copies]
    assert len(found) == 13  # three calls for each of four files, and the end
    assert found == [1] * 11 + [2] * 2


def test_an_epoch_that_is_saved_again_is_never_half_old(tmp_path, monkeypatch, runs):
    """As after --retrain from an earlier epoch: the epoch before it is there until it is whole again."""
    store = Store(tmp_path / 'model' / 'net')
    store.prepare()
    for epoch in (1, 2):
        store.save(runs[0], epoch, facts())
    copies = moments(store, monkeypatch, lambda: store.save(runs[1], 2, facts()))
    found = []
    for copy in copies:
        opened, run = copy.choose(warn=lambda text: None), make()
        restore(run, opened)
        found.append((opened.place, [equal(values(run), values(other)) for other in runs].index(True)))
    assert found == [(2, 0)] * 7 + [(1, 0)] * 4 + [(2, 1)] * 2


def test_clearing_leaves_a_whole_checkpoint_at_every_moment(tmp_path, monkeypatch, runs):
    store = Store(tmp_path / 'model' / 'net', keep=1)
    store.prepare()
    store.save(runs[0], 1, facts(0.1))
    copies = moments(store, monkeypatch, lambda: store.save(runs[1], 2, facts(0.2)))
    for copy in copies[11:]:
        assert all(copy.verdict(epoch).whole for epoch in copy.epochs())
    found = [check(copy, {1: runs[0], 2: runs[1]}) for copy in copies]
    assert found == [1] * 11 + [2] * (len(found) - 11)
    assert len(found) == 16  # with the deletion of three files
    assert store.epochs() == [2]


def test_prefixes_that_cannot_be_are_refused(tmp_path):
    (tmp_path / 'file').write_text('')
    for prefix, text in (('file/net', 'File exists'), ('model/', 'must end in a name, such as')):
        with pytest.raises(ValueError, match=f"^model_prefix='{tmp_path}/{prefix}'.*{text}"):
            Store(f'{tmp_path}/{prefix}').prepare()
    Store(tmp_path / 'a' / 'b' / 'net').prepare()
    assert (tmp_path / 'a' / 'b').is_dir()
    with pytest.raises(ValueError, match='keep=0 must be at least 1'):
        Store(tmp_path / 'net', 0)
