"""ibnnet COMMAND ...: one program for the commands that have no script of their own."""

from __future__ import annotations

import importlib
import sys
from typing import NamedTuple

from ibnnet_mx import __version__
from ibnnet_mx.cli import options


class Command(NamedTuple):
    """A sub-command: the module whose main(argv) runs it, and its line in the list of commands."""

    module: str
    line: str


COMMANDS = {
    'records': Command('ibnnet_mx.cli.records', 'check record files for damage, and draw their pictures'),
    'shifts': Command('ibnnet_mx.cli.shifts', 'draw a picture under corruptions and changes of appearance'),
    'convert': Command('ibnnet_mx.cli.convert', 'convert weights and networks into another format'),
    'models': Command(
        'ibnnet_mx.cli.models', 'list the networks with parameters, multiplications and published errors'
    ),
    'doctor': Command(
        'ibnnet_mx.cli.doctor', 'tell what this machine offers, what is wrong with it, and how to fix that'
    ),
    'launch': Command('ibnnet_mx.cli.launch', 'start the processes of a distributed run'),
}


def make_parser() -> options.Parser:
    listed = '\n'.join(f'  {name:<9} {command.line}' for name, command in COMMANDS.items())
    parser = options.Parser(
        prog='ibnnet',
        usage='ibnnet COMMAND ... | ibnnet COMMAND --help | ibnnet --version',
        description=f'commands:\n{listed}',
        formatter_class=options.RawText,
    )
    parser.add_argument('command', nargs='?', metavar='COMMAND', choices=COMMANDS, help='one of these')
    parser.add_argument('--version', action='version', version=f'ibnnet_mx {__version__}')
    return parser


def main(argv: list[str] | None = None) -> int:
    """Call the main() of COMMAND with the words after it. Without COMMAND, print the list of commands."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = make_parser()
    name = parser.parse_args(words[:1]).command
    if name is None:
        parser.print_help()
        return 0
    return importlib.import_module(COMMANDS[name].module).main(words[1:])


if __name__ == '__main__':
    sys.exit(main())
