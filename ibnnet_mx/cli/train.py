"""train_resnet.py: options -> recipe -> net, data, trainer -> epochs."""

from __future__ import annotations

import os

from ibnnet_mx import _env, recipe
from ibnnet_mx.cli import options, parts, plan
from ibnnet_mx.distributed import job, serve
from ibnnet_mx.training import initial_weights


def train(args, wanted, model, begin, facts, store, report, cluster):
    from ibnnet_mx import checkpoint
    from ibnnet_mx.recordio.fast import native
    from ibnnet_mx.training import agreement, saver, trainer, watchdog

    train_data, val_data, classes, names = parts.inputs(args, wanted, model, cluster, report)
    net = plan.network(args, wanted, model, classes)
    run = trainer.Trainer(net, wanted, cluster, report, args.memonger, begin, args.nan)
    if facts:
        store.load(run, checkpoint.place(facts))
        parts.check_place(facts, run, train_data)
    agreement.check(run, train_data, val_data)
    if not args.profile and cluster.is_main:
        store.prepare()
        if not facts and (store.epochs() or store.unfinished()):
            report.warn(f'{store.prefix}-NNNN are there from an earlier run: this one writes over them')
            store.sweep()
    for line in [*_env.report(), native.about(), f'{model.name}: {recipe.to_dict(wanted)}']:
        report.info(line)
    for line in [*recipe.remarks(wanted, run.epoch), *initial_weights.remarks(begin, facts, wanted)]:
        (report.warn if cluster.is_main else report.info)(line)  # said once
    if args.profile:
        return parts.profile(run, train_data, args.profile, report)
    about = dict(plan.describe(wanted, model, classes, names), init=initial_weights.origin(begin, facts))
    about['workers'] = cluster.num_workers
    every, go_on = args.checkpoint_batches, args.on_save_error == 'go-on'
    last = checkpoint.place(facts) if facts else None
    keep = saver.Keeper(store, run, (train_data, val_data), about, every, go_on, last)
    with keep, watchdog.Watchdog(args.stall_timeout, report.warn) as watch:
        run.stage = watch.stage
        if facts and 'batch' not in facts and 'validation' not in facts.get('metrics', {}):
            keep.epoch(facts.get('metrics', {}).get('train', {}))
        for _ in range(run.epoch, wanted.epochs):
            keep.train()
            keep.epoch(report.epoch_metrics)


def command(args):
    from ibnnet_mx import checkpoint, distributed, logs

    parts.check(args)
    prefix = args.model_prefix or os.path.join('model', plan.make(args)[1].name)
    store, damaged = checkpoint.Store(prefix, args.keep), []
    facts = parts.resumed(args, store, damaged.append)
    wanted, model = plan.make(args, facts)
    slow = plan.check_dtype(args, wanted)
    begin = initial_weights.of(args, model, wanted)
    if args.dry_run:
        return parts.show(wanted, model, plan.network(args, wanted, model, args.num_classes), begin)
    with distributed.connect(args.kv_store, args.gpus, args.cpus) as cluster:
        log_file = args.log_file or os.path.join('log', f'{os.path.basename(prefix)}.log')
        report = logs.Reporter(args.frequent, log_file, args.tensorboard, cluster.rank)
        try:
            for line in [*damaged, *slow]:
                report.warn(line)
            return train(args, wanted, model, begin, facts, store, report, cluster)
        finally:
            report.close()


def main(argv=None):
    if os.environ.get('DMLC_ROLE') in ('server', 'scheduler'):  # where a job starts the same command for every role
        return serve.main()
    code = 1
    try:
        code = options.run(
            command, options.training(), argv, 'interrupted; with --retrain it goes on from the last checkpoint'
        )
    finally:
        job.leave(code)
    return code
