"""ibnnet train --dry-run: print what would be done. No network is trained and no checkpoint is touched."""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from ibnnet_mx.cli import options, parts, run_options, story
from ibnnet_mx.distributed import job
from ibnnet_mx.errors import dashed
from ibnnet_mx.recipe import saved
from ibnnet_mx.size import Size


class Alone(NamedTuple):
    """The share of a process that reads all records."""

    rank: int = 0
    num_workers: int = 1


class Stderr:
    """A report whose lines go to stderr."""

    def info(self, line):
        """Write a line."""
        options.tell(line)

    warn = info


def command(args, wanted, model, begin, facts):
    """Print the recipe, the data and the network of a command line. facts: of the checkpoint to go on from, or None.

    The data is read if --data-dir is given, or if the default folder exists. Raises ValueError if it is missing or
    damaged.
    """
    planned = job.planned(args.kv_store, args.gpus, args.cpus)
    classes, is_there = args.num_classes, args.data_is_given or os.path.isdir(args.data_dir)
    if is_there:
        train, val, classes, names = parts.open_data(args, wanted, model, Alone(), Stderr(), facts)
        if begin:
            begin.compare_names(names)
        lines = [story.data_line(args.data_dir, (train, val), classes, wanted.exif), story.steps_line(wanted, train)]
        for iterator in (train, val):
            iterator.close()
    else:
        lines = [f'data: none was read, because {args.data_dir} does not exist and --data-dir is not given']
    lines.append(network_line(run_options.create_network(args, wanted, model, classes, planned), wanted, model, begin))
    if is_there:
        # The network above may have its first weights already, and a trainer draws them.
        fresh = run_options.create_network(args, wanted, model, classes, planned)
        lines += memory_lines(args, wanted, model, fresh, facts)
    print('\n'.join([json.dumps(saved.to_dict(wanted), indent=1), *lines]))


def memory_lines(args, wanted, model, net, facts):
    """Return the lines about the memory that the run would take. Raises OptionError if it does not fit."""
    from ibnnet_mx.distributed.cluster import connect
    from ibnnet_mx.training import trainer

    if job.count_workers(args.kv_store) > 1:
        return ['memory: not estimated, because --dry-run starts no other worker']
    with connect(args.kv_store, args.gpus, args.cpus) as cluster:
        run = trainer.Trainer(net, wanted, cluster, Stderr())
        return [dashed(line, options.option_name) for line in parts.settle_memory(args, run, model.size, facts)]


def network_line(net, wanted, model, begin):
    """Return the line about the network and its first weights, which are tried on."""
    from ibnnet_mx.models import nets
    from ibnnet_mx.training import setup

    setup.prepare(net, wanted)
    if begin:
        begin.try_on(net)
    size, classes, count = Size.of(model.size), net.collect_params()['fc1_bias'].shape[0], nets.count_parameters(net)
    learning = nets.count_parameters(net, learning=True)
    notes = [f', {learning:,} of them learning' if wanted.freeze else '', f', start: {begin.origin}' if begin else '']
    return f'{model.name}: {classes} classes, {count:,} parameters, input 3x{size.sides}' + ''.join(notes)
