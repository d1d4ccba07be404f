"""From a folder of pictures to a trained network by one command."""

import io
import os
import re

import pytest

from ibnnet_mx.cli import main, proposal, quickstart
from ibnnet_mx.cli.train_options import make_parser
from ibnnet_mx.size import Size
from tests.conftest import ROOT
from tests.picture_sets import class_folders, encoded, tree

SLOW, FAST = 0.1, 1e-5  # seconds of a picture


def survey(train=1000, usual=(96, 96), **classes):
    size = None if usual is None else Size(*usual)
    return proposal.Survey(classes or {'cat': train // 2, 'dog': train // 2}, train, train // 4, False, size, [])


def proposed(seconds, minutes=5, scratch=False, **more):
    return proposal.propose(survey(**more), lambda size, rows: seconds * size**2 / 1024, minutes, scratch)


def test_what_fits_the_time_is_proposed():
    assert proposed(FAST)[:3] == (64, 64, proposal.MOST)
    assert proposed(SLOW)[:3] == (32, 64, proposal.LEAST)
    chosen = proposed(0.015)
    assert chosen.size == 32
    assert proposal.LEAST < chosen.epochs < proposal.MOST
    assert chosen.seconds <= 5 * 60
    assert proposed(0.015, minutes=10).epochs > chosen.epochs
    assert proposed(SLOW, minutes=float('inf')).epochs == proposal.MOST


@pytest.mark.parametrize(
    ('usual', 'size'), [((32, 32), 32), ((60, 200), 32), ((64, 64), 64), ((20, 20), 32), (None, 64)]
)
def test_no_picture_is_enlarged_beyond_the_smallest_size(usual, size):
    assert proposed(FAST, usual=usual).size == size


@pytest.mark.parametrize(('train', 'batch'), [(20, 16), (200, 16), (400, 32), (5000, 64)])
def test_few_pictures_come_in_small_batches(train, batch):
    assert proposed(FAST, train=train).batch_size == batch


@pytest.mark.parametrize('scratch', [True, False])
def test_the_proposal_is_options_of_train(scratch):
    args = make_parser('ibnnet train').parse_args(proposed(FAST, scratch=scratch).options())
    assert (args.pretrained is None) == scratch
    assert (args.image_size, args.batch_size, args.epochs) == (64, 64, 20)


def test_the_survey_is_told():
    lines = survey(1000, cat=3, dog=996, cow=1).lines('PICTURES')
    assert lines[0] == 'PICTURES: 1,250 pictures of about 96x96 pixels in 3 classes, from 1 (cow) to 996 (dog)'
    assert lines[1] == 'fewer than 10 pictures: cow, cat; more of them would help'
    assert lines[2].startswith('validation: 250 pictures (one of five of each class)')


@pytest.fixture
def inside(monkeypatch, tmp_path):
    """The sub-commands in this process: one thread, few epochs."""
    commands = []

    def call(words):
        name, *rest = words[words.index('ibnnet_mx') + 1 :]
        commands.append(name)
        more = {'pack': ['--jobs', '1'], 'train': ['--threads', '1', '--epochs', '1', '--batch-size', '4']}
        return main.main([name, *rest, *more.get(name, [])])

    monkeypatch.setattr(quickstart.subprocess, 'call', call)
    monkeypatch.setattr(quickstart, 'measured', lambda size, rows: FAST)
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / 'PICTURES', class_folders(count=8))
    tree(tmp_path / 'ONE', {'cat/0.jpg': encoded(0), 'cat/1.jpg': encoded(1)})
    return commands


def start(*words):
    return main.main(['quickstart', *words])


def test_from_a_folder_to_pictures_that_explain(inside, capsys):
    assert start('PICTURES', '--yes') == 0
    out = capsys.readouterr().out
    assert inside == ['pack', 'train', 'evaluate', 'predict', 'plot']
    assert re.findall(r'^\$ .*ibnnet(?:_mx)? (\w+) ', out, re.MULTILINE) == inside
    for name in ('confusion', 'why', 'curve'):
        assert os.path.getsize(f'runs/PICTURES/{name}.png') > 1000
    assert 'done in ' in out
    assert sorted(os.listdir('PICTURES')) == ['airplane', 'bird', 'cat']
    assert start('PICTURES', '--yes', '--from-scratch') == 0  # in a folder of its own
    assert os.path.isfile('runs/PICTURES-2/model/net-0001.params')


@pytest.mark.parametrize(('answer', 'begins'), [('\n', True), ('y\n', True), ('n\n', False), ('', False)])
def test_it_asks(inside, monkeypatch, capsys, answer, begins):
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True
    monkeypatch.setattr(quickstart.sys, 'stdin', terminal)
    monkeypatch.setattr(quickstart, 'run', lambda name, *words: inside.append(name))
    monkeypatch.setattr(quickstart, 'three_of', lambda *_: [])
    monkeypatch.setattr(quickstart, 'best_line', lambda prefix: '')
    assert start('PICTURES') == 0
    assert bool(inside) == begins
    assert os.path.isdir('runs') == begins
    assert ('nothing was written' in capsys.readouterr().out) != begins


def test_a_command_that_fails_ends_it(inside, monkeypatch, capsys):
    monkeypatch.setattr(quickstart.subprocess, 'call', lambda words: -9)
    assert start('PICTURES', '--yes') == 137
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == 'ibnnet quickstart: ibnnet pack ended with exit code 137; what was written before stays'


MISTAKES = [
    (['nowhere', '--yes'], 'FOLDER nowhere is no folder: name one that has a folder of pictures for each class'),
    (['PICTURES', '--yes', '--minutes', '0'], '--minutes 0.0 must be above 0'),
    (['PICTURES', '--yes', '--out', 'PICTURES'], '--out PICTURES is there already: name a new folder'),
    (
        ['PICTURES', '--yes', '--out', 'PICTURES/new'],
        'FOLDER PICTURES: --out PICTURES/new lies in it; name one outside by --out, since nothing is written here',
    ),
    (['PICTURES'], 'there is no terminal to ask on: add --yes'),
    (['ONE', '--yes'], 'FOLDER ONE has fewer than two classes: give each class a folder of pictures'),
]


@pytest.mark.parametrize(('words', 'text'), MISTAKES)
def test_a_mistake_is_one_line(inside, monkeypatch, capsys, words, text):
    monkeypatch.setattr(quickstart.sys, 'stdin', io.StringIO())
    assert start(*words) == 2
    assert capsys.readouterr().err == f'ibnnet quickstart: {text}\n'
    assert inside == []


def test_the_folder_of_the_runs_is_ignored_by_git():
    assert f'/{quickstart.RUNS}/' in (ROOT / '.gitignore').read_text().splitlines()
