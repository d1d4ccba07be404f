"""Folders of domains above the classes: noticed, asked for, and taken."""

from __future__ import annotations

import pytest

from ibnnet_mx.errors import OptionError
from ibnnet_mx.recordio.domains import find_domains, parse_domains
from ibnnet_mx.recordio.folders import from_folder
from ibnnet_mx.recordio.layout import read_layout
from tests.picture_sets import NAMES, class_folders, encoded, run, tar_of, tree

PACS = ('photo/', 'sketch/', 'cartoon/')


def domains_of(*names):
    layout = read_layout(names, 'here')
    return find_domains([*layout.train, *layout.val])


def pictures(*folders):
    return [f'{folder}/{i}.jpg' for folder in folders for i in range(3)]


def labels(path):
    lines = [line.split('\t') for side in ('train', 'val') for line in (path / f'{side}.lst').read_text().splitlines()]
    return {(int(label), name) for _, label, name in lines}


def test_domains_are_the_folders_that_share_names_below():
    seen = domains_of(*pictures('photo/cat', 'photo/dog', 'sketch/cat', 'sketch/dog', 'sketch/owl'))
    assert seen == (['photo', 'sketch'], ['cat', 'dog', 'owl'], 1)
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


def test_packing_asks_for_a_domain(tmp_path, capsys):
    folder = tree(tmp_path / 'in', class_folders(PACS))
    for source in (folder, tar_of(tmp_path / 'in.tar', class_folders(PACS))):
        assert run(source, tmp_path / 'out', '--list') == 2
        said = capsys.readouterr().err
        assert said.count('\n') == 1
        assert 'the folders cartoon, photo, sketch have the same folders in them (airplane, bird, cat)' in said
        assert '--domain cartoon takes one, --domain cartoon,photo several, --domain all all together' in said
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('words', 'domains'),
    [
        (['photo'], ['photo/']),
        (['photo,sketch'], ['photo/', 'sketch/']),
        (['photo', '--domain', 'sketch'], ['photo/', 'sketch/']),
        (['all'], PACS),
    ],
)
def test_chosen_domains_have_the_labels_of_their_classes(tmp_path, capsys, words, domains):
    files = {**class_folders(PACS), 'photo/loose.jpg': encoded(1)}
    assert run(tree(tmp_path / 'in', files), tmp_path / 'out', '--list', '--domain', *words) == 0
    assert (tmp_path / 'out' / 'synset.txt').read_text().split() == NAMES
    assert labels(tmp_path / 'out') == {(NAMES.index(name.split('/')[1]), name) for name in class_folders(domains)}
    assert f'domains: {12 * len(domains)} pictures of ' in capsys.readouterr().err


def test_a_class_that_a_domain_lacks_keeps_the_labels_of_the_others(tmp_path):
    files = {name: data for name, data in class_folders(PACS).items() if not name.startswith('photo/airplane')}
    assert run(tree(tmp_path / 'in', files), tmp_path / 'out', '--list', '--domain', 'photo') == 0
    assert {label for label, _ in labels(tmp_path / 'out')} == {1, 2}
    assert (tmp_path / 'out' / 'synset.txt').read_text().split() == NAMES


def test_the_top_folders_are_classes_if_asked_or_if_names_are_not_shared(tmp_path, capsys):
    folder = tree(tmp_path / 'in', class_folders(PACS))
    assert run(folder, tmp_path / 'out', '--list', '--domain', 'none') == 0
    assert (tmp_path / 'out' / 'synset.txt').read_text().split() == ['cartoon', 'photo', 'sketch']
    text = 'the 3 top folders are classes; pictures in the folders below belong to them: cartoon/airplane, cartoon/bird'
    assert text in capsys.readouterr().err
    assert from_folder(str(folder)).notes[0].startswith('the 3 top folders are classes')  # as evaluation reads it


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        (['music'], '--domain music is no folder of {x}/in: there are cartoon, photo, sketch'),
        (['all,photo'], '--domain all,photo: all and none go without other names'),
        ([','], '--domain , names no domain: name some, or all, or none'),
        (['--domain=--'], 'expected one argument'),
    ],
)
def test_wrong_domains_are_one_line(tmp_path, capsys, words, text):
    folder = tree(tmp_path / 'in', class_folders(PACS))
    option = [] if words[0].startswith('--') else ['--domain']
    try:
        code = run(folder, tmp_path / 'out', '--list', *option, *words)
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert text.format(x=tmp_path) in capsys.readouterr().err


def test_domains_of_what_has_none_are_refused(tmp_path, capsys):
    folder = tree(tmp_path / 'in', class_folders())
    assert run(folder, tmp_path / 'out', '--list', '--domain', 'all') == 2
    assert '/in has no folders of classes below airplane, bird, cat' in capsys.readouterr().err
    (folder / 'train.lst').write_text('0\t0\tcat/0.jpg\n1\t0\tcat/1.jpg\n')
    assert run(folder, tmp_path / 'out', '--list', '--domain', 'all') == 2
    assert 'which has no class folders' in capsys.readouterr().err
    with pytest.raises(OptionError, match="domain='none,a'"):
        parse_domains(['none', 'a'])


def test_files_that_are_left_out_are_counted_by_kind():
    names = [*pictures('a', 'b'), 'a/1.HEIC', 'a/2.heic', 'a/1.txt', 'a/2.txt', 'b/3.txt', 'b/.DS_Store', 'b/README']
    text = 'left out: 2 .heic (convert them to JPEG first), 3 .txt, 1 hidden, 1 without ending'
    assert read_layout(names, 'here').notes == [text]
    names += ['a/1.c', 'a/1.h', 'a/1.o']
    text = 'left out: 2 .heic (convert them to JPEG first), 3 .txt, 1 .c, 1 .h, 1 .o and 2 other files'
    assert read_layout(names, 'here').notes == [text]
