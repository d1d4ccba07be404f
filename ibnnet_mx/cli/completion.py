"""ibnnet completion SHELL: print the script by which a shell completes commands, options and values."""

from __future__ import annotations

import argparse
import importlib

from ibnnet_mx.cli import main as program
from ibnnet_mx.cli import options

ABOUT = 'Print the script by which a shell completes the commands, options and values of ibnnet.'
EXAMPLES = (
    'eval "$(ibnnet completion bash)"     # in ~/.bashrc',
    'eval "$(ibnnet completion zsh)"      # in ~/.zshrc, after compinit',
    'ibnnet completion fish | source      # in ~/.config/fish/config.fish',
)
SHELLS = ('bash', 'zsh', 'fish', 'tcsh')
FOLDERS = ('dir', 'folder')  # the ends of the names of options that take a folder
FILES = ('FILE', 'FILE.png', 'FILE.rec', 'PREFIX')


def make_parser(prog: str = 'ibnnet completion') -> options.Parser:
    parser = options.Parser(EXAMPLES, prog=prog, usage='%(prog)s SHELL', description=ABOUT)
    parser.add_argument('shell', metavar='SHELL', choices=SHELLS, help=', '.join(SHELLS))
    return parser


def whole_parser() -> options.Parser:
    """Return one parser with all commands, marked for shtab."""
    import shtab

    from ibnnet_mx.models import list_models

    parser = program.make_parser()
    commands = parser.add_subparsers(dest='command')
    for name, row in program.COMMANDS.items():
        parser_of_command = importlib.import_module(row.module).make_parser(f'ibnnet {name}')
        for action in parser_of_command._actions:
            action.choices = list(action.choices) if action.choices else None  # shtab asks for the first one
            takes_file = action.metavar in FILES or action.dest == 'prefix' or not action.option_strings
            if action.dest.rpartition('_')[2] in FOLDERS:
                action.complete = shtab.DIRECTORY
            elif takes_file and not action.choices and action.dest != 'names':
                action.complete = shtab.FILE
            elif action.dest in ('model', 'names'):
                action.choices = list_models()
        of_command = dict(prog=parser_of_command.prog, parents=[parser_of_command], add_help=False)
        commands.add_parser(name, **of_command, help=row.line, description=row.line)
    return parser


def command(args: argparse.Namespace) -> None:
    import shtab

    if args.shell not in shtab.SUPPORTED_SHELLS:
        raise ValueError(f'SHELL {args.shell}: this shtab knows only {", ".join(shtab.SUPPORTED_SHELLS)}; update it')
    print(shtab.complete(whole_parser(), shell=args.shell))


def main(argv: list[str] | None = None, prog: str = 'ibnnet completion') -> int:
    return options.run(command, make_parser(prog), argv)
