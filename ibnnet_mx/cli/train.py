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
    from ibnnet_mx import distributed, trainer
    from ibnnet_mx.recordio import native

    cluster = distributed.connect(args.kv_store, args.gpus, args.cpus)
    train_data, val_data, classes, names = inputs(args, wanted, model, cluster, report)
    net = plan.network(args, wanted, model, classes)
    run = trainer.Trainer(net, wanted, cluster, report, args.memonger, begin)
    if facts:
        store.load(run, facts['epoch'])
    if not args.profile:
        store.prepare()
        if not facts and store.epochs():
            report.warn(f'{store.prefix}-NNNN are there from an earlier run: this one writes over them')
    for line in [*_env.report(), native.about(), f'{model.name}: {recipe.to_dict(wanted)}']:
        report.info(line)
    for line in [*recipe.remarks(wanted, run.epoch), *start.remarks(begin, facts, wanted)]:
        report.warn(line)
    if args.profile:
        return profile(run, train_data, args.profile, report)
    about = dict(plan.describe(wanted, model, classes, names), init=start.origin(begin, facts))
    for _ in range(run.epoch, wanted.epochs):
        run.train_epoch(train_data)
        metrics = {'validation': run.evaluate(val_data), 'train': report.epoch_metrics}
        store.save(run, run.epoch, dict(about, metrics=metrics))


def command(args):
    from ibnnet_mx import checkpoint, logs

    if args.model_load_epoch is not None and not args.retrain:
        raise ValueError(f'--model-load-epoch {args.model_load_epoch} needs --retrain')
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
    return options.run(command, options.training(), argv, 'interrupted; with --retrain it goes on from the last epoch')
