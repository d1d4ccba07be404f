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
from benchmarks.options import in_a_folder, known, of_steps, tell  # noqa: E402
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

    result, missing = turns.told(args, planned, taking_part, tables.values)
    found = tables.values(result)
    report(planned, found, missing)
    if args.plot is not None:
        plot.draw(found, args.plot)
    for path in filter(None, (args.json, args.plot)):
        tell(f'written to {path}')


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told = {
        'quick': f'{", ".join(ways.QUICK)}, one round, few steps',
        'rounds': 1,
        'json': 'MB and seconds',
        'batch': ways.BATCH,
        'size': 224,
        'steps': '3, quick 2',
    }
    add = parser.add_argument
    of_steps(add, ways.MODELS, ways.WAYS, PEERS, told)
    add('--plot', type=Path, metavar='FILE.png', help=f'memory against depth: {", ".join(ways.DEPTHS.values())}')
    return run(command, parser)


if __name__ == '__main__':
    sys.exit(main())
