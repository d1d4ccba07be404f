"""Folders above or below the classes: which of them are domains, and their labels."""

from __future__ import annotations

import pytest

from ibnnet_mx.recordio.domains import find_domains
from ibnnet_mx.recordio.folders import from_folder
from ibnnet_mx.recordio.layout import read_layout
from tests.picture_sets import NAMES, class_folders, encoded, run, tar_of, tree

PACS = ('photo/', 'sketch/', 'cartoon/')


def domains_of(*names):
    layout = read_layout(names, 'here')
    return find_domains([*layout.train, *layout.val])


def pictures(*folders):
    return [f'{folder}/{i}.jpg' for folder in folders for i in range(3)]


def listed_labels(path):
    lines = [line.split('\t') for side in ('train', 'val') for line in (path / f'{side}.lst').read_text().splitlines()]
    return {(int(label), name) for _, label, name in lines}


def test_domains_are_the_folders_that_share_names_below():
    folders = pictures('photo/cat', 'photo/dog', 'sketch/cat', 'sketch/dog', 'sketch/owl')
    assert (
        domains_of(*folders)
        == domains_of('photo/loose.jpg', *folders)
        == (['photo', 'sketch'], ['cat', 'dog', 'owl'], 1)
    )
    office = domains_of(*pictures(*(f'office/{d}/images/{c}' for d in ('amazon', 'dslr') for c in ('mug', 'pen'))))
    assert office == (['amazon', 'dslr'], ['mug', 'pen'], 2)
    sides = [f'{side}/{name}' for side in ('train', 'val') for name in pictures('p/cat', 'p/dog', 's/cat', 's/dog')]
    assert domains_of(*sides).names == ['p', 's']


@pytest.mark.parametrize(
    'folders',
    [
        ('cat', 'dog'),
        ('animal/cat', 'animal/dog', 'plant/rose', 'plant/tree'),
        ('cat/images', 'dog/images'),
        ('cat/train', 'cat/test', 'dog/train', 'dog/test'),
        ('cat', 'cat/old', 'cat/new', 'dog', 'dog/old', 'dog/new', 'owl', 'cow'),
        ('cat/images', 'cat/masks', 'dog/images', 'dog/masks'),
    ],
)
def test_folders_within_classes_are_no_domains(folders):
    assert domains_of(*pictures(*folders)) is None


def test_a_class_that_a_domain_lacks_keeps_the_labels_of_the_others(tmp_path, capsys):
    files = {name: data for name, data in class_folders(PACS).items() if not name.startswith('photo/airplane')}
    folder = tree(tmp_path / 'in', {**files, 'photo/loose.jpg': encoded(1)})
    for domain, labels in (('photo', {1, 2}), ('sketch', {0, 1, 2})):
        assert run(folder, tmp_path / domain, '--list', '--domain', domain) == 0
        assert {label for label, _ in listed_labels(tmp_path / domain)} == labels
        assert (tmp_path / domain / 'synset.txt').read_text().split() == NAMES
    assert '1 pictures outside the class folders are left out' in capsys.readouterr().err


def test_several_domains_by_one_option_or_more(tmp_path):
    tar = tar_of(tmp_path / 'in.tar', class_folders(PACS))
    wanted = {(NAMES.index(name.split('/')[1]), name) for name in class_folders(PACS[:2])}
    for number, words in enumerate((['photo,sketch'], ['photo', '--domain', 'sketch'])):
        assert run(tar, tmp_path / str(number), '--list', '--domain', *words) == 0
        assert listed_labels(tmp_path / str(number)) == wanted


def test_folders_within_classes_are_told(tmp_path, capsys):
    folder = tree(tmp_path / 'in', class_folders(('animal/', 'plant/', 'stone/')))
    text = (
        'the 3 classes are the outer folders; pictures of inner folders belong to them: animal/airplane, animal/bird,'
    )
    assert run(folder, tmp_path / 'out', '--list', '--domain', 'none') == 0
    assert text in capsys.readouterr().err
    tree(tmp_path / 'two', {f'{name}/images/{i}.jpg': b'x' for name in 'ab' for i in range(2)})
    assert from_folder(str(tmp_path / 'two')).notes == []


@pytest.mark.parametrize('words', [['--domain', ','], ['--domain=--'], ['--domain', 'all,photo']])
def test_words_that_name_no_domain_are_one_line(tmp_path, capsys, words):
    folder = tree(tmp_path / 'in', class_folders(PACS))
    try:
        code = run(folder, tmp_path / 'out', '--list', *words)
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr().err
    assert code == 2
    assert said.count('\n') == 1
    assert '--domain' in said


def test_lists_have_no_domains(tmp_path, capsys):
    folder = tree(tmp_path / 'in', {**class_folders(), 'train.lst': b'0\t0\tcat/0.jpg\n1\t0\tcat/1.jpg\n'})
    assert run(folder, tmp_path / 'out', '--list', '--domain', 'all') == 2
    assert 'has no folders of domains; leave it out' in capsys.readouterr().err
