"""Sides by class, domains above classes, and the words about what is left out."""

import numpy as np
import pytest

from ibnnet_mx.errors import OptionError
from ibnnet_mx.recordio import sources
from ibnnet_mx.recordio.folders import from_folder
from ibnnet_mx.recordio.reading.folder import FolderRecords
from ibnnet_mx.recordio.sources import Sample, describe_gaps, split, split_by_class
from tests.picture_sets import NAMES, class_folders, encoded, listed, run, tree

DOMAINS = ('art/', 'photo/', 'sketch/')


def samples_of(counts):
    """Samples of class 0, 1, ... as often as counts say, in a mixed order."""
    labels = np.random.RandomState(3).permutation(np.repeat(np.arange(len(counts)), counts))
    return [Sample((float(label),), f'{i:05d}', i) for i, label in enumerate(labels)]


def counted(side, classes):
    return np.bincount([int(sample.labels[0]) for sample in side], minlength=classes).tolist()


@pytest.mark.parametrize(
    ('counts', 'ratio', 'train'),
    [
        ([10, 100, 5], 0.8, [8, 80, 4]),
        ([8, 8, 8], 0.8, [7, 6, 6]),  # 19 of 24, as without classes
        ([2, 2, 2], 0.8, [1, 1, 1]),  # one on each side
        ([3, 9, 30], 0.01, [1, 1, 1]),
        ([1, 9, 30], 0.8, [1, 7, 24]),  # a single picture is trained on
        ([7], 0.5, [3]),
        ([1, 1, 1, 1, 4], 0.5, [1, 1, 1, 1, 2]),  # mostly single pictures
    ],
)
def test_each_class_is_split_alike(counts, ratio, train):
    samples = samples_of(counts)
    sides = split_by_class(samples, ratio, 5)
    assert counted(sides[0], len(counts)) == train
    assert sorted(sides[0] + sides[1], key=lambda sample: sample.key) == samples
    assert sides[1] == sorted(sides[1], key=lambda sample: sample.key)
    assert split_by_class(samples, ratio, 5) == sides
    assert sum(counts) < 20 or split_by_class(samples, ratio, 6) != sides


@pytest.mark.parametrize('labels', [[(0.5,), (1.5,), (2.25,), (0.1,)], [(0.0, 1.0)] * 4, [(0.0,), (1.0,), (2.0,)]])
def test_labels_that_are_no_classes_are_split_at_random(labels):
    samples = [Sample(label, str(i), i) for i, label in enumerate(labels)]
    assert split_by_class(samples, 0.5, 1) == split(samples, 0.5, 1)


def test_a_side_without_a_class_is_told():
    train, val = ([Sample((float(label),), '', 0) for label in side] for side in ([0, 1, 1, 3], [1, 4]))
    assert describe_gaps(train, val, list('abcde')) == [
        '1 of 5 classes have no training picture: e',
        '2 of 5 classes have no validation picture: a, d',
    ]
    assert describe_gaps(train, train, list('abcde')) == []
    many = [Sample((float(label),), '', 0) for label in range(9)]
    assert describe_gaps(many, [], list('abcdefghi'))[0].endswith('picture: a, b, c, d, e and 4 more')


def test_the_command_splits_by_class_unless_told_otherwise(tmp_path, capsys):
    files = {f'{name}/{i}.png': encoded(i, (32, 32), '.png') for name, n in zip('abc', (10, 5, 1)) for i in range(n)}
    source = tree(tmp_path / 'in', files)
    assert run(source, tmp_path / 'a') == 0
    assert '1 of 3 classes have no validation picture: c' in capsys.readouterr().err
    assert counted_lines(tmp_path / 'a', 'val_32') == [2, 1, 0]
    assert run(source, tmp_path / 'b', '--split', 'random') == 0
    wanted = sources.split(from_folder(str(source)).train, 0.8, 0)[1]
    assert [path for _, path in listed(tmp_path / 'b', 'val_32')] == [sample.name for sample in wanted]


def test_files_of_two_splits_do_not_come_together(tmp_path, capsys):
    source, out = tree(tmp_path / 'in', class_folders(count=6)), tmp_path / 'out'
    assert run(source, out, '--resize', 300, '--split', 'random', '--seed', 3) == 0
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    capsys.readouterr()
    assert run(source, out, '--resize', 320) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f'DATA_DIR {out} holds train_300_q90.rec of another split of the pictures' in line
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.suffix != '.lock'} == before
    assert run(source, out, '--resize', 300) == 0  # all of its files are made anew
    assert run(source, out, '--image-size', 24) == 0  # a pair of its own
    assert run(source, out, '--resize', 320) == 0


def counted_lines(folder, name):
    return np.bincount([label for label, _ in listed(folder, name)], minlength=3).tolist()


@pytest.fixture
def domains(tmp_path):
    files = class_folders(DOMAINS, count=2)
    return tree(tmp_path / 'PACS', {name: data for name, data in files.items() if name != 'sketch/cat/1.jpg'})


def test_domains_are_noticed_and_asked_for(domains, tmp_path, capsys):
    assert run(domains, tmp_path / 'out') == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f'{domains} has the same folders (airplane, bird, cat) in art, photo, sketch' in line
    assert 'add --domain art (or several, with commas), --domain all, or --domain none if art is a class' in line
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('domain', 'classes', 'count'),
    [('photo', NAMES, 6), ('art,sketch', NAMES, 11), ('all', NAMES, 17), ('none', ['art', 'photo', 'sketch'], 17)],
)
def test_domains_are_chosen(domains, domain, classes, count):
    source = from_folder(str(domains), domain)
    assert (source.classes, len(source.train)) == (classes, count)
    for sample in source.train:
        parts = sample.name.split('/')
        assert source.classes[int(sample.labels[0])] == parts[domain != 'none']
        assert domain in ('all', 'none') or parts[0] in domain.split(',')
    assert source.notes == {'photo': ['the domains art, sketch are left out']}.get(domain, source.notes)


def test_a_label_means_the_same_in_each_domain(domains):
    for path in (domains / 'photo' / 'airplane').iterdir():
        path.unlink()
    source = from_folder(str(domains), 'photo')
    assert source.classes == NAMES
    assert {sample.labels[0] for sample in source.train} == {1.0, 2.0}


def test_domains_of_both_sides_are_chosen(tmp_path):
    files = class_folders([f'{side}{domain}' for side in ('train/', 'val/') for domain in DOMAINS], count=1)
    source = from_folder(str(tree(tmp_path / 'in', files)), 'art')
    assert [sample.name for sample in source.val] == [f'val/art/{name}/0.jpg' for name in NAMES]


@pytest.mark.parametrize('inner', ['images/', 'train/', 'x/'])
def test_folders_inside_of_classes_are_no_domains(tmp_path, inner):
    files = {name.replace('/', f'/{inner}'): data for name, data in class_folders().items()}
    assert from_folder(str(tree(tmp_path / 'in', files))).classes == NAMES


@pytest.mark.parametrize(
    ('given', 'text'),
    [
        ('cartoon', "domain='cartoon': {} has no such folder of class folders: there are art, photo, sketch"),
        ('photo,x', "domain='photo,x': {} has no such folder of class folders: there are art, photo, sketch"),
    ],
)
def test_an_unknown_domain_is_refused(domains, given, text):
    with pytest.raises(OptionError) as caught:
        from_folder(str(domains), given)
    assert str(caught.value) == text.format(domains)


def test_a_domain_of_plain_classes_is_refused(tmp_path, capsys):
    source = tree(tmp_path / 'in', class_folders())
    assert run(source, tmp_path / 'out', '--domain', 'photo') == 2
    assert capsys.readouterr().err.endswith('its folders are no domains\n')
    (tmp_path / 'a.lst').write_text('0\t0\tcat/0.jpg\n1\t1\tbird/0.jpg\n')
    assert run(tmp_path / 'a.lst', tmp_path / 'out', '--root', source, '--domain', 'photo') == 2
    assert 'a.lst has no folders of domains; leave it out' in capsys.readouterr().err


def test_a_folder_that_is_evaluated_is_read_as_it_is(domains):
    assert FolderRecords(domains).classes == ['art', 'photo', 'sketch']


def test_other_files_are_told_by_their_extensions(tmp_path):
    more = {f'cat/{name}': b'x' for name in ('a.HEIC', 'b.heic', 'c.avif', 'c.txt', 'd.txt', 'README')}
    (note,) = from_folder(str(tree(tmp_path / 'in', {**class_folders(), **more}))).notes
    kinds = '2 .heic, 1 .avif, 2 .txt, 1 without an extension'
    assert (
        note
        == f'files that cannot be packed are left out: {kinds}; to use .heic and .avif, convert them to JPEG or PNG'
    )
