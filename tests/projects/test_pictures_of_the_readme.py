"""The drawings of docs/pictures are those that their scripts draw today."""

import runpy
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_first_picture_has_the_numbers_of_the_results(monkeypatch):
    folder = REPOSITORY / 'experiments' / 'two_at_once'
    monkeypatch.setattr(sys, 'path', [str(folder), *sys.path])
    script = runpy.run_path(str(folder / 'first_picture.py'))
    measured = script['values'](folder / 'results')
    assert list(measured) == ['clean', 'noise', 'blur', 'weather', 'digital']
    assert all(by_net['ibn_a'][0] < by_net['bn'][0] for by_net in measured.values())
    assert script['PICTURE'].read_text() == script['svg'](measured)


def test_the_units_are_drawn_by_their_script():
    script = runpy.run_path(str(REPOSITORY / 'docs' / 'pictures' / 'ibn_units.py'))
    assert script['PICTURE'].read_text() == script['svg']()
