"""ibnnet train: options -> recipe -> network, data, trainer -> epochs."""

from __future__ import annotations

import contextlib
import os

from ibnnet_mx.cli import config, dry_run, log_files, options, parts, picture_sizes, run_dirs, run_options, start, story
from ibnnet_mx.cli.train_options import make_parser
from ibnnet_mx.distributed import job, serve

# {option of the library: its name in this command}, unless they differ only in dashes.
NAMES = {'limit': '--num-examples', 'max_bad': '--max-bad-records'}


def train(args, wanted, model, begin, opened, store, report, cluster):
    """Train a run from its parts: data, network, trainer, then epoch after epoch."""
    from ibnnet_mx import checkpoint
    from ibnnet_mx.training import agreement, computed, objective, saver, trainer, watchdog

    # Data, network and trainer
    facts_before = opened.facts if opened else None
    train_data, val_data, classes, names = parts.open_data(args, wanted, model, cluster, report, facts_before)
    if begin:
        begin.compare_names(names)
    net = run_options.create_network(args, wanted, model, classes, cluster)
    task = objective.of_classifier(net, wanted)
    run = trainer.Trainer(net, wanted, cluster, report, None, begin, args.nan, task)
    memory_lines = parts.settle_memory(args, run, model.size, facts_before)
    wanted = run.recipe
    # The state of a resumed run
    if opened:
        checkpoint.restore(run, opened)
        opened.release()
        parts.check_place(opened.facts, run, train_data)
    agreement.check_workers(run, train_data, val_data)
    # The folder of the checkpoints
    if not args.profile and cluster.is_main:
        store.prepare()
    now = computed.circumstances(cluster, wanted.dtype)
    parts.record_settings(report, wanted, model)
    lines = [*story.opening(run, model, (train_data, val_data, classes), begin, opened, args), *memory_lines]
    for level, line in [*(('info', line) for line in lines), *parts.remarks(run, begin, opened, now)]:
        getattr(report, level)(line)
    if args.profile:
        return parts.profile(run, train_data, args.profile, report)
    report.info(story.files_line(store, args.log_file))
    report.mark(parts.begin_line(run, opened))
    story.plan(report, run, (train_data, val_data), store)
    # The epochs
    origin = start.origin_of(begin, opened)
    run_id = opened.facts.run if opened else checkpoint.new_id()
    facts = run_options.facts_of(wanted, model, classes, names, origin, cluster.num_workers, run_id)
    log, best = log_files.as_fact(args.log_file, store.prefix), story.best_before(store, facts_before)
    facts = facts.at(facts.place, computed=now, log=log, best=best)
    store.begin(facts, opened.place if opened else None, report.info)
    every, go_on = args.checkpoint_batches, args.on_save_error == 'go-on'
    keep = saver.Saver(store, run, (train_data, val_data), facts, every, go_on, opened.place if opened else None)
    with keep, watchdog.Watchdog(args.stall_timeout, report.warn) as watch:
        run.stage = watch.stage
        train_epochs(run, keep, facts_before)
    # The end of the run
    ending = story.closing(store, run.epoch, args.data_dir, args.log_file, options.running())
    for line in [*ending, *(run_dirs.draw(args.log_file) if args.run_dir else ())]:
        report.info(line)


def train_epochs(run, keep, facts):
    """Train and save one epoch after another. keep: a Saver. facts: of the checkpoint that the run goes on from."""
    if facts and not facts.validated:
        keep.epoch(facts.metrics.get('train', {}))
    for _ in range(run.epoch, run.recipe.epochs):
        if keep.is_stalled():
            return run.report.info(keep.stalled_line())
        keep.train()
        keep.epoch(run.report.epoch_metrics)


def command(args):
    """Carry out the options of the command."""
    from ibnnet_mx import checkpoint, logs
    from ibnnet_mx.distributed.cluster import connect

    parts.check_options(args)
    prefix = run_dirs.newest(args.run_dir) if args.run_dir and args.retrain else args.model_prefix
    prefix = prefix or os.path.join(args.run_dir or 'model', run_options.resolve(args)[1].name)
    damaged: list[str] = []
    store = checkpoint.Store(prefix, args.keep)
    opened = parts.open_resumed(args, store, damaged.append)
    wanted, model = run_options.resolve(args, opened and opened.facts)
    advice = [*run_options.check_dtype(args, wanted), *picture_sizes.remarks(args, wanted, model)]
    begin = start.open_start(args, model, wanted)
    settings = config.options_of(make_parser(), args, wanted, model)
    if args.dry_run:
        if args.write_config:
            config.write(args.write_config, settings)
        for line in advice:
            options.tell(line)
        return dry_run.command(args, wanted, model, begin, opened and opened.facts)
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(
            connect(args.kv_store, args.gpus, args.cpus, '--retrain goes on from the last checkpoint')
        )
        if args.run_dir and not args.profile:
            run_dirs.settle(args, store, model.name, opened)
        if cluster.is_main and args.write_config:
            config.write(args.write_config, settings)
        if cluster.is_main and not args.profile:
            stack.enter_context(store.alone())
        args.log_file = log_files.chosen(args.log_file, store.prefix, opened and opened.facts)
        go_on, name_of = opened.facts.epoch if opened else None, options.named(NAMES)
        report = logs.Reporter(
            args.frequent, args.log_file, args.tensorboard, cluster.rank, name_of, go_on, args.log_style
        )
        try:
            for line in [*damaged, *advice]:
                report.warn(line)
            return train(args, wanted, model, begin, opened, store, report, cluster)
        finally:
            report.close()


def main(argv=None, prog='train_resnet'):
    """Train, or serve if DMLC_ROLE says so, because a job may start the same command for every role."""
    if os.environ.get('DMLC_ROLE') in ('server', 'scheduler'):
        return serve.main()
    code, parser = 1, make_parser(prog)
    try:
        code = options.run(
            command,
            parser,
            config.expanded(parser, argv),
            'interrupted; if a checkpoint was saved, --retrain goes on from it',
            NAMES,
        )
    finally:
        job.leave(code)
    return code
