"""The program ibnnet: its commands, their help, and what it says of wrong names."""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
import subprocess
import sys

import pytest

import ibnnet_mx
from ibnnet_mx.cli import completion, similar
from ibnnet_mx.cli import main as program
from ibnnet_mx.cli.main import COMMANDS, main
from ibnnet_mx.cli.parser import COLUMN, Formatter
from ibnnet_mx.recipe import RECIPES
from tests.conftest import ROOT

HEAVY = ('mxnet', 'numpy', 'cv2', 'tqdm', 'matplotlib', 'shtab')


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')


def made(name):
    return importlib.import_module(COMMANDS[name].module).make_parser(f'ibnnet {name}')


def said(capsys, *words):
    """The lines on stderr of a command that argparse ends."""
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count('\n')) == ('', 1)
    return err.rstrip('\n')


def entry(parser, action):
    """The lines of an option's help, as they stand in 80 columns."""
    formatter = Formatter(parser.prog)
    formatter._action_max_length = COLUMN
    formatter.add_argument(action)
    return formatter.format_help().splitlines()


@pytest.mark.parametrize('name', COMMANDS)
def test_help_fits_80_columns_and_ends_with_examples(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, '--help'])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert text.startswith(f'usage: ibnnet {name} ')
    assert max(map(len, text.splitlines())) <= 80
    examples = text.partition('\nexamples:\n')[2].splitlines()
    assert 2 <= len([line for line in examples if line.startswith('  ibnnet ') or ' | ' in line or 'eval' in line]) <= 4


@pytest.mark.parametrize('name', COMMANDS)
def test_every_option_tells_its_default_in_two_lines(name):
    parser = made(name)
    for action in parser._actions:
        lines = entry(parser, action)
        assert action.help, action
        assert len(lines) <= 2, lines
        text = ' '.join(' '.join(lines).split())
        if action.option_strings and action.nargs != 0 and not action.required:
            assert re.search(r'\(default: .+\)$', text), text
        for choice in action.choices or ():
            assert re.search(rf'\b{re.escape(str(choice))}\b', text) or action.dest in ('norm', 'recipe'), text


def test_defaults_are_the_real_ones():
    text = ' '.join(made('train').format_help().split())
    assert 'learning rate; with --retrain a new one holds from that epoch on (default: by the recipe)' in text
    assert 'batches between two log lines (default: 50)' in text
    assert 'count of classes (default: as in the data)' in text
    assert 'JPEG quality (default: 90)' in ' '.join(made('pack').format_help().split())


def test_each_recipe_has_a_line():
    text = made('train').format_help()
    for name, recipe in RECIPES.items():
        line = next(line for line in text.splitlines() if line.startswith(f'  {name} '))
        assert re.search(rf'resnet{recipe.depth}_\w+, (224|32) px, {recipe.epochs} epochs$', line)


def test_no_help_imports_what_takes_long():
    code = (
        'import sys, contextlib\n'
        'from ibnnet_mx.cli.main import COMMANDS, main\n'
        'for name in COMMANDS:\n'
        '    with contextlib.suppress(SystemExit):\n'
        "        main([name, '--help'])\n"
        f'print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, '[]\n')


def test_the_list_of_commands(capsys):
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert main(['help']) == 0
    assert capsys.readouterr().out == listed
    for name, row in COMMANDS.items():
        assert re.search(rf'^  {name} +{re.escape(row.line)}$', listed, re.MULTILINE)
    with pytest.raises(SystemExit) as stop:
        main(['help', 'plot'])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith('usage: ibnnet plot ')


@pytest.mark.parametrize('words', [['-m', 'ibnnet_mx', '--version'], ['-m', 'ibnnet_mx']])
def test_the_package_is_the_program(words):
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, '')
    start = f'ibnnet_mx {ibnnet_mx.__version__}\n' if '--version' in words else 'usage: ibnnet COMMAND [options]\n'
    assert done.stdout.startswith(start)


def test_the_program_is_the_only_script():
    text = (ROOT / 'setup.py').read_text()
    assert re.findall(r"'(\S+?)=ibnnet_mx\.", text) == ['ibnnet']


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        (['trian'], 'ibnnet: trian is not a command: did you mean train?'),
        (['eval'], 'ibnnet: eval is not a command: did you mean evaluate?'),
        (['im2rec', 'a', 'b'], 'ibnnet: im2rec is not a command: did you mean pack?'),
        (['export'], 'ibnnet: export is not a command: did you mean convert?'),
        (['qqq'], f'ibnnet: qqq is not a command: there are {", ".join(COMMANDS)}'),
        (['--verison'], 'ibnnet: --verison is not an option: did you mean --version?'),
        (['train', '--resume'], 'ibnnet train: --resume is not an option: did you mean --retrain?'),
        (['train', '--lr-rate', '1'], 'ibnnet train: --lr-rate is not an option: did you mean --lr?'),
        (['train', '--num-epochs=3'], 'ibnnet train: --num-epochs is not an option: did you mean --epochs?'),
        (['train', '--batch_size', '3'], 'ibnnet train: --batch_size is not an option: did you mean --batch-size?'),
        (['train', '--device', '0'], 'ibnnet train: --device is not an option: did you mean --gpus?'),
        (['train', '--workers', '2'], 'ibnnet train: --workers is not an option: did you mean --threads?'),
        (['train', '--arch', 'x'], 'ibnnet train: --arch is not an option: did you mean --model?'),
        (['train', '--weights', 'x'], 'ibnnet train: --weights is not an option: did you mean --init?'),
        (['train', '--output', 'x'], 'ibnnet train: --output is not an option: did you mean --model-prefix?'),
        (['evaluate', '--img-size', '8'], 'ibnnet evaluate: --img-size is not an option: did you mean --image-size?'),
        (['evaluate', '--pretrained'], 'ibnnet evaluate: --pretrained is not an option: did you mean --weights?'),
        (['evaluate', '--device', '0'], 'ibnnet evaluate: --device is not an option: did you mean --gpu?'),
        (['predict', '--image', 'a.png'], 'ibnnet predict: --image is not an option: did you mean --img?'),
        (['pack', '--workers', '2'], 'ibnnet pack: --workers is not an option: did you mean --jobs?'),
        (['plot', '--lgos', 'a.log'], 'ibnnet plot: --lgos is not an option: did you mean --logs?'),
        (['train', '-lr', '1'], 'ibnnet train: -lr is not an option: did you mean --lr?'),
        (['train', '--qqq'], 'ibnnet train: --qqq is not an option: ibnnet train --help lists them'),
        (['train', 'a', 'b'], 'ibnnet train: unrecognized arguments: a b'),
        (['launch', '--', 'x', '--resume'], 'ibnnet launch: the following arguments are required: -n/--workers'),
        (
            ['train', '--norm', 'BatchNorm'],
            "argument --norm: invalid choice: 'BatchNorm': did you mean bn? use one of ",
        ),
        (['train', '--schedule', 'cosin'], "invalid choice: 'cosin': did you mean cosine? use one of step, cosine"),
        (['train', '--dtype', 'fp16'], "invalid choice: 'fp16': did you mean bfloat16? use one of float32"),
        (['train', '--optimizer', 'adam'], "invalid choice: 'adam': use one of sgd, nag"),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_wrong_names_get_the_nearest(words, text, capsys):
    assert text in said(capsys, *words)


@pytest.mark.parametrize('table', ['OPTIONS', 'COMMANDS', 'VALUES'])
def test_synonyms_lead_to_names_that_exist(table):
    known = {'COMMANDS': set(COMMANDS), 'OPTIONS': set(), 'VALUES': set()}
    for name in COMMANDS:
        for action in made(name)._actions:
            known['OPTIONS'] |= {option.lstrip('-') for option in action.option_strings}
            known['VALUES'] |= {str(choice) for choice in action.choices or ()}
    for words, names in getattr(similar, table).items():
        assert set(names) <= known[table], words
        assert table == 'OPTIONS' or not set(words.split()) & known[table]


def test_gpu_and_gpus_are_one_option():
    assert made('train').parse_args(['--gpu', '1']).gpus == made('train').parse_args(['--gpus', '1']).gpus == '1'
    assert made('evaluate').parse_args(['--gpus', '1']).gpu == 1
    assert made('predict').parse_args(['--img', 'a', '--gpus', '1']).gpu == 1


def test_every_command_names_itself_and_scripts_keep_their_names(capsys):
    from ibnnet_mx.cli import evaluate

    assert main(['evaluate', 'DATA']) == 2
    assert capsys.readouterr().err.startswith('ibnnet evaluate: no network given')
    assert evaluate.main(['DATA']) == 2
    assert capsys.readouterr().err.startswith('evaluate: no network given')


@pytest.mark.parametrize('shell', completion.SHELLS)
def test_completion_knows_commands_options_and_values(shell, capsys):
    shtab = pytest.importorskip('shtab')
    if shell not in shtab.SUPPORTED_SHELLS:
        assert main(['completion', shell]) == 2
        assert f'SHELL {shell}: this shtab knows only bash' in capsys.readouterr().err
        return
    assert main(['completion', shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS)
    assert all(word in script for word in ('model-prefix', 'cifar10_fast', 'resnet50_ibn_a'))
    if shutil.which(shell):
        done = subprocess.run([shell, '-n'], input=script, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, '')


def test_completion_in_bash_completes(capsys):
    pytest.importorskip('shtab')
    if shutil.which('bash') is None:
        pytest.skip('bash is not installed')
    assert main(['completion', 'bash']) == 0
    ask = 'COMP_WORDS=(ibnnet train --model-l); COMP_CWORD=2; COMP_LINE="ibnnet train --model-l"; COMP_POINT=22'
    lines = [capsys.readouterr().out, ask, '_shtab_ibnnet ibnnet --model-l train', 'printf "%s\\n" "${COMPREPLY[@]}"']
    done = subprocess.run(['bash'], input='\n'.join(lines), capture_output=True, text=True, check=False)
    assert done.stdout.split() == ['--model-load-epoch']


@pytest.mark.parametrize('room', ['recordio.fast', 'operators'])
def test_a_builder_asked_for_help_builds_nothing(room):
    words = [sys.executable, '-m', f'ibnnet_mx.{room}.build', '--help']
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, env={'PATH': ''})
    assert 'It takes no options. `ibnnet build ' in done.stderr
    assert 'Traceback' not in done.stderr


def test_build_builds_each_part_and_tells_what_fails(monkeypatch, capsys):
    from ibnnet_mx.cli import build

    def fail():
        raise ValueError('no compiler')

    done = []
    monkeypatch.setattr(build, 'build_reader', fail)
    monkeypatch.setattr(build, 'build_operators', lambda: done.append('operators'))
    assert main(['build']) == 1
    assert (done, capsys.readouterr().err) == (['operators'], 'ibnnet build: reader: no compiler\n')
    assert main(['build', 'operators']) == 0


def test_the_table_is_all_that_a_command_needs(monkeypatch, capsys):
    """A new sub-command is a module with make_parser() and main(), and a row."""
    monkeypatch.setitem(program.COMMANDS, 'more', program.Command('ibnnet_mx.cli.doctor', 'do more'))
    with pytest.raises(SystemExit):
        main(['more', '--help'])
    assert 'usage: ibnnet more' in capsys.readouterr().out
    assert isinstance(made('more'), argparse.ArgumentParser)
