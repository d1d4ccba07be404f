"""train_resnet.py: options -> recipe -> net, data, trainer -> epochs."""

from __future__ import annotations

import json
import os

from ibnnet_mx import _env, recipe
from ibnnet_mx.cli import options, plan, start


def show(wanted, model, net, begin):
    """What --dry-run prints."""
    from ibnnet_mx import finetune, nets

    finetune.prepare(net, wanted)
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
    from ibnnet_mx.recordio.reader import Options

    for option, value, least in (('--threads', args.threads, 1), ('--max-bad-records', args.max_bad_records, 0)):
        if value is not None and value < least:
            raise ValueError(f'{option} {value} must be at least {least}')
    reading = Options(threads=args.threads, limit=args.num_examples, max_bad=args.max_bad_records, report=report.warn)
    source = data.Input(model.size, model.pixels.mean, model.pixels.std)
    train, val = data.record_iters(wanted, args.data_dir, cluster, source, reading)
    names = lists.synset(args.data_dir)
    if args.list_dir is not None:
        for path in data.check_lists(args.list_dir, args.data_dir, wanted.data_type):
            report.info(f'--list-dir: {path} agrees with the records')
    return train, val, data.count_classes(train, val, names, args.num_classes), names


def profile(run, train_data, path, report):
    """Measures a few steps in the place of the training."""
    from ibnnet_mx import profiling

    found = run.profile(train_data)
    profiling.write(found, path)
    for line in [*found.lines(), f'--profile: {path} is written, the run ends']:
        report.info(line)


def train(args, wanted, model, begin, facts, store, report):
    from ibnnet_mx import checkpoint, distributed, trainer
    from ibnnet_mx.cli import keeper, watchdog
    from ibnnet_mx.recordio import native

    cluster = distributed.connect(args.kv_store, args.gpus, args.cpus)
    train_data, val_data, classes, names = inputs(args, wanted, model, cluster, report)
    net = plan.network(args, wanted, model, classes)
    run = trainer.Trainer(net, wanted, cluster, report, args.memonger, begin, args.nan)
    if facts:
        store.load(run, checkpoint.place(facts))
        check_place(facts, run, train_data)
    if not args.profile:
        store.prepare()
        if not facts and (store.epochs() or store.unfinished()):
            report.warn(f'{store.prefix}-NNNN are there from an earlier run: this one writes over them')
            store.sweep()
    for line in [*_env.report(), native.about(), f'{model.name}: {recipe.to_dict(wanted)}']:
        report.info(line)
    for line in [*recipe.remarks(wanted, run.epoch), *start.remarks(begin, facts, wanted)]:
        report.warn(line)
    if args.profile:
        return profile(run, train_data, args.profile, report)
    about = dict(plan.describe(wanted, model, classes, names), init=start.origin(begin, facts))
    every, go_on = args.checkpoint_batches, args.on_save_error == 'go-on'
    last = checkpoint.place(facts) if facts else None
    keep = keeper.Keeper(store, run, (train_data, val_data), about, every, go_on, last)
    with keep, watchdog.Watchdog(args.stall_timeout, report.warn) as watch:
        run.stage = watch.stage
        if facts and 'batch' not in facts and 'validation' not in facts.get('metrics', {}):
            keep.epoch(facts.get('metrics', {}).get('train', {}))
        for _ in range(run.epoch, wanted.epochs):
            keep.train()
            keep.epoch(report.epoch_metrics)


def check_place(facts, run, train_data):
    """ValueError: batches are not what they were, so that the run cannot go on within an epoch."""
    if 'batch' not in facts:
        return
    there = dict(batch_size=run.recipe.batch_size, steps=train_data.steps(run.epoch), seed=run.recipe.seed)
    was = dict(batch_size=facts['recipe']['batch_size'], steps=facts['steps'], seed=facts['recipe']['seed'])
    changed = [f'{key} {was[key]} is now {there[key]}' for key in there if was[key] != there[key]]
    if changed:
        raise ValueError(
            f'--retrain: the checkpoint is of batch {facts["batch"]} within epoch {facts["epoch"]}, and '
            f'{", ".join(changed)}; leave that as it was, or name an epoch by --model-load-epoch'
        )


def command(args):
    from ibnnet_mx import checkpoint, logs

    if args.model_load_epoch is not None and not args.retrain:
        raise ValueError(f'--model-load-epoch {args.model_load_epoch} needs --retrain')
    if args.checkpoint_batches is not None and args.checkpoint_batches < 1:
        raise ValueError(f'--checkpoint-batches {args.checkpoint_batches} must be at least 1')
    if args.stall_timeout is not None and not args.stall_timeout > 0:
        raise ValueError(f'--stall-timeout {args.stall_timeout:g} must be above 0 seconds')
    start.check(args)
    if args.profile is not None:
        from ibnnet_mx import profiling

        profiling.check(args.profile)
    prefix = args.model_prefix or os.path.join('model', plan.make(args)[1].name)
    store, damaged, facts = checkpoint.Store(prefix, args.keep), [], None
    if args.retrain:
        facts = store.facts(store.choose(args.model_load_epoch, damaged.append))
    wanted, model = plan.make(args, facts)
    slow = plan.check_dtype(args, wanted)
    begin = start.of(args, model, wanted)
    if args.dry_run:
        return show(wanted, model, plan.network(args, wanted, model, args.num_classes), begin)
    log_file = args.log_file or os.path.join('log', f'{os.path.basename(prefix)}.log')
    report = logs.Reporter(args.frequent, log_file, args.tensorboard)
    try:
        for line in [*damaged, *slow]:
            report.warn(line)
        return train(args, wanted, model, begin, facts, store, report)
    finally:
        report.close()


def main(argv=None):
    return options.run(
        command, options.training(), argv, 'interrupted; with --retrain it goes on from the last checkpoint'
    )
