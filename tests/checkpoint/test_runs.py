"""Several runs under one prefix: none goes on as another one, and no checkpoint is lost."""

from __future__ import annotations

import dataclasses
import os
import shutil

import pytest

from ibnnet_mx.checkpoint import Inside, Store, new_id, restore
from tests.checkpoint.test_saving import moments
from tests.checkpoint.test_store import facts
from tests.tiny_runs import batches, equal, make, values


@pytest.fixture(scope='module')
def nets():
    """A run that has ended, and another one."""
    runs = make(), make()
    for run, steps in zip(runs, (1, 2)):
        for batch in batches(*[4] * steps):
            run.step(*batch, 0.05)
    return runs


def of(run, **recipe):
    return dataclasses.replace(facts(), run=run, recipe={**facts().recipe, 'name': 'tiny', **recipe})


def begin(prefix, run, since=None, **recipe):
    lines, store = [], Store(prefix)
    store.prepare()
    store.begin(of(run, **recipe), since, lines.append)
    return store, of(run, **recipe), lines


def folder_of(path):
    return sorted(str(file.relative_to(path)) for file in path.rglob('*') if file.is_file())


def test_a_new_run_sets_the_older_one_aside_at_its_first_save(tmp_path, nets):
    store, about, _ = begin(tmp_path / 'net', 'a')
    for epoch in (1, 2, 3):
        store.save(nets[0], epoch, about)
    before = {name: (tmp_path / name).read_bytes() for name in folder_of(tmp_path)}
    store, about, lines = begin(tmp_path / 'net', 'b')
    assert {name: (tmp_path / name).read_bytes() for name in folder_of(tmp_path)} == before
    store.save(nets[1], 1, about)
    assert lines == [
        f'{tmp_path}/net-0001 to 0003, the checkpoints of an earlier run, are in {tmp_path}/net-old-1/ now'
    ]
    old = tmp_path / 'net-old-1'
    assert {name: (old / name).read_bytes() for name in folder_of(old)} == before
    assert store.choose().facts.run == 'b'
    assert store.choose().place == 1
    assert Store(old / 'net').choose().place == 3
    store.save(nets[1], 2, about)
    assert len(lines) == 1
    store, about, lines = begin(tmp_path / 'net', 'c')
    store.save(nets[1], Inside(0, 1), about)
    assert 'net-old-2/ now' in lines[0]
    assert Store(tmp_path / 'net-old-2' / 'net').choose().place == 2


def test_weights_without_a_description_are_not_overwritten(tmp_path, nets):
    for name in ('net-0001.params', 'net-symbol.json', 'net-0001.states'):  # as the code of 2016 leaves them
        (tmp_path / name).write_bytes(name.encode())
    store, about, _ = begin(tmp_path / 'net', 'b')
    store.save(nets[0], 1, about)
    assert (tmp_path / 'net-old-1' / 'net-0001.params').read_bytes() == b'net-0001.params'
    assert (tmp_path / 'net-old-1' / 'net-symbol.json').read_bytes() == b'net-symbol.json'


def test_at_every_moment_one_of_both_runs_is_whole(tmp_path, monkeypatch, nets):
    home = tmp_path / 'model'
    store, about, _ = begin(home / 'net', 'a')
    for place in (1, Inside(1, 2)):
        store.save(nets[0], place, about)
    store, about, _ = begin(home / 'net', 'b')
    copies = moments(store, monkeypatch, lambda: store.save(nets[1], 1, about))
    assert len(copies) > 20
    seen = set()
    for copy in copies:
        copy.prepare()  # as the next run does
        folders = [copy.symbol_path.parent, copy.symbol_path.parent / 'net-old-1']
        wholes = [Store(folder / 'net').choose(warn=lambda text: None) for folder in folders if has_some(folder)]
        runs = {opened.facts.run for opened in wholes}
        assert 'a' in runs
        old = next(opened for opened in wholes if opened.facts.run == 'a')
        assert old.place == Inside(1, 2)
        run = make()
        restore(run, old)
        assert equal(values(run), values(nets[0]))
        seen.add(frozenset(runs))
    assert seen == {frozenset('a'), frozenset('ab')}


def has_some(folder):
    store = Store(folder / 'net')
    return bool(store.epochs() or store.unfinished())


def test_a_run_that_goes_on_earlier_sets_its_later_epochs_aside(tmp_path, nets):
    store, about, _ = begin(tmp_path / 'net', 'a')
    for epoch in (1, 2, 3):
        store.save(nets[0], epoch, about)
    store, about, lines = begin(tmp_path / 'net', 'a', since=1)
    store.save(nets[1], 2, about)
    assert store.epochs() == [1, 2]
    assert Store(tmp_path / 'net-old-1' / 'net').epochs() == [2, 3]
    assert 'net-0002 to 0003, the checkpoints of what came after it before' in lines[0]


def test_files_without_ids_are_told_apart_by_their_recipes(tmp_path, nets):
    """A whole run of 6 epochs, then two epochs of another seed, as versions without ids have left them."""
    store = Store(tmp_path / 'net')
    for seed, epochs in ((0, 6), (1, 2)):
        for epoch in range(1, epochs + 1):
            store.save(nets[0], epoch, of(None, seed=seed))
            stamp = 10**9 * (100 * seed + epoch)
            os.utime(store.path(epoch, 'json'), ns=(stamp, stamp))
    assert store.choose().place == 2
    for epoch in range(1, 7):
        os.utime(store.path(epoch, 'json'), ns=(0, 0))  # as a copy may have them: of one run the highest is taken
    shutil.copytree(tmp_path, tmp_path / 'copy', ignore=lambda *_: ['copy'])
    assert store.choose().place == 6


def test_ids_differ():
    assert len({new_id() for _ in range(100)}) == 100


def test_two_trainings_under_one_prefix(tmp_path):
    with Store(tmp_path / 'new' / 'net').alone():
        with pytest.raises(ValueError, match=f'net.* is in use by process {os.getpid()}: wait for it, or name another'):
            Store(tmp_path / 'new' / 'net').alone().__enter__()
        assert (tmp_path / 'new' / 'net.lock').exists()
    assert not (tmp_path / 'new').exists()  # nothing was written
    (tmp_path / 'net.lock').write_text('1 elsewhere\n')  # left by a killed process: needs no hand
    with Store(tmp_path / 'net').alone():
        assert (tmp_path / 'net.lock').read_text().startswith(f'{os.getpid()} ')


def test_names_that_no_file_system_holds_are_refused_before_the_work(tmp_path):
    longest = tmp_path / 'new' / ('x' * (255 - len('-symbol.json.part')))
    with Store(longest).alone():
        pass
    for name in (f'{longest}x', f'{str(longest)[:-1]}é'):
        with pytest.raises(ValueError, match='is too long by 1 bytes: name a shorter one'), Store(name).alone():
            pass
    assert not (tmp_path / 'new').exists()


def test_a_move_that_fails_is_undone_and_tried_again(tmp_path, monkeypatch, nets):
    store, about, _ = begin(tmp_path / 'net', 'a')
    for epoch in (1, 2):
        store.save(nets[0], epoch, about)
    before = folder_of(tmp_path)
    store, about, lines = begin(tmp_path / 'net', 'b')

    def full(*_):
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr('ibnnet_mx.checkpoint.runs.atomic.write_file', full)
        with pytest.raises(OSError, match='No space left'):
            store.save(nets[1], 1, about)
    assert folder_of(tmp_path) == before
    store.save(nets[1], 1, about)
    assert store.choose().facts.run == 'b'
    assert Store(tmp_path / 'net-old-1' / 'net').epochs() == [1, 2]
    assert len(lines) == 1
