"""The split of pictures into two sides: by class, or at random."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from ibnnet_mx.errors import OptionError
from ibnnet_mx.recordio.sources import Sample, SourceError
from ibnnet_mx.recordio.splits import describe_missing, split, split_by_class
from tests.picture_sets import class_folders, encoded, listed, run, tree


def samples_of(counts):
    """A list in the order of classes, as folders give it. counts: {label: number of pictures}."""
    labels = [label for label, count in counts.items() for _ in range(count)]
    return [Sample((float(label),), str(i), i) for i, label in enumerate(labels)]


def by_label(side):
    return Counter(int(sample.labels[0]) for sample in side)


SETS = {
    'equal': {0: 10, 1: 10, 2: 10},
    'unlike': {0: 100, 1: 7, 2: 3, 3: 2, 4: 1},
    'gap': {0: 5, 7: 5},
    'pairs': dict.fromkeys(range(50), 2),
}


@pytest.mark.parametrize('ratio', [0.8, 0.5, 0.01, 0.99])
@pytest.mark.parametrize('counts', SETS.values(), ids=SETS)
def test_each_class_of_two_is_on_both_sides_with_its_part(counts, ratio):
    samples = samples_of(counts)
    train, val = split_by_class(samples, ratio, 5)
    assert sorted(train + val, key=lambda sample: sample.key) == samples
    assert [sample.key for sample in val] == sorted(sample.key for sample in val)
    for label, count in counts.items():
        assert by_label(train)[label] >= 1
        assert by_label(val)[label] >= min(count - 1, 1)
        bounds = np.clip([count * ratio - 1, count * ratio + 1], 1, max(count - 1, 1))
        assert bounds[0] <= by_label(train)[label] <= bounds[1]


@pytest.mark.parametrize('counts', [{0: 100, 1: 33, 2: 41}, {0: 8, 1: 8, 2: 8}, {0: 1797 // 2, 1: 899}])
def test_both_splits_have_sides_of_the_same_length(counts):
    samples = samples_of(counts)
    assert len(split_by_class(samples, 0.8, 0)[0]) == len(split(samples, 0.8, 0)[0]) == int(len(samples) * 0.8)


def test_the_seed_decides_and_the_training_side_is_shuffled():
    samples = samples_of(SETS['unlike'])
    first, other = split_by_class(samples, 0.8, 0), split_by_class(samples, 0.8, 1)
    assert first == split_by_class(samples, 0.8, 0)
    assert set(first[1]) != set(other[1])
    assert [sample.key for sample in first[0]] != sorted(sample.key for sample in first[0])


def test_what_cannot_be_split_is_refused():
    with pytest.raises(OptionError, match="split='class' needs classes of two pictures, and each of the 500 classes"):
        split_by_class(samples_of(dict.fromkeys(range(500), 1)), 0.8, 0)
    with pytest.raises(SourceError, match='1 picture cannot be split'):
        split_by_class(samples_of({0: 1}), 0.8, 0)


def test_classes_on_one_side_only_are_named():
    names = ['ant', 'bee', 'cat', 'dog']
    train, val = samples_of({0: 2, 1: 1}), samples_of({0: 1, 3: 1})
    assert describe_missing(train, val, names) == [
        '1 of 3 classes have no training picture: dog',
        '1 of 3 classes have no validation picture: bee',
    ]
    assert describe_missing(train, train, names) == describe_missing(train, val, []) == []
    many = samples_of(dict.fromkeys(range(9), 1))
    assert describe_missing(many, many[:1], [str(i) for i in range(9)])[0].endswith(': 1, 2, 3, 4, 5, ...')


def test_packing_splits_by_class_and_tells_single_pictures(tmp_path, capsys):
    source = tree(tmp_path / 'in', {**class_folders(count=5), 'zebra/0.jpg': encoded(0)})
    assert run(source, tmp_path / 'a', '--image-size', 48) == 0
    assert '1 of 4 classes have no validation picture: zebra' in capsys.readouterr().err
    train, val = listed(tmp_path / 'a', 'train_48'), listed(tmp_path / 'a', 'val_48')
    assert Counter(label for label, _ in val) == {0: 1, 1: 1, 2: 1}
    assert len(train) == 13
    assert run(source, tmp_path / 'a', '--image-size', 48, '--split', 'random', '--seed', 3) == 0
    assert len(listed(tmp_path / 'a', 'train_48')) == 12  # floor(16 x 0.8), of all classes together


def test_lists_whose_labels_are_no_classes_are_split_at_random(tmp_path):
    tree(tmp_path, class_folders())
    lines = [f'{i}\t{i / 7}\t{name}\n' for i, name in enumerate(sorted(class_folders()))]
    (tmp_path / 'all.lst').write_text(''.join(lines))
    assert run(tmp_path / 'all.lst', tmp_path / 'out', '--list') == 0
    assert len((tmp_path / 'out' / 'train.lst').read_text().splitlines()) == 9
