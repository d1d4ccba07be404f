"""The steps of a training command between its options and its epochs."""

from __future__ import annotations

from ibnnet_mx import _env, _limits, logs, recipe
from ibnnet_mx.cli import options, places, run_dirs, start
from ibnnet_mx.cli.train_options import DATA
from ibnnet_mx.distributed import job
from ibnnet_mx.errors import dashed
from ibnnet_mx.files import outputs
from ibnnet_mx.recipe import saved
from ibnnet_mx.size import Size


def take_prefix(args):
    """Take the name of a checkpoint's file for --model-prefix and --model-load-epoch.

    Raises ValueError if it contradicts the options.
    """
    if args.model_prefix is None:
        return
    prefix, epoch = places.split_name(args.model_prefix)
    if prefix == args.model_prefix:
        return
    if args.retrain is None or args.retrain == 'auto' and epoch is not None:
        way_out = (
            'add --retrain to go on from it' if args.retrain is None else '--retrain auto chooses the epoch itself'
        )
        raise ValueError(f'--model-prefix {args.model_prefix} is a file of a checkpoint: {way_out}, or name {prefix}')
    args.model_prefix, args.model_load_epoch = places.agree(
        '--model-prefix', args.model_prefix, '--model-load-epoch', args.model_load_epoch
    )


def check_options(args):
    """Raise ValueError if an option has an impossible value, or needs another option."""
    if args.run_dir is not None:
        run_dirs.check(args)
    take_prefix(args)
    args.data_is_given = args.data_dir is not None
    args.data_dir = DATA if args.data_dir is None else args.data_dir
    if args.model_load_epoch is not None and args.retrain != 'yes':
        raise ValueError(f'--model-load-epoch {args.model_load_epoch} needs --retrain')
    if args.checkpoint_batches is not None and args.checkpoint_batches < 1:
        raise ValueError(f'--checkpoint-batches {args.checkpoint_batches} must be at least 1')
    if args.stall_timeout is not None and not args.stall_timeout > 0:
        raise ValueError(f'--stall-timeout {args.stall_timeout:g} must be above 0 seconds')
    job.check_kv_store(args.kv_store)
    start.check_start(args)
    if args.profile is not None:
        if job.count_workers(args.kv_store) > 1:
            raise ValueError(f'--profile {args.profile} measures one worker: leave --kv-store {args.kv_store} out')
        from ibnnet_mx.training import profiling

        profiling.check_path(args.profile)
        outputs.check_writable('profile', args.profile)


def open_resumed(args, store, warn):
    """Return the checkpoint.Opened that the run goes on from; None if it begins anew."""
    if not args.retrain or args.retrain == 'auto' and not (store.epochs() or store.unfinished()):
        return None
    return store.choose(args.model_load_epoch, warn)


def open_data(args, wanted, model, cluster, report, facts=None):
    """Return (train, val, class count, class names). Raises ValueError for wrong options or data.

    facts: those of the checkpoint that a run goes on from.
    """
    from ibnnet_mx import data
    from ibnnet_mx.recordio import lists
    from ibnnet_mx.recordio.reading.options import Options

    for option, value, least in (('--threads', args.threads, 1), ('--max-bad-records', args.max_bad_records, 0)):
        if value is not None and value < least:
            raise ValueError(f'{option} {value} must be at least {least}')
    reading = Options(
        threads=args.threads or _limits.own_cores(),
        limit=args.num_examples,
        max_bad=args.max_bad_records,
        report=lambda line: report.warn(dashed(line, options.option_name)),
        label_width=args.label_width or 1,
        label_column=wanted.label_column,
        exif=wanted.exif,
    )
    options.check_labels(args.label_width, wanted.label_column)
    source = data.Input(model.size, model.pixels.mean, model.pixels.std)
    train, val = data.record_iters(wanted, args.data_dir, cluster, source, reading)
    names = lists.read_synset(args.data_dir)
    if args.list_dir is not None:
        for path in data.check_lists(args.list_dir, args.data_dir, wanted.data_type, source.size):
            report.info(f'--list-dir: {path} agrees with the records')
    given = args.num_classes
    if facts and given is None and facts.class_names is not None and facts.class_names == names[: facts.classes]:
        given = facts.classes  # as the run was begun, with --num-classes
    classes = data.count_classes(train, val, names, given)
    for line in check_classes(facts, classes, names, args.data_dir) if facts else ():
        report.warn(line)
    pictures = min(len(labels) for _, labels in train.class_labels().values())
    if pictures < wanted.batch_size:
        report.warn(
            f'--batch-size {wanted.batch_size} is more than the {pictures} training pictures: an epoch is one step'
        )
    for line in data.describe_gaps(train, classes, names):
        report.warn(line) if given is None else report.info(line)
    return train, val, classes, names


def settle_memory(args, run, size, facts):
    """Let a run take the cheapest way of a step that fits the free memory. Return lines for the log.

    facts: those of the checkpoint that a run goes on from; its count of chunks is kept.
    Raises OptionError if the run does not fit, and ValueError for --accumulate auto with several workers.
    """
    from ibnnet_mx.training import memory

    chunks = run.recipe.accumulate
    if args.accumulate == 'auto' and facts is None:
        if run.cluster.num_workers > 1:
            raise ValueError('--accumulate auto is for one worker, because all must cut alike: give a number')
        chunks = 'auto'
    free = memory.free_for(run)
    check = not (args.gpus or args.no_memory_check)  # the estimate was fitted on CPUs
    return memory.settle(run, Size.of(size), free, chunks, run.recipe.memonger, check)


def record_settings(report, wanted, model):
    """Write the versions of the software and the whole recipe to the log file."""
    from ibnnet_mx.recordio.fast import native

    for line in [*_env.report(), native.about(), f'{model.name}: {saved.to_dict(wanted)}']:
        report.record(line)


def remarks(run, begin, opened, now):
    """Yield (level, line) of what may surprise in a run. Only worker 0 gives them as warnings, so they come once.

    now: computed.circumstances().
    """
    from ibnnet_mx.training import computed

    level, wanted = 'warn' if run.cluster.is_main else 'info', run.recipe
    moved = computed.remark(opened.facts.computed if opened else None, now)
    for line in [*recipe.remarks(wanted, run.epoch), *start.remarks_on(begin, opened, wanted), *[moved] * bool(moved)]:
        yield level, line


def begin_line(run, opened):
    """Return the line by which readers of the log tell a new run from one that goes on."""
    if opened:
        return logs.GO_ON.write(epoch=run.epoch, batch=run.batch)
    return logs.BEGIN.write(epoch=run.epoch)


def check_classes(facts, classes, names, data_dir):
    """Return a line if class names have changed since the checkpoint. Raises ValueError if count or order have."""
    if facts.classes not in (None, classes):
        raise ValueError(
            f'--retrain: the checkpoint has {facts.classes} classes, the data in {data_dir} {classes}; to fine-tune '
            'its weights for other classes begin a new run by --init FILE.params'
        )
    before, now = list(facts.class_names or ()), list(names[:classes])
    moved = [label for label, (one, other) in enumerate(zip(before, now)) if one != other]
    if not moved or not now:
        return []
    label = moved[0]
    if sorted(before) == sorted(now):
        raise ValueError(
            f'--retrain: {data_dir} orders the classes differently: label {label} is {now[label]!r}, for the '
            f'checkpoint {before[label]!r}; pack the data with the labels of the checkpoint'
        )
    return [
        f'{data_dir} calls label {label} {now[label]!r}, the checkpoint {before[label]!r}: labels are taken as equal'
    ]


def check_place(facts, run, train_data):
    """Raise ValueError if the run cannot go on within an epoch because its batches have changed."""
    if facts.batch is None:
        return
    now = dict(batch_size=run.recipe.batch_size, steps=train_data.steps(run.epoch), seed=run.recipe.seed)
    before = dict(batch_size=facts.recipe['batch_size'], steps=facts.steps, seed=facts.recipe['seed'])
    now['workers'], before['workers'] = run.cluster.num_workers, facts.workers
    changed = [f'{key} {before[key]} is now {now[key]}' for key in now if before[key] != now[key]]
    if changed:
        raise ValueError(
            f'--retrain: the checkpoint was saved at batch {facts.batch} of epoch {facts.epoch}, and '
            f'{", ".join(changed)}; undo that, or name an epoch by --model-load-epoch'
        )


def profile(run, train_data, path, report):
    """Measure a few steps instead of training."""
    from ibnnet_mx.training import profiling

    measured = run.profile(train_data)
    profiling.write_profile(measured, path)
    for line in [*measured.lines(), f'--profile: {path} is written, the run ends']:
        report.info(line)
