"""The parts of a training run between its options and its epochs."""

from __future__ import annotations

import json

from ibnnet_mx import _env, recipe
from ibnnet_mx.distributed import job
from ibnnet_mx.files import outputs
from ibnnet_mx.training import initial_weights


def check(args):
    """ValueError: an option has a value that cannot be, or lacks another."""
    if args.model_load_epoch is not None and args.retrain != 'yes':
        raise ValueError(f'--model-load-epoch {args.model_load_epoch} needs --retrain')
    if args.checkpoint_batches is not None and args.checkpoint_batches < 1:
        raise ValueError(f'--checkpoint-batches {args.checkpoint_batches} must be at least 1')
    if args.stall_timeout is not None and not args.stall_timeout > 0:
        raise ValueError(f'--stall-timeout {args.stall_timeout:g} must be above 0 seconds')
    job.check(args.kv_store)
    initial_weights.check(args)
    if args.profile is not None:
        if job.workers(args.kv_store) > 1:
            raise ValueError(f'--profile {args.profile} measures one worker: leave --kv-store {args.kv_store} out')
        from ibnnet_mx.training import profiling

        profiling.check(args.profile)
        outputs.writable('--profile', args.profile)


def resumed(args, store, warn):
    """The .json of the checkpoint to go on from; None: the run begins."""
    if not args.retrain or args.retrain == 'auto' and not (store.epochs() or store.unfinished()):
        return None
    return store.facts(store.choose(args.model_load_epoch, warn))


def show(wanted, model, net, begin):
    """What --dry-run prints."""
    from ibnnet_mx.models import nets
    from ibnnet_mx.training import setup

    setup.prepare(net, wanted)
    if begin:
        begin.try_on(net)
    size, classes, count = model.size, net.collect_params()['fc1_bias'].shape[0], nets.count_parameters(net)
    print(json.dumps(recipe.to_dict(wanted), indent=1))
    learning = nets.count_parameters(net, learning=True)
    notes = [f', {learning:,} of them learning' if wanted.freeze else '', f', start: {begin.origin}' if begin else '']
    print(f'{model.name}: {classes} classes, {count:,} parameters, input 3x{size}x{size}' + ''.join(notes))


def inputs(args, wanted, model, cluster, report):
    """(train, val, class count, class names), checked before the first batch."""
    from ibnnet_mx import data
    from ibnnet_mx.recordio import lists
    from ibnnet_mx.recordio.reading.reader import Options

    for option, value, least in (('--threads', args.threads, 1), ('--max-bad-records', args.max_bad_records, 0)):
        if value is not None and value < least:
            raise ValueError(f'{option} {value} must be at least {least}')
    reading = Options(
        threads=args.threads or _env.own_cores(),
        limit=args.num_examples,
        max_bad=args.max_bad_records,
        report=report.warn,
    )
    source = data.Input(model.size, model.pixels.mean, model.pixels.std)
    train, val = data.record_iters(wanted, args.data_dir, cluster, source, reading)
    names = lists.synset(args.data_dir)
    if args.list_dir is not None:
        for path in data.check_lists(args.list_dir, args.data_dir, wanted.data_type):
            report.info(f'--list-dir: {path} agrees with the records')
    return train, val, data.count_classes(train, val, names, args.num_classes), names


def check_place(facts, run, train_data):
    """ValueError: batches are not what they were, so that the run cannot go on within an epoch."""
    if 'batch' not in facts:
        return
    there = dict(batch_size=run.recipe.batch_size, steps=train_data.steps(run.epoch), seed=run.recipe.seed)
    was = dict(batch_size=facts['recipe']['batch_size'], steps=facts['steps'], seed=facts['recipe']['seed'])
    there['workers'], was['workers'] = run.cluster.num_workers, facts.get('workers', 1)
    changed = [f'{key} {was[key]} is now {there[key]}' for key in there if was[key] != there[key]]
    if changed:
        raise ValueError(
            f'--retrain: the checkpoint is of batch {facts["batch"]} within epoch {facts["epoch"]}, and '
            f'{", ".join(changed)}; leave that as it was, or name an epoch by --model-load-epoch'
        )


def profile(run, train_data, path, report):
    """Measures a few steps in the place of the training."""
    from ibnnet_mx.training import profiling

    found = run.profile(train_data)
    profiling.write(found, path)
    for line in [*found.lines(), f'--profile: {path} is written, the run ends']:
        report.info(line)
