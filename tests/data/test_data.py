"""Which records a run reads, and what is checked before its first batch."""

from __future__ import annotations

import re
from types import SimpleNamespace

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import data
from ibnnet_mx.recipe import RECIPES, resolve
from ibnnet_mx.recordio import lists
from ibnnet_mx.recordio.format import write_index
from ibnnet_mx.recordio.reading.options import Options
from tests.record_sets import marked, png, write

RAW = data.Input(32, (0.0,) * 3, (1.0,) * 3)
ONE = SimpleNamespace(rank=0, num_workers=1, contexts=[mx.cpu()])
QUIET = Options(threads=1)


def recipe(name='imagenet', **changes):
    return resolve(RECIPES[name], dict({'batch_size': 4, 'epochs': 3}, **changes))


def folder(path, *names, count=6, first=0):
    """Record files of 40x40 pictures; their labels are 0, 1, ..."""
    for name in names:
        write(path / name, [png(marked(first + i, 40)) for i in range(count)])
    return path


def iters(path, source=RAW, cluster=ONE, options=QUIET, **changes):
    name = changes.pop('name', 'imagenet')
    return data.record_iters(recipe(name, **changes), path, cluster, source, options)


def files(iterator):
    return [path.rsplit('/', 1)[-1] for path in iterator.labels()]


EVERY = ('train_480_q90.rec', 'train_256_q90.rec', 'val_256_q90.rec')


@pytest.mark.parametrize(
    ('there', 'level', 'wanted'),
    [
        (EVERY, 1, 'train_256_q90.rec'),
        (EVERY, 2, 'train_480_q90.rec'),
        (EVERY, 'rrc', 'train_480_q90.rec'),
        (('train_480_q90.rec', 'val_256_q90.rec'), 1, 'train_480_q90.rec'),
        (('train_256_q90.rec', 'val_256_q90.rec'), 2, 'train_256_q90.rec'),
        (('train_360_q95.rec', 'val_300_q95.rec'), 3, 'train_360_q95.rec'),
        (('train.rec', 'val.rec'), 2, 'train.rec'),
    ],
)
def test_the_records_of_a_level(tmp_path, there, level, wanted):
    train, val = iters(folder(tmp_path, *there), aug_level=level)
    assert files(train) == [wanted]
    assert files(val) == [there[-1]]


@pytest.mark.parametrize('there', [('cifar10_train.rec', 'cifar10_val.rec'), ('train.rec', 'test.rec')])
def test_the_records_of_cifar(tmp_path, there):
    train, val = iters(folder(tmp_path, *there), name='cifar10')
    assert (files(train), files(val)) == ([there[0]], [there[1]])


@pytest.mark.parametrize(
    ('there', 'name', 'missing', 'source'),
    [
        ((), 'imagenet', 'val_256_q90.rec', 'PICTURES'),
        (('val_256_q90.rec',), 'imagenet', 'train_480_q90.rec', 'PICTURES'),
        (('train_480_q90.rec',), 'imagenet', 'val_256_q90.rec', 'PICTURES'),
        (EVERY, 'cifar10', 'cifar10_val.rec', 'cifar-10-python.tar.gz'),
    ],
)
def test_missing_records_say_how_to_make_them(tmp_path, there, name, missing, source):
    path = folder(tmp_path, *there)
    command = f'ibnnet pack {source} {path}'
    with pytest.raises(ValueError, match=re.escape(f'data_dir={str(path)!r} holds no {missing}')) as caught:
        iters(path, name=name)
    assert command in str(caught.value)
    with pytest.raises(ValueError, match='holds no val_256_q90.rec, but mine_val.rec: if these are its pictures, name'):
        data.files.require_records(folder(tmp_path / 'mine', 'mine_train.rec', 'mine_val.rec'), 'imagenet', 'val')
    with pytest.raises(ValueError, match="no_such_folder' holds no"):
        iters(tmp_path / 'no_such_folder')


def test_pictures_and_records_of_another_kind_are_told(tmp_path):
    (tmp_path / 'own pictures' / 'cat').mkdir(parents=True)
    (tmp_path / 'own pictures' / 'cat' / '0.jpg').write_bytes(b'x')
    with pytest.raises(
        ValueError, match="but pictures: pack them into another folder first, with ibnnet pack '.*' DATA,"
    ):
        data.files.require_records(tmp_path / 'own pictures', 'imagenet', 'val', 224)
    cifar = folder(tmp_path / 'cifar', 'cifar10_train.rec', 'cifar10_val.rec')
    with pytest.raises(ValueError, match='holds no val_256_q90.rec, but cifar10_val.rec: `data_type` cifar10 reads it'):
        data.files.require_records(cifar, 'imagenet', 'val', 224)


def test_own_records_of_32_pixels_are_found_for_both_kinds(tmp_path):
    path = folder(tmp_path, 'train_32.rec', 'val_32.rec', 'cifar10_train.rec', 'cifar10_val.rec')
    for kind in ('cifar10', 'imagenet'):
        assert data.find_records(path, kind, 'train', 32).name == 'train_32.rec'
    assert data.find_records(path, 'cifar10', 'val').name == 'cifar10_val.rec'


def test_the_last_epochs_read_the_crop_records_without_augmentation(tmp_path):
    folder(tmp_path, 'train_480_q90.rec', 'val_256_q90.rec')
    folder(tmp_path, 'train_256_q90.rec', count=9, first=100)
    train, val = iters(tmp_path, epochs=4, no_aug_epochs=2, aug_level=2)
    assert [train.count(epoch) for epoch in range(4)] == [6, 6, 9, 9]
    assert [train.steps(epoch) for epoch in range(4)] == [2, 2, 3, 3]
    assert val.count() == 6
    for epoch, plain in ((1, False), (2, True)):
        pixels = np.concatenate([batch.asnumpy() for batch, _, _ in train.epoch(epoch)])
        reds = {float(value) for value in np.unique(pixels[:, 0])}
        assert (reds == {float(100 + i) for i in range(9)}) == plain


def test_batches_are_ndarrays_with_their_labels(tmp_path):
    train, val = iters(folder(tmp_path, *EVERY), aug_level=1)
    for iterator, rows in ((train, [4, 2]), (val, [4, 4])):
        batches = list(iterator.epoch())
        assert [batch[0].shape for batch in batches] == [(n, 3, 32, 32) for n in rows]
        assert [real for _, _, real in batches] == [4, 2]
        for pixels, label, real in batches:
            assert isinstance(pixels, mx.nd.NDArray)
            assert pixels.dtype == label.dtype == np.float32
            np.testing.assert_array_equal(pixels[:real, 0, 0, 0].asnumpy(), label[:real].asnumpy())
        iterator.close()


def test_each_worker_has_its_part_of_every_batch(tmp_path):
    folder(tmp_path, 'train.rec', 'val.rec', count=9)
    seen, sizes = [], []
    for rank in range(2):
        cluster = SimpleNamespace(rank=rank, num_workers=2, contexts=[mx.cpu(0), mx.cpu(1)])
        train, _ = iters(tmp_path, cluster=cluster, aug_level=1)
        batches = list(train.epoch())
        sizes.append([len(label) for _, label, _ in batches])
        seen += [int(value) for _, label, _ in batches for value in label.asnumpy()]
    assert sorted(seen) == list(range(9))
    assert sizes == [[2, 2, 1], [2, 2]]


def test_num_examples_limits_training_alone(tmp_path):
    folder(tmp_path, *EVERY)
    train, val = iters(tmp_path, aug_level=1, options=QUIET._replace(limit=3))
    assert (train.count(), train.steps(), val.count()) == (3, 1, 6)
    assert sum(real for _, _, real in train.epoch()) == 3
    for limit in (0, -1, 7):
        with pytest.raises(ValueError, match=rf'limit={limit}: .*train_256_q90.rec holds 6 pictures, use 1 to 6'):
            iters(tmp_path, aug_level=1, options=QUIET._replace(limit=limit))


def spoil(path, how):
    content = path.read_bytes()
    if how == 'empty':
        path.write_bytes(b'')
    elif how == 'truncated':
        path.write_bytes(content[:-20])
    elif how == 'truncated, no index':
        path.with_suffix('.idx').unlink()
        path.write_bytes(content[:-20])
    elif how == 'no records':
        path.write_bytes(b'not records at all, but text of some length')
    elif how == 'folder':
        path.unlink()
        path.mkdir()
    else:
        write_index(path.with_suffix('.idx'), range(3), {'short index': [0, 8, 90], 'index beyond': [0, 8, 10**9]}[how])


@pytest.mark.parametrize('part', ['train_480_q90.rec', 'val_256_q90.rec'])
@pytest.mark.parametrize(
    'how', ['empty', 'truncated', 'truncated, no index', 'no records', 'folder', 'short index', 'index beyond']
)
def test_damaged_records_are_named_before_the_first_batch(tmp_path, part, how):
    folder(tmp_path, *EVERY)
    spoil(tmp_path / part, how)
    with pytest.raises(ValueError, match=re.escape(part)) as caught:
        iters(tmp_path)
    assert '\n' not in str(caught.value)


def labelled(tmp_path, train, val):
    for name, labels in (('train.rec', train), ('val.rec', val)):
        write(tmp_path / name, [png(marked(i, 40)) for i in range(len(labels))], labels)
    return iters(tmp_path)


def test_classes_come_from_the_option_else_the_names_else_the_labels(tmp_path):
    train, val = labelled(tmp_path, [0, 3, 1], [4, 0])
    assert data.count_classes(train, val, []) == 5
    assert data.count_classes(train, val, ['a'] * 9) == 9
    assert data.count_classes(train, val, ['a'] * 2) == 5
    assert data.count_classes(train, val, ['a'] * 9, 7) == 7
    assert data.count_classes(train, val, [], 5) == 5
    with pytest.raises(ValueError, match='num_classes=4: the records hold label 4, use at least 5'):
        data.count_classes(train, val, [], 4)


@pytest.mark.parametrize('label', [-1, 1.5, float('nan'), float('inf'), 1e30])
@pytest.mark.parametrize('side', ['train', 'val'])
def test_a_label_that_is_no_class_is_named(tmp_path, label, side):
    labels = {'train': [0, 1, 2], 'val': [0, 1, 2]}
    labels[side][1] = label
    train, val = labelled(tmp_path, labels['train'], labels['val'])
    with pytest.raises(
        ValueError, match=rf'{side}\.rec: record 1 has label {re.escape(f"{label:g}")}, no class number'
    ):
        data.count_classes(train, val, [])


def test_a_label_above_all_others_asks_for_the_number_of_classes(tmp_path):
    train, val = labelled(tmp_path, [0, 1, 9_000_000], [0])
    with pytest.raises(ValueError, match='hold label 9000000, .* else say `num_classes` 9000001'):
        data.count_classes(train, val, ['a', 'b'])
    assert data.count_classes(train, val, [], 9_000_001) == 9_000_001


def test_class_names_are_the_lines_of_synset(tmp_path):
    assert lists.read_synset(tmp_path) == []
    (tmp_path / 'synset.txt').write_text('caña\nn02 two words\n', encoding='utf-8')
    assert lists.read_synset(tmp_path) == ['caña', 'n02 two words']


def listing(path, labels, start=0):
    path.write_text(''.join(f'{start + i}\t{label}\ta picture {i}.jpg\n' for i, label in enumerate(labels)))


@pytest.fixture
def listed(tmp_path):
    folder(tmp_path, *EVERY)
    for name in EVERY:
        listing((tmp_path / name).with_suffix('.lst'), range(6))
    return tmp_path


def test_lists_that_agree_are_returned(listed, tmp_path):
    assert [path.name for path in data.check_lists(listed, listed, 'imagenet')] == [
        'train_480_q90.lst',
        'train_256_q90.lst',
        'val_256_q90.lst',
    ]
    elsewhere = tmp_path / 'lists'
    elsewhere.mkdir()
    listing(elsewhere / 'train.lst', range(6))
    assert data.check_lists(elsewhere, listed, 'imagenet') == [elsewhere / 'train.lst'] * 2


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (lambda path: listing(path, range(5)), r'lists 5 pictures, .*val_256_q90\.rec holds 6'),
        (lambda path: listing(path, [0, 1, 2, 3, 4, 9]), r'gives id 5 label 9, .*val_256_q90\.rec holds 5'),
        (lambda path: listing(path, range(6), 1), r'gives id 1 label 0, .*val_256_q90\.rec holds 1'),
        (lambda path: listing(path, range(6), 50), r'gives id 50 label 0, .*holds no such id'),
        (lambda path: path.write_text('0\tnothing\n'), r'line 1 is'),
        (lambda path: path.write_text(''), r'the list is empty'),
    ],
)
def test_lists_that_differ_are_named(listed, change, text):
    change(listed / 'val_256_q90.lst')
    with pytest.raises(ValueError, match=r'val_256_q90\.lst.*' + text):
        data.check_lists(listed, listed, 'imagenet')


def test_no_list_at_all_is_an_error(listed, tmp_path):
    for name in ('empty', 'missing'):
        with pytest.raises(ValueError, match=rf"list_dir='.*{name}' holds no \.lst file"):
            data.check_lists(tmp_path / name, listed, 'imagenet')


def test_a_validation_batch_is_no_larger_than_all_pictures(tmp_path):
    """A batch is padded to its size: 4096 rows for 6 pictures would take the memory of 4096."""
    path = folder(tmp_path, *EVERY)
    for workers, rows in ((1, 6), (2, 3)):
        cluster = SimpleNamespace(rank=0, num_workers=workers, contexts=[mx.cpu()])
        _, val = iters(path, cluster=cluster, batch_size=4096)
        ((pictures, _, real),) = val.epoch()
        assert (pictures.shape[0], real) == (rows, rows)
