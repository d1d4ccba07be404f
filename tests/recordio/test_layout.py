"""Class folders as people have them: names of sides, links, litter of file servers, and layouts that are no classes."""

from __future__ import annotations

import os

import pytest

from ibnnet_mx.recordio.folders import from_folder
from ibnnet_mx.recordio.layout import LayoutError, read_layout, side_of
from ibnnet_mx.recordio.sources import SourceError
from tests.picture_sets import NAMES, class_folders, encoded, run, tar_of, tree


def sides(folder):
    source = from_folder(str(folder))
    assert source.classes == NAMES
    return [sample.name for sample in source.train], [sample.name for sample in source.val]


@pytest.mark.parametrize(
    ('train', 'val'),
    [
        ('Training/', 'Testing/'),
        ('Train/', 'Test/'),
        ('TRAIN/', 'VALID/'),
        ('Train_Set/', 'Validation_Set/'),
        ('training set/', 'test set/'),
        ('seg_train/seg_train/', 'seg_test/seg_test/'),
        ('pets/imagenet-train/', 'pets/imagenet-val/'),
        ('train_images/', 'dev_images/'),
    ],
)
def test_usual_names_of_sides_are_no_classes(tmp_path, train, val):
    files = class_folders((train, val))
    assert sides(tree(tmp_path / 'in', files)) == (
        sorted(name for name in files if name.startswith(train)),
        sorted(name for name in files if name.startswith(val)),
    )
    tar = tar_of(tmp_path / 'in.tar', files)
    assert run(tar, tmp_path / 'out', '--list') == 0
    assert (tmp_path / 'out' / 'synset.txt').read_text().split() == NAMES
    assert len((tmp_path / 'out' / 'val.lst').read_text().splitlines()) == 12


def test_the_test_side_is_not_validation_where_both_are_there(tmp_path):
    folder = tree(tmp_path / 'in', class_folders(('train/', 'val/', 'test/')))
    assert all(name.startswith('val/') for name in sides(folder)[1])
    assert from_folder(str(folder)).notes == ['the folder test is left out: train and val are the two sides']


def test_pictures_to_be_predicted_are_no_side(tmp_path):
    files = {**class_folders(('seg_train/', 'seg_test/')), 'seg_pred/seg_pred/1.jpg': encoded(1)}
    folder = tree(tmp_path / 'in', files)
    assert [len(side) for side in sides(folder)] == [12, 12]
    assert from_folder(str(folder)).notes[0].startswith('the folder seg_pred is left out')


@pytest.mark.parametrize(
    ('name', 'side'),
    [('trainset', 'train'), ('Val', 'val'), ('my-test', 'test'), ('constrained', None), ('test_val', None)],
)
def test_sides_are_whole_words(name, side):
    assert side_of(name) == side


def test_vehicles_named_train_are_a_class():
    layout = read_layout([f'{name}/{i}.jpg' for name in ('bus', 'train') for i in range(2)], 'here')
    assert sorted({parts[0] for parts, _ in layout.train}) == ['bus', 'train']
    assert layout.val == []


def test_sides_that_could_be_meant_both_are_refused():
    names = [f'{side}/{name}/1.jpg' for side in ('train_a', 'train_b', 'val') for name in NAMES]
    with pytest.raises(LayoutError, match='here: train_a and train_b could all be the same side'):
        read_layout(names, 'here')
    with pytest.raises(LayoutError, match='train has folders in it like a training side, but extra beside it'):
        read_layout(['train/cat/1.jpg', 'extra/cat/2.jpg'], 'here')
    names = [f'{side}/{name}/1.jpg' for side in ('train', 'train_mini', 'val') for name in NAMES]
    assert len(read_layout(names, 'here').train) == len(NAMES)


@pytest.mark.parametrize('targets', ['up', 'self', 'two', 'outside'])
def test_links_that_lead_up_or_to_themselves_are_read_once(tmp_path, targets):
    folder = tree(tmp_path / 'in', class_folders())
    where = {'up': {'bird/all': '..'}, 'self': {'bird/all': '.'}, 'outside': {'bird/all': '../..'}}
    for link, target in where.get(targets, {'bird/all': '..', 'cat/all': '..'}).items():
        (folder / link).symlink_to(target)
    assert sides(folder) == (sorted(class_folders()), [])
    assert 'the link bird/all leads to' in from_folder(str(folder)).notes[0]


def test_class_folders_that_are_links_are_classes(tmp_path):
    store, folder = tree(tmp_path / 'store', class_folders()), tmp_path / 'in'
    folder.mkdir()
    for name in NAMES:
        (folder / name).symlink_to(store / name)
    assert sides(folder) == (sorted(class_folders()), [])
    (folder / 'kitten').symlink_to(folder / 'cat')
    assert sides(folder) == (sorted(class_folders()), [])
    assert from_folder(str(folder)).notes == ['the link kitten leads to cat, which is read: it is left out']


LITTER = {
    'cat/@eaDir/0.jpg/SYNOPHOTO_THUMB_M.jpg': b'x',
    'bird/@eaDir/0.jpg/SYNOPHOTO_THUMB_M.jpg': b'x',
    '__MACOSX/cat/._0.jpg': b'x',
    '__MACOSX/cat/1.jpg': b'x',
    '#recycle/cat/9.jpg': b'x',
    'lost+found/5.jpg': b'x',
    'cat/.thumbnails/0.jpg': b'x',
    'cat/Thumbs.db': b'x',
}


def test_thumbnails_and_litter_are_left_out_and_told(tmp_path, capsys):
    files = {**class_folders(), **LITTER}
    folder = tree(tmp_path / 'in', files)
    assert sides(folder) == (sorted(class_folders()), [])
    notes = '\n'.join(from_folder(str(folder)).notes)
    for text in ('bird/@eaDir and 1 more is not for pictures', '__MACOSX', '#recycle', 'lost+found', '.thumbnails'):
        assert text in notes
    assert run(tar_of(tmp_path / 'in.tar', files), tmp_path / 'out', '--list') == 0
    assert (tmp_path / 'out' / 'synset.txt').read_text().split() == NAMES
    assert '2 files in folders @eaDir are left out' in capsys.readouterr().err


def test_fifos_and_devices_are_no_pictures(tmp_path):
    folder = tree(tmp_path / 'in', class_folders())
    os.mkfifo(folder / 'cat' / '9.jpg')
    (folder / 'cat' / '8.jpg').symlink_to('/dev/zero')
    assert sides(folder) == (sorted(class_folders()), [])
    assert from_folder(str(folder)).notes == ['2 entries that are no regular files are left out']


@pytest.mark.parametrize(
    'names',
    [
        ['images/1.jpg', 'labels/1.txt'],
        ['images/1.jpg', 'masks/1.png'],
        ['images/cat/1.jpg', 'annotations/xmls/1.xml'],
        ['train/images/1.jpg', 'train/labels/1.txt', 'val/images/2.jpg', 'val/labels/2.txt'],
        ['voc/JPEGImages/1.jpg', 'voc/Annotations/1.xml'],
    ],
)
def test_detection_sets_are_refused_with_the_way_out(tmp_path, names):
    folder = tree(tmp_path / 'in', dict.fromkeys(names, encoded(1)))
    with pytest.raises(SourceError, match=r'laid out for detection or segmentation .*itself if its folders are the'):
        from_folder(str(folder))


def test_flat_folders_are_refused_with_the_way_out(tmp_path):
    with pytest.raises(SourceError, match='2 pictures lie outside of such: give each class a folder, or write a list'):
        from_folder(str(tree(tmp_path, {'dog_0.jpg': b'x', 'cat_1.jpg': b'x'})))


def test_a_class_of_dots_is_refused():
    with pytest.raises(LayoutError, match=r'a class cannot be named \.\.'):
        read_layout(['../1.jpg', 'cat/2.jpg'], 'here')


def test_the_handed_folders_give_three_classes(shared, tmp_path):
    for name in ('folder_training_testing', 'folder_Train_Test', 'folder_seg_train'):
        source = from_folder(str(shared / 'cases' / name))
        assert (source.classes, len(source.train), len(source.val)) == (['dog', 'elephant', 'giraffe'], 12, 6)
    nas = from_folder(str(shared / 'cases' / 'folder_nas'))
    assert (nas.classes, len(nas.train)) == (['dog', 'elephant', 'giraffe'], 9)
