"""Draw curves of runs from their logs: this project's, those of the 2016 code, of mxnet 1.x or of GluonCV."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from ibnnet_mx import logs
from ibnnet_mx.cli import options
from ibnnet_mx.errors import OptionError
from ibnnet_mx.report import curves, figures
from ibnnet_mx.report.figures import SUFFIXES


def make_parser(prog: str = 'plot_curve') -> options.Parser:
    examples = (
        'ibnnet plot --logs log/resnet50_v2.log',
        'ibnnet plot --logs a.log b.log.gz --metric top5 --out top5.svg',
        'ibnnet plot --logs log/resnet50_v2.log --run last --title "ResNet-50 v2"',
    )
    usage = '%(prog)s --logs FILE [FILE ...] [options]'
    parser = options.Parser(examples, prog=prog, usage=usage, description=__doc__)
    add = parser.add_argument
    add(
        '--logs',
        nargs='+',
        action='extend',
        required=True,
        metavar='FILE',
        help='logs, separated by commas or spaces; .gz too',
    )
    add('--out', metavar='FILE', help='drawing, .png, .svg or .pdf; unset: a .png beside the first log')
    add(
        '--metric',
        default='accuracy',
        help='accuracy, top5 (both as errors), ce, lr, speed, or another of the logs',
    )
    add('--node', type=int, metavar='K', help='worker of logs of several workers; unset: a curve for each')
    add(
        '--run',
        type=run_number,
        metavar='N',
        help='run of logs that hold several, from 1, or "last"; unset: a curve for each',
    )
    add('--title', default='', help='text above the curves')
    return parser


def run_number(text: str) -> int | str:
    """Return the value of --run."""
    if text == 'last':
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} must be "last", or a number from 1')
    return int(text)


def open_runs(path: str, args: argparse.Namespace, metric: str) -> list[logs.Run]:
    """Return the runs of a log that are to be drawn. A line on stderr tells of several, and of those left out."""
    runs = curves.chosen(logs.read_runs(path), args.node, args.run)
    drawn = [run for run in runs if curves.has(run, metric)]
    if not drawn:
        known = ', '.join(curves.metrics_of(runs))
        raise OptionError('metric', args.metric, f'is not in the log of {runs[0].name}, which has {known}')
    without = '' if len(drawn) == len(runs) else f'; {len(runs) - len(drawn)} more have no {args.metric}'
    if len(drawn) > 1 or without:
        options.tell(
            f'{path}: {len(drawn)} curves, one for each run of each worker; --run N, --node K draw one{without}'
        )
    return drawn


def command(args: argparse.Namespace) -> None:
    paths = [path for value in args.logs for path in value.split(',') if path]
    if not paths:
        raise ValueError('--logs names no file: give logs separated by commas')
    metric = logs.short_name(args.metric)
    kind = '' if metric == 'accuracy' else '-' + re.sub(r'[^\w.@+-]', '_', metric)
    beside = Path(paths[0]).with_name(f'{logs.stem_of(paths[0])}{kind}.png')
    out = Path(args.out) if args.out is not None else beside
    if out.suffix.lower() not in SUFFIXES:
        raise ValueError(f'--out {args.out}: the name must end in {", ".join(SUFFIXES[:-1])} or {SUFFIXES[-1]}')
    pairs = [(path, run) for path in paths for run in open_runs(path, args, metric)]
    names = curves.names_of([path for path, _ in pairs], [run for _, run in pairs])
    named = [(name, *curves.curves_of(run, metric)) for name, (_, run) in zip(names, pairs)]
    figure = curves.draw_curves(named, metric, args.title)
    figures.save_figure('out', str(out), figure, 150)
    print(out)


def main(argv=None, prog: str = 'plot_curve') -> int:
    return options.run(command, make_parser(prog), argv)
