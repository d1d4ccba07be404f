"""ibnnet doctor: what this machine offers to ibnnet_mx, what is wrong with it, and the way out."""

from __future__ import annotations

import argparse
import sys

from ibnnet_mx import doctor
from ibnnet_mx.cli import options
from ibnnet_mx.errors import dashed


def make_parser() -> options.Parser:
    parser = options.Parser(prog='ibnnet doctor', description=(__doc__ or '').partition(': ')[2])
    parser.add_argument('--folder', default='.', help='where checkpoints will be written (here)')
    return parser


def command(args: argparse.Namespace) -> int:
    """Print every finding; return 1 if training cannot work with one of them."""
    stopping = 0
    for finding in doctor.findings(args.folder):
        stopping += finding.stops
        for line in finding.lines():
            print(dashed(line, options.option_name), flush=True)
    return 1 if stopping else 0


def main(argv: list[str] | None = None) -> int:
    return options.run(command, make_parser(), argv)


if __name__ == '__main__':
    sys.exit(main())
