"""ibnnet build [PART]: compile the C reader and the C++ operators in place."""

from __future__ import annotations

import argparse
from typing import Callable

from ibnnet_mx.cli import options

ABOUT = """Compile the two optional parts of the project in place: the C reader of pictures, and the C++ operators for
the installed mxnet. Without them all works, and takes longer."""
EXAMPLES = ('ibnnet build', 'ibnnet build reader')
PARTS = ('reader', 'operators')


def make_parser(prog: str = 'ibnnet build') -> options.Parser:
    parser = options.Parser(EXAMPLES, prog=prog, usage='%(prog)s [PART] [options]', description=ABOUT)
    text = 'reader (C) or operators (C++); unset: both'
    parser.add_argument('part', nargs='?', metavar='PART', choices=PARTS, help=text)
    return parser


def build_reader() -> None:
    """Compile the C reader. Raises OSError or ValueError."""
    from ibnnet_mx.recordio.fast import build

    target = build.HERE / build.LIBRARY
    try:
        build.build(target)
    except ValueError as error:
        raise ValueError(f'{error}\n{build.WITHOUT}') from None
    print(f'{target} is built')


def build_operators() -> None:
    """Compile the C++ operators. Raises OSError or ValueError."""
    from ibnnet_mx import operators
    from ibnnet_mx.operators import build

    for line in build.build():
        options.tell(line)
    print(f'{operators.LIBRARY} is built')


def command(args: argparse.Namespace) -> int:
    """Build each wanted part. Return 1 if one of them could not be built."""
    builders: dict[str, Callable[[], None]] = {'reader': build_reader, 'operators': build_operators}
    failed = 0
    for part in [args.part] if args.part else PARTS:
        try:
            builders[part]()
        except (OSError, ValueError) as error:
            options.tell(f'{part}: {error}')
            failed = 1
    return failed


def main(argv: list[str] | None = None, prog: str = 'ibnnet build') -> int:
    return options.run(command, make_parser(prog), argv)
