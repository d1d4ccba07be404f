"""Class folders read as records are: which pictures, which labels, and what is refused."""

import re

import numpy as np
import pytest

from ibnnet_mx.recordio.format import RecordError
from ibnnet_mx.recordio.reading.folder import FolderRecords, open_records
from ibnnet_mx.recordio.reading.options import Options
from ibnnet_mx.recordio.reading.reader import Reader
from ibnnet_mx.recordio.sources import SourceError
from tests.picture_sets import NAMES, class_folders, encoded, tree
from tests.record_sets import marked, png, write


def test_pictures_come_in_order_with_their_classes(tmp_path):
    files = class_folders(count=2)
    folder = tree(tmp_path / 'in', {**files, 'cat/notes.txt': b'x'})
    with open_records(folder) as records:
        assert records.classes == NAMES
        assert len(records) == 6
        assert records.labels().tolist() == [[0], [0], [1], [1], [2], [2]]
        for i, name in enumerate(sorted(files)):
            item = records.read(i)
            assert (item.payload, item.id, item.label.tolist()) == (files[name], i, [i // 2])
            assert records.describe(i) == str(folder / name)
        assert records.notes == ['files that cannot be packed are left out: 1 .txt']


@pytest.mark.parametrize('val', ['val/', 'test/', 'validation/'])
def test_the_validation_side_is_taken_with_the_numbers_of_both(tmp_path, val):
    files = class_folders(('train/', val))
    del files[f'{val}airplane/0.jpg']
    files = {name: data for name, data in files.items() if not name.startswith(f'{val}bird')}
    records = FolderRecords(tree(tmp_path / 'in' / 'below', files).parent)
    assert records.classes == NAMES
    assert records.labels()[:, 0].tolist() == [0] * 3 + [2] * 4
    assert all(f'/{val}' in records.describe(i) for i in range(len(records)))


def test_one_side_alone(tmp_path):
    assert FolderRecords(tree(tmp_path / 'a', class_folders(('val/',)))).classes == NAMES
    records = FolderRecords(tree(tmp_path / 'b', class_folders(('train/',))))
    assert (records.classes, len(records)) == (NAMES, 12)
    assert records.notes == ['there is no validation side: the pictures of train/ are read']
    with pytest.raises(SourceError, match='holds pictures of test and val without train: name one'):
        FolderRecords(tree(tmp_path / 'c', class_folders(('val/', 'test/'))))


@pytest.mark.parametrize('files', [{}, {'a.jpg': encoded(0)}, {'cat/notes.txt': b'x'}])
def test_a_folder_without_pictures_is_refused(tmp_path, files):
    (tmp_path / 'in').mkdir()
    with pytest.raises(SourceError, match=r'in: no pictures in class folders \(CLASS/x.jpg, or train/CLASS'):
        open_records(tree(tmp_path / 'in', files))


def test_records_say_where_they_are(tmp_path):
    with open_records(write(tmp_path / 'a.rec', [png(marked(i)) for i in range(2)])) as records:
        assert records.describe(1) == f'{tmp_path}/a.rec: record 1 (id 1, byte {records.offsets[1]})'


def batches(folder, **options):
    reader = Reader(folder, 32, 4, None, options=Options(threads=2, **options))
    try:
        return list(reader.epoch())
    finally:
        reader.close()


UNKNOWN = 'cannot be decoded (it is no picture of a known format)'


@pytest.mark.parametrize(('data', 'why'), [(b'', 'is empty'), (b'text', UNKNOWN), (None, 'is truncated')])
@pytest.mark.parametrize('size', [(24, 32), (90, 80)])
def test_a_damaged_picture_is_named_or_skipped(tmp_path, data, why, size):
    files = class_folders(size=size)
    files['bird/1.jpg'] = files['bird/1.jpg'][:300] if data is None else data
    folder, said = tree(tmp_path / 'in', files), []
    with pytest.raises(RecordError, match=f'^{folder}/bird/1.jpg {re.escape(why)}: 1 such .*`max_bad` 0 allowed'):
        batches(folder)
    whole = batches(folder, max_bad=1, report=said.append)
    assert [batch.real for batch in whole] == [4, 3, 4]
    assert said == [f'{folder}/bird/1.jpg {why}: skipped']


def test_a_picture_that_vanishes_is_named(tmp_path):
    folder = tree(tmp_path / 'in', class_folders(size=(90, 80)))
    reader = Reader(folder, 32, 4, None, options=Options(threads=1))
    (folder / 'cat' / '3.jpg').unlink()
    with pytest.raises(RecordError, match='cat/3.jpg cannot be read: No such file'):
        list(reader.epoch())
    reader.close()


def test_training_from_a_folder_is_possible(tmp_path):
    from ibnnet_mx.recordio.pixels.augment import Augment

    folder = tree(tmp_path / 'in', {f'{label}/{i}.png': png(marked(i)) for i in range(5) for label in 'ab'})
    reader = Reader(folder, 8, 4, Augment(mirror=False), options=Options(threads=1))
    seen = [(label, row[0, 0, 0]) for batch in reader.epoch() for label, row in zip(batch.label, batch.data)]
    reader.close()
    assert sorted(seen) == [(label, np.float32(i)) for label in (0, 1) for i in range(5)]


def test_class_folders_that_are_numbers_say_what_order_they_have(tmp_path):
    """torchvision orders folders as text, timm as numbers: which one made the labels must be told."""
    files = {f'{name}/0.jpg': encoded(name) for name in (0, 1, 2, 10)}
    records = FolderRecords(tree(tmp_path / 'in', files))
    assert records.classes == ['0', '1', '10', '2']
    (note,) = records.notes
    assert note.startswith('class names are ordered as text, as torchvision does: 10 is label 2; ')
    assert FolderRecords(tree(tmp_path / 'few', {f'{name}/0.jpg': encoded(name) for name in range(10)})).notes == []


def test_an_empty_folder_of_one_side_leaves_the_class(tmp_path):
    files = class_folders(('train/', 'val/'))
    files = {name: data for name, data in files.items() if not name.startswith('val/bird')}
    (tree(tmp_path / 'in', files) / 'val' / 'bird').mkdir()
    records = FolderRecords(tmp_path / 'in')
    assert (records.classes, len(records)) == (NAMES, 8)
    assert records.notes == ['the folder val/bird is empty: no class comes from it']
