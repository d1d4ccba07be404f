"""Every kind of SOURCE: which pictures, sides, labels and class names come out of it."""

from __future__ import annotations

import io
import os
import pickle
import re
import tarfile

import cv2
import numpy as np
import pytest

from ibnnet_mx.recordio import sources
from ibnnet_mx.recordio.format import RecordFile
from ibnnet_mx.recordio.packing import archives
from tests.picture_sets import (
    NAMES,
    check_labels,
    cifar_archive,
    cifar_rows,
    class_folders,
    contents,
    encoded,
    listed,
    run,
    tar_of,
    tree,
)

IMAGENET = ['train_480_q90', 'train_256_q90', 'val_256_q90']


def test_class_folders_are_split_shuffled_and_labelled_by_their_sorted_names(tmp_path, capsys):
    source = tree(tmp_path / 'in', {**class_folders(), 'cat/notes.txt': b'x', 'loose.png': encoded(1)})
    (source / 'dog').mkdir()
    out = tmp_path / 'out'
    assert run(source, out) == 0
    said = capsys.readouterr()
    assert f'{out}/train_480_q90.rec: 9 records' in said.out
    assert 'files that cannot be packed are left out: 1 .txt' in said.err
    assert '1 pictures outside the class folders' in said.err
    assert 'the folder dog is empty' in said.err
    train, val = listed(out, 'train_480_q90'), listed(out, 'val_256_q90')
    assert train == listed(out, 'train_256_q90')
    assert sorted(path for _, path in train + val) == sorted(class_folders())
    assert train != sorted(train)
    assert val == sorted(val)
    check_labels(train + val)
    assert (out / 'synset.txt').read_text().split() == NAMES
    for name, short in zip(IMAGENET, (480, 256, 256)):
        with RecordFile(out / f'{name}.rec') as records:
            assert cv2.imdecode(np.frombuffer(records.read(0).payload, np.uint8), 1).shape[0] == short


@pytest.mark.parametrize('val', ['val/', 'test/'])
def test_train_and_val_folders_keep_their_sides(tmp_path, val):
    files = class_folders(('train/', val))
    assert run(tree(tmp_path / 'in', files), tmp_path / 'out', '--resize', 64, '--quality', 80) == 0
    train, held = listed(tmp_path / 'out', 'train_64_q80'), listed(tmp_path / 'out', 'val_256_q80')
    assert {path for _, path in train} == {name for name in files if name.startswith('train/')}
    assert [path for _, path in held] == sorted(name for name in files if name.startswith(val))
    check_labels(train + held)


@pytest.mark.parametrize('mode', ['w', 'w:gz'])
def test_tar_gives_the_bytes_of_the_folder(tmp_path, mode):
    files = class_folders(('train/', 'test/'), size=(32, 32))
    tar = tar_of(tmp_path / 'pictures', {f'./pictures/{name}': data for name, data in files.items()}, mode)
    assert run(tar, tmp_path / 'a') == 0
    assert run(tree(tmp_path / 'in' / 'pictures', files).parent, tmp_path / 'b') == 0
    assert contents(tmp_path / 'a') == contents(tmp_path / 'b')
    names = {f'{side}_32.{kind}' for side in ('train', 'val') for kind in ('rec', 'idx', 'lst')}
    assert set(contents(tmp_path / 'a')) == {*names, 'synset.txt'}
    with RecordFile(tmp_path / 'a' / 'val_32.rec') as records:
        name = listed(tmp_path / 'a', 'val_32')[5][1].split('/', 1)[1]
        expected = cv2.imdecode(np.frombuffer(files[name], np.uint8), 1)
        assert (cv2.imdecode(np.frombuffer(records.read(5).payload, np.uint8), 1) == expected).all()


def test_members_that_point_outside_of_a_tar_write_nothing(tmp_path):
    files = {f'../../{name}': data for name, data in class_folders().items()}
    assert run(tar_of(tmp_path / 'x.tar', files), tmp_path / 'out') == 0
    assert sorted(os.listdir(tmp_path)) == ['out', 'x.tar']


def test_lists_are_written_and_read_again(tmp_path):
    source = tree(tmp_path / 'in', class_folders())
    assert run(source, tmp_path / 'lists', '--list') == 0
    assert sorted(os.listdir(tmp_path / 'lists')) == ['synset.txt', 'train.lst', 'val.lst']
    assert run(tmp_path / 'lists', tmp_path / 'a', '--root', source) == 0
    check_labels(listed(tmp_path / 'a', 'train_480_q90') + listed(tmp_path / 'a', 'val_256_q90'))
    assert (tmp_path / 'a' / 'synset.txt').read_text().split() == NAMES
    one = source / 'all.lst'
    one.write_text('7\t5\tcat/0.jpg\n8\t0\tbird/1.jpg\n9\t5\tcat/2.jpg\n')
    assert run(one, tmp_path / 'b', '--train-ratio', 0.4) == 0
    pairs = listed(tmp_path / 'b', 'train_480_q90') + listed(tmp_path / 'b', 'val_256_q90')
    assert sorted(pairs) == [(0, 'bird/1.jpg'), (5, 'cat/0.jpg'), (5, 'cat/2.jpg')]


def test_several_labels_of_a_list_are_kept(tmp_path):
    source = tree(tmp_path / 'in', class_folders())
    (source / 'train.lst').write_text('0\t1.5\t-2\t3\tcat/0.jpg\n1\t4\t5\t6\tcat/1.jpg\n')
    (source / 'val.lst').write_text('0\t7\t8\t9.25\tcat/2.jpg\n')
    assert run(source, tmp_path / 'out') == 0
    with RecordFile(tmp_path / 'out' / 'val_256_q90.rec') as records:
        assert records.labels().tolist() == [[7, 8, 9.25]]
    assert (tmp_path / 'out' / 'train_480_q90.lst').read_text().count('\t1.5\t-2\t3\tcat/0.jpg\n') == 1
    assert not (tmp_path / 'out' / 'synset.txt').exists()


def test_cifar_archives_of_both_versions_packed_or_not_give_the_same_records(tmp_path):
    batches, found = cifar_rows(), []
    for kind in ('py', 'bin'):
        files = cifar_archive(kind, batches)
        folder = tree(tmp_path / kind, files)
        for number, source in enumerate([tar_of(tmp_path / f'{kind}.tar.gz', files, 'w:gz'), folder]):
            assert run(source, tmp_path / f'{kind}{number}') == 0
            found.append(contents(tmp_path / f'{kind}{number}'))
    assert all(records == found[0] for records in found)
    assert listed(tmp_path / 'py0', 'cifar10_val') == [
        (2, 'test_batch/00000'),
        (0, 'test_batch/00001'),
        (1, 'test_batch/00002'),
    ]
    assert len(listed(tmp_path / 'py0', 'cifar10_train')) == 15
    with RecordFile(tmp_path / 'py0' / 'cifar10_val.rec') as records:
        rgb = cv2.imdecode(np.frombuffer(records.read(1).payload, np.uint8), 1)[:, :, ::-1]
        assert (rgb.transpose(2, 0, 1).reshape(-1) == batches['test_batch'][0][1]).all()


class Evil:
    def __reduce__(self):
        return os.system, ('echo evil > "$EVIL_FILE"',)


def test_pickle_that_asks_for_more_than_arrays_is_refused_and_not_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('EVIL_FILE', str(tmp_path / 'evil'))
    files = cifar_archive('py', cifar_rows())
    files['cifar-10-batches-py/data_batch_2'] = pickle.dumps({b'data': Evil()}, protocol=2)
    assert run(tar_of(tmp_path / 'c.tar', files), tmp_path / 'out') == 2
    assert 'data_batch_2 is a pickle that asks for posix.system' in capsys.readouterr().err
    assert not (tmp_path / 'evil').exists()


CIFAR_MISTAKES = {
    'missing': ('test_batch', None, 'test_batch'),
    'no pickle': ('data_batch_3', b'words', 'data_batch_3 is no CIFAR-10 pickle'),
    'cut': ('data_batch_3', 'cut', 'data_batch_3 is no CIFAR-10 pickle'),
    'other rows': ('data_batch_3', pickle.dumps({b'data': np.zeros((2, 9), np.uint8), b'labels': [0, 0]}, 2), '3072'),
    'label': ('data_batch_3', pickle.dumps({b'data': np.zeros((1, 3072), np.uint8), b'labels': [7]}, 2), 'label 7'),
    'no names': ('batches.meta', pickle.dumps({}, 2), 'needs the names in batches.meta'),
}


@pytest.mark.parametrize('name', CIFAR_MISTAKES)
def test_damaged_cifar_archive_is_named(tmp_path, capsys, name):
    member, data, text = CIFAR_MISTAKES[name]
    files = cifar_archive('py', cifar_rows())
    whole = files.pop(f'cifar-10-batches-py/{member}')
    if data is not None:
        files[f'cifar-10-batches-py/{member}'] = whole[:500] if data == 'cut' else data
    assert run(tar_of(tmp_path / 'c.tar', files), tmp_path / 'out') == 2
    said = capsys.readouterr().err
    assert text in said
    assert said.count('\n') == 1


def test_digits_are_a_cifar_set_with_their_value_as_label(tmp_path):
    datasets = pytest.importorskip('sklearn.datasets')
    assert run('digits', tmp_path) == 0
    train, val = listed(tmp_path, 'train_32'), listed(tmp_path, 'val_32')
    assert (len(train), len(val)) == (1437, 360)
    assert (tmp_path / 'synset.txt').read_text().split() == list(sources.DIGITS)
    digits = datasets.load_digits()
    assert {path: label for label, path in train + val} == {
        f'digits/{i:04d}': int(label) for i, label in enumerate(digits.target)
    }
    with RecordFile(tmp_path / 'val_32.rec') as records:
        image = cv2.imdecode(np.frombuffer(records.read(9).payload, np.uint8), 1)
    assert image.shape == (32, 32, 3)
    small = cv2.resize(image[:, :, 0], (8, 8), interpolation=cv2.INTER_AREA).astype(float)
    assert np.corrcoef(small.ravel(), digits.images[int(val[9][1][-4:])].ravel())[0, 1] > 0.98


def test_small_pictures_are_enlarged_if_a_size_asks_for_it(tmp_path, capsys):
    source = tree(tmp_path / 'in', class_folders(size=(32, 32)))
    assert run(source, tmp_path / 'out', '--resize', 64) == 0
    assert (tmp_path / 'out' / 'train_64_q90.rec').is_file()
    assert 'the records enlarge them to a short side of 64: --image-size 32 keeps them' in capsys.readouterr().err


def test_one_junk_picture_does_not_decide_the_kind(tmp_path, capsys):
    files = {**class_folders(size=(32, 32)), 'airplane/0.jpg': b'junk'}
    assert run(tree(tmp_path / 'in', files), tmp_path / 'out') == 0
    assert (tmp_path / 'out' / 'train_32.rec').exists()
    said = capsys.readouterr().err
    assert '11 of 12 pictures that were looked at are 32x32, 1 cannot be read: packed as cifar10 (--data-type' in said
    files = {**class_folders(), 'airplane/0.jpg': encoded(0, (32, 32))}
    assert run(tree(tmp_path / 'in2', files), tmp_path / 'out2', '--list') == 0
    assert (
        '1 of 12 pictures that were looked at are 32x32, 0 cannot be read: packed as imagenet'
        in capsys.readouterr().err
    )


BAD_TARS = {
    'grows': 'grows.tgz becomes more than 50 times as large when it is unpacked .1 MB.: unpack it yourself',
    'sparse': '1 members that are sparse files are left out',
    'links': '2 members that are links, devices or FIFOs are left out',
}


def bad_tar(path, kind):
    """A tar with class folders and members of one odd kind. Hard links are pictures like others."""
    with tarfile.open(path, 'w:gz' if kind == 'grows' else 'w') as tar:
        for name, data in class_folders().items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        if kind == 'grows':
            member = tarfile.TarInfo('cat/zeros.png')
            member.size = 8 << 20
            tar.addfile(member, io.BytesIO(bytes(member.size)))
        for number, type in enumerate({'links': (tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.LNKTYPE)}.get(kind, ())):
            member = tarfile.TarInfo(f'cat/odd{number}.jpg')
            member.type, member.linkname = type, 'cat/0.jpg'
            tar.addfile(member)
        if kind == 'sparse':
            member = tarfile.TarInfo('cat/hole.png')
            member.type, member.size = tarfile.GNUTYPE_SPARSE, 0
            block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
            block[483:495] = b'%011o\0' % (20 << 30)  # the size that it seems to have
            block[148:156] = b'%06o\0 ' % (256 + sum(block[:148]) + sum(block[156:512]))
            tar.fileobj.write(block)
    return path


@pytest.mark.parametrize('kind', BAD_TARS)
def test_tars_that_lie_about_sizes_are_refused_or_told(tmp_path, capsys, monkeypatch, kind):
    monkeypatch.setattr(archives, 'UNPACKED_LEAST', 1 << 20)
    code = run(bad_tar(tmp_path / f'{kind}.tgz', kind), tmp_path / 'out', '--list')
    assert code == (2 if kind == 'grows' else 0)
    assert re.search(BAD_TARS[kind], capsys.readouterr().err)
    if kind != 'grows':
        lines = [(tmp_path / 'out' / f'{side}.lst').read_text().splitlines() for side in ('train', 'val')]
        assert sum(map(len, lines)) == 12 + (kind == 'links')


def test_the_handed_sparse_tar_is_left_out(shared, tmp_path, capsys):
    assert run(shared / 'cases' / 'faults' / 'sparse.tar', tmp_path / 'out', '--list') == 0
    assert '1 members that are sparse files are left out' in capsys.readouterr().err
