"""ibnnet doctor: the report on this machine."""

from __future__ import annotations

import argparse

from ibnnet_mx.cli import options
from ibnnet_mx.errors import dashed

ABOUT = 'Tell what this machine offers to ibnnet_mx, what is wrong with it, and how to fix that.'


def make_parser(prog: str = 'ibnnet doctor') -> options.Parser:
    examples = ('ibnnet doctor', 'ibnnet doctor --folder /data/model')
    parser = options.Parser(examples, prog=prog, description=ABOUT)
    parser.add_argument('--folder', default='.', help='folder for checkpoints; unset: the current one')
    return parser


def command(args: argparse.Namespace) -> int:
    """Print every finding. Return 1 if one of them makes training impossible."""
    from ibnnet_mx import doctor

    stopping = 0
    for finding in doctor.findings(args.folder):
        stopping += finding.stops
        for line in finding.lines():
            print(dashed(line, options.option_name), flush=True)
    return 1 if stopping else 0


def main(argv: list[str] | None = None, prog: str = 'ibnnet doctor') -> int:
    return options.run(command, make_parser(prog), argv)
