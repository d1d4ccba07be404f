"""Memory and time of a training step: plain, with memonger, and torch's with and without checkpoints; markdown tables.

Memory is the most that the process ever had, above what it had with everything imported and nothing built. Each
measurement is a process of its own on all usable cores; the ways take turns within a round, and the rounds are
repeated. torch is installed into an environment of its own; where it cannot be had, it is told and left out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.environments import PEERS  # noqa: E402
from benchmarks.memory import plot, tables, ways  # noqa: E402
from benchmarks.options import in_a_folder, known, positive, tell, warn_if_busy, words  # noqa: E402
from benchmarks.steps import turns  # noqa: E402
from ibnnet_mx.cli.options import Parser, run  # noqa: E402


def plans(args):
    """{model: Plan}. ValueError: a model that is not measured here, or too few for the plot."""
    models = args.models or (ways.QUICK if args.quick else ways.MODELS)
    known('--models', models, ways.MODELS)
    if args.plot is not None and len(set(models) & set(ways.DEPTHS.values())) < 2:
        raise ValueError(f'--plot {args.plot} needs two of {", ".join(ways.DEPTHS.values())} among --models')
    changes = dict(batch=args.batch, size=args.size, steps=args.steps)
    changes = {key: value for key, value in changes.items() if value is not None}
    return dict.fromkeys(models, ways.plan(args.quick, args.rounds)._replace(**changes))


def chosen(args):
    """{name: Way}, in the table's order. ValueError: a way that does not exist."""
    names = args.ways or tuple(ways.WAYS)
    known('--ways', names, ways.WAYS)
    return {name: way for name, way in ways.WAYS.items() if name in names}


def report(planned, found, missing):
    for model, flat in found.items():
        plan = planned[model]
        size = plan.size or turns.MODELS[model].size
        print(f'\n{model}, {size}x{size}, batch {plan.batch}:\n')
        print(tables.table(flat))
    print()
    for line in turns.left_out(missing):
        print(line)
    for target in ways.TARGETS:
        if target.model in planned:
            print(tables.judged(target, found))


def command(args):
    planned, taking_part = plans(args), chosen(args)
    for option, path in (('--json', args.json), ('--plot', args.plot)):
        in_a_folder(option, path)
    if args.plot is not None:
        import matplotlib  # noqa: F401  before all is measured

    def save(result):
        if args.json is not None:
            turns.write(args.json, tables.values(result))

    told = turns.environment(max(plan.rounds for plan in planned.values()))
    warn_if_busy()
    result, missing = turns.measured(planned, taking_part, args.peers, save)
    found = tables.values(result)
    print(told)
    report(planned, found, missing)
    if args.plot is not None:
        plot.draw(found, args.plot)
    for path in filter(None, (args.json, args.plot)):
        tell(f'written to {path}')


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--quick', action='store_true', help=f'a few minutes: {", ".join(ways.QUICK)}, one round, few steps')
    add('--models', type=words, metavar='A,B', help=f'some of {", ".join(ways.MODELS)} (all)')
    add('--ways', type=words, metavar='A,B', help=f'some of {", ".join(ways.WAYS)} (all)')
    add(
        '--rounds',
        type=positive,
        metavar='N',
        help='how often all is measured; what is told is the median (3, quick 1)',
    )
    add('--json', type=Path, metavar='FILE', help='MB and seconds by network; written as they come')
    add('--plot', type=Path, metavar='FILE.png', help=f'memory against depth: {", ".join(ways.DEPTHS.values())}')
    add('--peers', type=Path, default=PEERS, metavar='DIR', help="torch's environment (benchmarks/.peers)")
    add('--batch', type=positive, metavar='N', help=f'pictures of a step, for a trial ({ways.BATCH})')
    add('--size', type=positive, metavar='N', help='height and width of a picture, for a trial (224)')
    add('--steps', type=positive, metavar='N', help='that are timed, of a measurement (3, quick 2)')
    return run(command, parser)


if __name__ == '__main__':
    sys.exit(main())
