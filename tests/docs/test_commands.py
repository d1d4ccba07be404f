"""Every command of the README and of docs is one that its program takes.

A command of ibnnet is read by the parser of its sub-command, which knows its options and its choices. make, pip and
python are held against the Makefile, setup.py and the checkout. SKIPPED says why a program is not looked at.
"""

import importlib
import re

import pytest

from ibnnet_mx.cli import main
from tests.docs import pages

SKIPPED = {  # the first word of a command: why nothing is checked
    'curl': 'it needs the network',
    'export': 'a variable for the command after it, which is checked',
    'source': 'the shell does it',
    'horovodrun': 'Horovod is optional; the command that it starts is checked',
}
SCRIPTS = {
    'train_resnet.py': 'train',
    'evaluate.py': 'evaluate',
    'predict/predict.py': 'predict',
    'log/plot_curve.py': 'plot',
    'tools/im2rec_wrapper.py': 'pack',
}
PLACEHOLDERS = {'N': '1', 'M': '2', 'K': '2', 'X': '0.1', 'NAME:SEVERITY': 'fog:3'}
COMMANDS = pages.commands()
QUOTED = pages.quoted_commands()


def check_ibnnet(words):
    """Read the words after ibnnet as the program does. SystemExit with code 2 if they are wrong."""
    name, *rest = words
    if name == 'help':
        assert set(rest) <= set(main.COMMANDS)
        return
    inner = rest[rest.index('--') + 1 :] if '--' in rest else []
    if name == 'launch':
        rest = rest[: len(rest) - len(inner)]
    module = importlib.import_module(main.COMMANDS[name].module)
    rest = [PLACEHOLDERS.get(word, word) for word in rest]
    parser = module.make_parser(prog=f'ibnnet {name}')
    parser.parse_args([*rest, *inner] if name == 'launch' else rest)
    if inner:
        check(inner)


def check_pip(words):
    for word in words:
        for extra in re.findall(r'\.\[(.+)\]', word):
            assert set(extra.split(',')) <= EXTRAS
    if '-c' in words:
        assert (pages.REPOSITORY / words[words.index('-c') + 1]).exists()


def check_make(words):
    targets = re.findall(r'^([a-z-]+):', (pages.REPOSITORY / 'Makefile').read_text(), re.MULTILINE)
    assert {word for word in words if '=' not in word} <= set(targets)


def check_python(words):
    if words[0] == '-m':
        assert words[1] in ('pytest', 'ibnnet_mx')
        assert all((pages.REPOSITORY / word).exists() for word in words if word.startswith('tests/'))
        return
    script = pages.REPOSITORY / words[0]
    text = script.read_text()
    assert all(f"'{word}'" in text for word in words if word.startswith('--'))


EXTRAS = set(re.findall(r"^    '(\w+)': ", (pages.REPOSITORY / 'setup.py').read_text(), re.MULTILINE)) | {'dev'}
CHECKS = {'pip': check_pip, 'make': check_make, 'python': check_python, 'ibnnet': check_ibnnet}


def check(words):
    program, *rest = words
    program = program.replace('.venv/bin/', '')
    if program == 'horovodrun':
        check(rest[rest.index('ibnnet') :])
    elif program in SCRIPTS:
        check_ibnnet([SCRIPTS[program], *rest])
    elif program not in SKIPPED:
        CHECKS[program](rest)


@pytest.mark.parametrize('words', [each.words for each in COMMANDS], ids=[each.title for each in COMMANDS])
def test_a_command_is_one_that_its_program_takes(words):
    check(words)


@pytest.mark.parametrize('words', [each.words for each in QUOTED], ids=[each.title for each in QUOTED])
def test_options_in_a_sentence_exist(words):
    """A sentence may leave out the rest of a command, so that only the names of its options are looked at."""
    program, *rest = words
    name, *rest = [SCRIPTS[program], *rest] if program in SCRIPTS else rest
    if name.isupper():  # ibnnet COMMAND
        return
    if name == 'help':
        assert set(rest) <= set(main.COMMANDS)
        return
    parser = importlib.import_module(main.COMMANDS[name].module).make_parser(prog=f'ibnnet {name}')
    known = parser._option_string_actions
    rest = rest[: rest.index('--')] if '--' in rest else rest
    assert [word for word in rest if word.startswith('--') and word not in known] == []


def test_a_wrong_option_would_be_seen():
    with pytest.raises(SystemExit):
        check(['ibnnet', 'train', '--depht', '50'])
    with pytest.raises(AssertionError):
        check(['pip', 'install', '-e', '.[cpus]'])
    with pytest.raises(AssertionError):
        check(['make', 'nothing'])
