"""Draw curves of runs from their logs, this project's or those of the 2016 code."""

from __future__ import annotations

import argparse
from pathlib import Path

from ibnnet_mx import logs
from ibnnet_mx.cli import options
from ibnnet_mx.report import curves
from ibnnet_mx.report.figures import SUFFIXES


def make_parser() -> options.Parser:
    parser = options.Parser(prog='plot_curve', description=__doc__)
    add = parser.add_argument
    add(
        '--logs',
        nargs='+',
        action='extend',
        required=True,
        metavar='A.log,B.log.gz',
        help='logs, separated by commas or spaces',
    )
    add('--out', metavar='FILE', help='drawing, .png, .svg or .pdf; unset: a .png beside the first log, named after it')
    add('--metric', choices=curves.METRICS, default='accuracy', help='accuracy (default) and top5 are drawn as errors')
    add('--title', default='', help='text above the curves')
    return parser


def command(args: argparse.Namespace) -> None:
    paths = [path for value in args.logs for path in value.split(',') if path]
    if not paths:
        raise ValueError('--logs names no file: give logs separated by commas')
    kind = '' if args.metric == 'accuracy' else f'-{args.metric}'
    beside = Path(paths[0]).with_name(f'{logs.stem_of(paths[0])}{kind}.png')
    out = Path(args.out) if args.out is not None else beside
    if out.suffix.lower() not in SUFFIXES:
        raise ValueError(f'--out {args.out}: the name must end in {", ".join(SUFFIXES[:-1])} or {SUFFIXES[-1]}')
    runs = [logs.read_log(path) for path in paths]
    pairs = [curves.curves_of(run, args.metric) for run in runs]
    named = [(name, *pair) for name, pair in zip(curves.names_of(paths, runs), pairs)]
    figure = curves.draw_curves(named, args.metric, args.title)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=150)
    except OSError as error:
        raise ValueError(f'--out {out} cannot be written: {error.strerror}; name another file') from error
    print(out)


def main(argv=None) -> int:
    return options.run(command, make_parser(), argv)
