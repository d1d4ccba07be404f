"""List the networks with parameters, multiplications, norms, published errors and weights."""

from __future__ import annotations

import json

from ibnnet_mx import models
from ibnnet_mx.cli import options
from ibnnet_mx.models import published


def facts(name):
    """Return a model's row for the list: sizes, norms, published error. The network is built without weights."""
    from ibnnet_mx.models import nets

    model, net = models.find(name), models.create(name)
    names = list(net.collect_params())
    batch = sum(n.endswith('_running_mean') and not n.startswith('bn_data') for n in names)
    gammas = sum(n.endswith('_gamma') and not n.startswith('bn_data') for n in names)
    return {
        'name': model.name,
        'parameters': nets.count_parameters(net),
        'size': model.size,
        'macs': nets.count_macs(net, model.size),
        'batch_norms': batch,
        'instance_norms': gammas - batch,
        'published_error': published.ERRORS.get(model.name),
        'weights': model.name in published.names(),
        'original': models.has_original(model.family),
    }


def line(row):
    error = '{:5.2f} / {:5.2f}'.format(*row['published_error']) if row['published_error'] else '-'
    norms = f'{row["batch_norms"]} BN' + (f' + {row["instance_norms"]} IN' if row['instance_norms'] else '')
    counts = f'{row["parameters"]:>11,}  {row["macs"] / 1e9:7.3f}  {row["size"]:>4}  {norms:<15}  {error:<13}'
    marks = [mark for mark, is_so in (('weights', row['weights']), ('own design', not row['original'])) if is_so]
    return f'{row["name"]:<26}  {counts}  {", ".join(marks)}'.rstrip()


def command(args):
    names = [name for name in models.list_models() if not args.names or any(part in name for part in args.names)]
    if not names:
        raise ValueError(f'no model has {" or ".join(args.names)} in its name')
    columns = f'{"parameters":>11}  {"GMACs":>7}  {"size":>4}  {"norm layers":<15}  {"error 1 / 5 %":<13}  published'
    for number, row in enumerate(map(facts, names)):
        if number == 0 and not args.json:
            print(f'{"name":<26}  {columns}')
        print(json.dumps(row) if args.json else line(row), flush=True)


def make_parser(prog='ibnnet models'):
    examples = ('ibnnet models', 'ibnnet models ibn_a densenet', 'ibnnet models resnet50 --json')
    usage = '%(prog)s [NAME ...] [options]'
    parser = options.Parser(examples, prog=prog, usage=usage, description=__doc__)
    parser.add_argument('names', nargs='*', metavar='NAME', help='only models with one of these in their name')
    parser.add_argument('--json', action='store_true', help='print one JSON line for each model')
    return parser


def main(argv=None, prog='ibnnet models'):
    return options.run(command, make_parser(prog), argv)
