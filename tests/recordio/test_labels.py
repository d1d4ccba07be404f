"""Labels as people have them: several a record, tables of faces, records without a picture, gaps."""

from __future__ import annotations

from types import SimpleNamespace

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import data
from ibnnet_mx.cli import records
from ibnnet_mx.data.files import describe_gaps
from ibnnet_mx.record_iter import ImageRecordIter
from ibnnet_mx.recordio.reading.folder import open_records
from ibnnet_mx.recordio.reading.loader import Loader
from ibnnet_mx.recordio.reading.options import Options
from ibnnet_mx.recordio.reading.reader import Reader
from tests.record_sets import marked, png, write
from tests.refusals import refused

DETECTION = [[2, 5, i, 0.1, 0.1, 0.9, 0.9] for i in range(4)]  # a header of 2 numbers, objects of 5: class and box
ONE_HOT = [[float(i == k) for k in range(4)] for i in range(4)]


def pictures(count=4):
    return [png(marked(i)) for i in range(count)]


@pytest.mark.parametrize('labels', [DETECTION, ONE_HOT, [[i, 1] for i in range(4)]])
def test_several_labels_are_refused_until_one_is_chosen(tmp_path, labels):
    path, count = write(tmp_path / 'a.rec', pictures(), labels), len(labels[0])
    with refused(rf'--label-width 1: .*a\.rec holds {count} labels a record: --label-column K takes one of them'):
        Loader(path, 4, 8)
    with refused('--label-width 1'):
        ImageRecordIter(str(path), (3, 8, 8), 4)
    with refused(rf'--label-width {count - 1}: .*holds {count} labels' if count > 2 else '--label-width 1'):
        Loader(path, 4, 8, label_width=count - 1)
    with refused(rf'--label-column {count}: .*holds {count} labels a record, counted from 0'):
        Loader(path, 4, 8, label_column=count)
    for column in range(count):
        ((_, given),) = Loader(path, 4, 8, label_column=column)
        np.testing.assert_allclose(given, np.array(labels)[:, column], rtol=1e-6)
    ((_, given),) = Loader(path, 4, 8, label_width=count)
    np.testing.assert_allclose(given, labels, rtol=1e-6)
    batch = next(ImageRecordIter(str(path), (3, 8, 8), 4, label_width=count))
    np.testing.assert_allclose(batch.label[0].asnumpy(), labels, rtol=1e-6)


def faces(path, width, count=12, identities=3):
    """insightface's layout: record 0, pictures with `width` labels, tables of identities; as mxnet's own packer."""
    each = count // identities
    writer = mx.recordio.MXIndexedRecordIO(str(path.with_suffix('.idx')), str(path), 'w')

    def put(key, label, payload=b''):
        writer.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, label, key, 0), payload))

    put(0, [count + 1.0, count + identities + 1.0])
    for i in range(count):
        put(i + 1, float(i // each) if width == 1 else [float(i // each), 0.0], png(marked(i)))
    for k in range(identities):
        put(count + 1 + k, [1.0 + each * k, 1.0 + each * (k + 1)])
    writer.close()
    return path


@pytest.mark.parametrize('width', [1, 2])
@pytest.mark.parametrize('options', [{}, {'max_bad': 10}])
def test_face_records_are_read_as_pictures_and_identities(tmp_path, width, options):
    path = faces(tmp_path / 'train.rec', width)
    with open_records(path) as opened:
        assert opened.ids.tolist() == list(range(1, 13))
        assert opened.read(5).label.tolist() == [1]
        assert opened.notes == [
            f'{path} holds faces: 12 pictures, 3 identities; its 4 tables without a picture are passed over'
        ]
    batches = list(Loader(path, 6, 8, **options))
    assert np.concatenate([labels for _, labels in batches]).tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert [images[0, 0, 0, 0] for images, _ in batches] == [0, 6]
    both = Loader([path, path], 24, 8)
    ((_, labels),) = both
    assert labels.tolist() == ([0] * 4 + [1] * 4 + [2] * 4) * 2


@pytest.mark.parametrize('width', [1, 2])
def test_training_counts_identities_and_no_numbers_of_tables(tmp_path, width):
    faces(tmp_path / 'train.rec', width)
    faces(tmp_path / 'val.rec', width)
    from ibnnet_mx.recipe import RECIPES, resolve

    said = []
    one = SimpleNamespace(rank=0, num_workers=1, contexts=[mx.cpu()])
    wanted = resolve(RECIPES['cifar10'], {'batch_size': 4})
    source = data.Input(32, (0.0,) * 3, (1.0,) * 3)
    train, val = data.record_iters(wanted, tmp_path, one, source, Options(threads=1, max_bad=9, report=said.append))
    assert data.count_classes(train, val, []) == 3
    assert train.count() == 12
    assert any(line.startswith(f'{tmp_path}/train.rec holds faces: 12 pictures') for line in said)


def test_the_report_on_face_records_describes_them(tmp_path, capsys):
    assert records.main([str(faces(tmp_path / 'train.rec', 2))]) == 0
    said = capsys.readouterr().out
    for text in ('12 pictures, 3 identities; its 4 tables', 'classes  3, numbers 0 to 2, 4 pictures in each', 'sound'):
        assert text in said


def test_a_first_record_that_only_looks_alike_is_a_picture(tmp_path):
    path = write(tmp_path / 'a.rec', pictures(), [[3, 5], [1, 0], [2, 0], [3, 0]])
    with open_records(path) as opened:
        assert len(opened) == 4
    path = write(tmp_path / 'b.rec', [b'', *pictures(3)], [[99, 120], [1, 0], [2, 0], [3, 0]])
    with open_records(path) as opened:
        assert len(opened) == 4


def reader(path, **options):
    return Reader(path, 8, 4, options=Options(threads=1, **options))


def test_records_without_a_picture_are_no_classes(tmp_path):
    path = write(tmp_path / 'a.rec', [*pictures(3), b''], [0, 1, 2, 25])
    numbers, labels = reader(path).class_labels()
    assert (numbers.tolist(), labels.tolist()) == ([0, 1, 2], [0, 1, 2])


def test_the_class_of_skipped_records_alone_is_none(tmp_path):
    path = write(tmp_path / 'a.rec', [*pictures(3), b'damage'], [0, 1, 2, 25])
    assert reader(path).class_labels()[1].max() == 25
    assert reader(path, max_bad=1).class_labels()[1].max() == 2
    sound = write(tmp_path / 'b.rec', pictures(4), [0, 1, 2, 25])
    assert reader(sound, max_bad=1).class_labels()[1].max() == 25


def sides(*labels, name='a.rec'):
    held = {name: (np.arange(len(labels)), np.array(labels, np.float32))}
    return SimpleNamespace(class_labels=lambda: held)


@pytest.mark.parametrize('label', [-1, 0.5, np.nan, np.inf])
def test_labels_that_are_no_class_numbers_are_named(label):
    with pytest.raises(ValueError, match=r'a\.rec: record 1 has label .*no class number'):
        data.count_classes(sides(0, label), sides(0, name='b.rec'), [])


def test_classes_without_a_picture_are_told():
    assert describe_gaps(sides(0, 2), 10**9, []) == [  # and no memory for each of them
        '999999998 of 1000000000 classes have no training picture: 1, 3, 4, 5, 6, ...'
    ]
    assert describe_gaps(sides(0, 1, 2), 3, []) == []
    assert describe_gaps(sides(0, 3), 4, ['a', 'b']) == ['2 of 4 classes have no training picture: 1 b, 2']
    assert describe_gaps(sides(1, 2), 3, []) == [
        '1 of 3 classes have no training picture: 0; do the labels count from 1? Pack them with labels from 0'
    ]


def test_a_single_class_is_told():
    text = 'all training pictures have label {}: there is nothing to learn from a single class'
    assert describe_gaps(sides(0, 0), 1, []) == [text.format(0)]
    assert describe_gaps(sides(2, 2), 4, []) == [text.format(2)]


def test_the_handed_face_records(shared):
    for name in ('insightface_rec_flag0', 'insightface_rec_flag2'):
        labels = np.concatenate([labels for _, labels in Loader(shared / 'cases' / name / 'train.rec', 8, 32)])
        assert labels.tolist() == [i // 6 for i in range(24)]
