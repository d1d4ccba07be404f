"""Lists and class names as people write them: editors' and spreadsheets' line ends, ids of their own, comments."""

from __future__ import annotations

import pytest

from ibnnet_mx import data
from ibnnet_mx.recordio import lists
from ibnnet_mx.recordio.format import RecordFile
from ibnnet_mx.recordio.sources import SourceError
from tests.picture_sets import class_folders, encoded, run, tree

LINES = ['0\t0\tcat/0.jpg', '1\t1\tbird/1.jpg', '2\t0\tcat/2.jpg']
NAMES = ['dog', 'elephant', 'giraffe']


@pytest.mark.parametrize('end', ['\n', '\t\n', '  \n', '\r\n', '\t \r\n', '\n\n'])
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
def test_ends_of_lines_do_not_matter(tmp_path, end, encoding):
    path = tmp_path / 'train.lst'
    path.write_bytes(end.join([*LINES, '']).encode(encoding))
    samples = lists.read_list(str(path))
    assert [(s.id, s.labels, s.name) for s in samples] == [
        (0, (0.0,), 'cat/0.jpg'),
        (1, (1.0,), 'bird/1.jpg'),
        (2, (0.0,), 'cat/2.jpg'),
    ]


@pytest.mark.parametrize('line', ['0 0 cat/0.jpg', '0,0,cat/0.jpg', 'id\tlabel\tpath', '1\tcat/0.jpg\t3', '0\t1'])
def test_a_line_that_is_none_is_shown_as_it_is(tmp_path, line):
    (tmp_path / 'train.lst').write_text(f'{LINES[0]}\n{line}\n')
    with pytest.raises(SourceError) as error:
        lists.read_list(str(tmp_path / 'train.lst'))
    assert f'line 2 is {line!r}, not "id<tab>label<tab>path"' in str(error.value)


def test_names_of_folders_keep_their_blanks(tmp_path):
    (tmp_path / 'train.lst').write_text('0\t0\t cat /0.jpg\n')
    assert lists.read_list(str(tmp_path / 'train.lst'))[0].name == ' cat /0.jpg'


@pytest.mark.parametrize(
    'text',
    [
        'dog\nelephant\ngiraffe',
        'dog\n\nelephant\ngiraffe\n',
        'dog\nelephant\ngiraffe\n\n',
        'dog  \r\nelephant\t\r\n\r\ngiraffe\r\n',
        '# three animals\ndog\n#\nelephant\ngiraffe\n',
        '\ufeffdog\nelephant\ngiraffe\n',
    ],
)
def test_class_names_are_read_alike_everywhere(tmp_path, text):
    (tmp_path / 'synset.txt').write_text(text, encoding='utf-8')
    assert lists.read_synset(tmp_path) == lists.read_names(tmp_path / 'synset.txt', 'strict') == NAMES
    (tmp_path / 'train.lst').write_text('0\t2\tcat/0.jpg\n')
    assert lists.read_lists(str(tmp_path / 'train.lst'), None, None).classes == NAMES


def test_control_characters_reach_no_terminal():
    assert lists.parse_names('a\x1b[31mred\n#1\n') == ['a\ufffd[31mred', '#1']


@pytest.fixture
def numbered(tmp_path):
    """A folder with lists whose ids are their own, as mxnet's page shows them."""
    folder = tree(tmp_path / 'in', {f'{name}/{i}.jpg': encoded(i) for name in ('cat', 'dog') for i in range(4)})
    for side, first in (('train', 1000), ('val', 5000)):
        lines = [f'{first + 7 * i}\t{i % 2}\t{("cat", "dog")[i % 2]}/{i // 2}.jpg\n' for i in range(8)]
        (folder / f'{side}.lst').write_text(''.join(lines))
    return folder


def test_ids_of_a_list_are_kept_and_found_again(numbered, tmp_path):
    assert run(numbered, tmp_path / 'out') == 0
    with RecordFile(tmp_path / 'out' / 'train_480_q90.rec') as records:
        assert sorted(records.ids) == list(range(1000, 1056, 7))
        assert list(records.ids) != sorted(records.ids)
        assert [records.read(i).id for i in range(8)] == records.ids.tolist()
        assert all(label == (key - 1000) / 7 % 2 for key, label in zip(records.ids, records.labels()[:, 0]))
    assert len(data.check_lists(numbered, tmp_path / 'out', 'imagenet')) == 3


def test_ids_that_come_twice_are_replaced_and_told(numbered, tmp_path, capsys):
    (numbered / 'val.lst').write_text('7\t0\tcat/0.jpg\n7\t1\tdog/1.jpg\n')
    assert run(numbered, tmp_path / 'out') == 0
    assert 'val.lst: ids are negative or come twice: the records are numbered by their place' in capsys.readouterr().err
    with RecordFile(tmp_path / 'out' / 'val_256_q90.rec') as records:
        assert records.ids.tolist() == [0, 1]


def test_a_list_of_several_labels_is_compared_whole(tmp_path):
    folder = tree(tmp_path / 'in', class_folders())
    (folder / 'train.lst').write_text('0\t1\t2\tcat/0.jpg\n1\t3\t4\tcat/1.jpg\n')
    (folder / 'val.lst').write_text('0\t5\t6\tcat/2.jpg\n')
    assert run(folder, tmp_path / 'out') == 0
    assert len(data.check_lists(folder, tmp_path / 'out', 'imagenet')) == 3
    (folder / 'val.lst').write_text('0\t5\t7\tcat/2.jpg\n')
    with pytest.raises(ValueError, match='gives id 0 label 5 7, .* holds 5 6'):
        data.check_lists(folder, tmp_path / 'out', 'imagenet')


def test_the_handed_lists(shared, tmp_path):
    cases = shared / 'cases'
    for name in ('lst_trailing_tab', 'lst_trailing_space', 'lst_bom', 'lst_crlf', 'lst_utf16', 'lst_float'):
        assert len(lists.read_list(str(cases / name / 'train.lst'))) == 12
    for name in ('lst_cr_only', 'lst_csv', 'lst_header_line', 'lst_insight', 'lst_ragged', 'lst_spaces_sep'):
        with pytest.raises(SourceError, match='line '):
            lists.read_list(str(cases / name / 'train.lst'))
    for name in ('synset_bom', 'synset_crlf', 'synset_blank_middle', 'synset_blank_end'):
        assert lists.read_synset(cases / name) == NAMES
