"""ibnnet COMMAND ...: the one program of this project. A sub-command is a row of COMMANDS."""

from __future__ import annotations

import importlib
import sys
from typing import NamedTuple

from ibnnet_mx import __version__
from ibnnet_mx.cli import options, similar
from ibnnet_mx.cli.parser import Parser


class Command(NamedTuple):
    """A sub-command: the module with its make_parser(prog) and main(argv, prog=...), and its line in the list."""

    module: str
    line: str


COMMANDS = {
    'quickstart': Command('ibnnet_mx.cli.quickstart', 'from a folder of pictures to a trained network, in minutes'),
    'pack': Command('ibnnet_mx.cli.im2rec', 'pack pictures into record files'),
    'records': Command('ibnnet_mx.cli.records', 'check record files for damage, and draw their pictures'),
    'train': Command('ibnnet_mx.cli.train', 'train a network from record files, or go on with a run'),
    'evaluate': Command('ibnnet_mx.cli.evaluate', 'measure a network on labelled or shifted pictures'),
    'predict': Command('ibnnet_mx.cli.predict', 'classify pictures, and explain why'),
    'convert': Command('ibnnet_mx.cli.convert', 'convert weights and networks into another format'),
    'models': Command('ibnnet_mx.cli.models', 'list the networks with parameters and published errors'),
    'plot': Command('ibnnet_mx.cli.plot', 'draw the curves of training logs'),
    'shifts': Command('ibnnet_mx.cli.shifts', 'draw a picture under corruptions and other changes'),
    'launch': Command('ibnnet_mx.cli.launch', 'start the processes of a distributed run'),
    'doctor': Command('ibnnet_mx.cli.doctor', 'tell what this machine offers and what is wrong with it'),
    'build': Command('ibnnet_mx.cli.build', 'compile the C reader and the C++ operators'),
    'completion': Command('ibnnet_mx.cli.completion', 'print the completion script of a shell'),
}
ABOUT = 'Train, evaluate and convert ResNet and IBN-Net in MXNet Gluon, from record files.'
EXAMPLES = (
    'ibnnet quickstart PICTURES',
    'ibnnet pack PICTURES DATA',
    'ibnnet train --depth 50 --data-dir DATA',
    'ibnnet evaluate DATA --prefix model/resnet50_v2',
    'ibnnet predict --img cat.jpg --prefix model/resnet50_v2',
)


def make_parser() -> Parser:
    """Return the parser of the program's own options."""
    listed = '\n'.join(f'  {name:<11} {command.line}' for name, command in COMMANDS.items())
    parser = Parser(
        EXAMPLES,
        prog='ibnnet',
        usage='ibnnet COMMAND [options]',
        description=f'{ABOUT}\n\ncommands:\n{listed}\n\n`ibnnet help COMMAND` tells the options of a command.',
    )
    parser.add_argument('--version', action='version', version=f'ibnnet_mx {__version__}', help='print the version')
    return parser


def main(argv: list[str] | None = None) -> int:
    """Call the main() of COMMAND with the words after it. Without COMMAND, print the list of commands."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = make_parser()
    if words[:1] == ['help']:
        words = [words[1], '--help'] if len(words) > 1 else []
    if not words:
        return options.run(lambda _: print(parser.format_help(), end=''), parser, [])
    name, *rest = words
    if name.startswith('-'):
        parser.parse_args([name])
    if name not in COMMANDS:
        hint = similar.hint(name, {each: each for each in COMMANDS}, similar.COMMANDS)
        parser.error(f'{name} is not a command{hint or ": there are " + ", ".join(COMMANDS)}')
    return importlib.import_module(COMMANDS[name].module).main(rest, prog=f'ibnnet {name}')
