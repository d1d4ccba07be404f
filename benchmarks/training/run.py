"""Pictures a second of training steps: ours, torch's and GluonCV's on the same networks; prints markdown tables.

A step is the forward pass, cross entropy, the backward pass and the update of SGD with momentum, on one batch of noise
that is in memory. Each measurement is a process of its own on all usable cores; the ways take turns within a round, and
the rounds are repeated. Others are installed into environments of their own; what cannot be had is told and left out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.environments import PEERS  # noqa: E402
from benchmarks.options import in_a_folder, known, of_steps, tell  # noqa: E402
from benchmarks.steps import turns  # noqa: E402
from benchmarks.training import tables, ways  # noqa: E402
from ibnnet_mx.cli.options import Parser, run  # noqa: E402


def plans(args):
    """{model: Plan}. ValueError: a model that is not measured here."""
    models = args.models or (ways.QUICK if args.quick else tuple(ways.BATCHES))
    known('--models', models, ways.BATCHES)
    changes = dict(batch=args.batch, size=args.size, steps=args.steps)
    changes = {key: value for key, value in changes.items() if value is not None}
    return {model: ways.plan(model, args.quick, args.rounds)._replace(**changes) for model in models}


def chosen(args):
    """{name: Way}, in the table's order. ValueError: a way that does not exist."""
    names = args.ways or (ways.quick_ways() if args.quick else tuple(ways.WAYS))
    known('--ways', names, ways.WAYS)
    return {name: way for name, way in ways.WAYS.items() if name in names}


def report(planned, result, missing):
    for model, rows in result.items():
        plan = planned[model]
        size = plan.size or turns.MODELS[model].size
        print(f'\n{model}, {size}x{size}, batch {plan.batch}:\n')
        print(tables.table(model, rows, plan.batch))
    print()
    for line in turns.left_out(missing):
        print(line)
    for target in ways.TARGETS:
        if target.model in planned:
            print(tables.judged(target, result))


def command(args):
    planned, taking_part = plans(args), chosen(args)
    in_a_folder('--json', args.json)
    batches = {model: plan.batch for model, plan in planned.items()}

    result, missing = turns.told(args, planned, taking_part, lambda found: tables.speeds(found, batches))
    report(planned, result, missing)
    if args.json is not None:
        tell(f'written to {args.json}')


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told = {
        'quick': f'{", ".join(ways.QUICK)}, few steps, no torch.compile',
        'rounds': 2,
        'json': 'pictures a second',
        'batch': '32; CIFAR 128',
        'size': '224; CIFAR 32',
        'steps': '4; CIFAR 30; quick 2 and 10',
    }
    of_steps(parser.add_argument, ways.BATCHES, ways.WAYS, PEERS, told)
    return run(command, parser)


if __name__ == '__main__':
    sys.exit(main())
