"""train_resnet.py: options -> recipe -> net, data, trainer -> epochs."""

from __future__ import annotations

import json
import os
from dataclasses import replace

from ibnnet_mx import __version__, _env, recipe, registry
from ibnnet_mx.cli import options


def plan(args, facts=None):
    """(recipe, registry.Model) of a command line; facts: the .json of the checkpoint that a --retrain goes on from."""
    if facts is None:
        base = recipe.RECIPES[args.recipe or ('cifar10' if args.data_type == 'cifar10' else 'imagenet')]
    else:
        base = recipe.from_dict(facts['recipe'])
        if args.recipe not in (None, base.name):
            raise ValueError(f'--recipe {args.recipe}: the checkpoint was trained with {base.name}; leave --recipe out')
    wanted = recipe.resolve(base, vars(args), None if facts is None else facts['epoch'])
    family, depth = registry.split_name(wanted.model)
    if wanted.data_type == 'cifar10' and not family.startswith('cifar_'):
        family = f'cifar_{family}'
    if wanted.data_type == 'imagenet' and family.startswith('cifar_'):
        raise ValueError(f'--model {wanted.model} is a CIFAR network: use it with --data-type cifar10')
    model = registry.find(family, wanted.depth if depth is None or args.depth is not None else depth)
    if depth not in (None, model.depth):
        raise ValueError(f'--depth {args.depth} contradicts --model {wanted.model}: give one of them')
    if facts is not None and model.name != facts['model']:
        raise ValueError(f'--model {model.name}: the checkpoint holds a {facts["model"]}')
    return replace(wanted, depth=model.depth), model


def show(wanted, model, net):
    """What --dry-run prints."""
    from ibnnet_mx import nets

    classes = net.collect_params()['fc1_bias'].shape[0]
    print(json.dumps(recipe.to_dict(wanted), indent=1))
    print(
        f'{model.name}: {classes} classes, {nets.count_parameters(net):,} parameters, input 3x{model.size}x{model.size}'
    )


def introduce(report, wanted, model):
    """The first lines of a log: machine settings, recipe, and what is odd about it."""
    for line in _env.report():
        report.info(line)
    report.info(f'{model.name}: {recipe.to_dict(wanted)}')
    late = recipe.unreached(wanted)
    if late:
        steps = ','.join(f'{step:g}' for step in late)
        report.warn(f'--lr-steps {steps} come after the last epoch ({wanted.epochs}) and change nothing')
    if wanted.lr_from is not None:
        start, rate = wanted.lr_from
        usual = recipe.lr_at(replace(wanted, lr_from=None), start)
        report.warn(
            f'--lr {rate:g} holds from epoch {start} on, where the schedule had {usual:g}; later steps still apply'
        )


def describe(args, wanted, model, classes, names):
    """What the .json of a checkpoint says besides epoch, metrics and files."""
    return {
        'version': __version__,
        'model': model.name,
        'depth': model.depth,
        'norm': args.norm,
        'classes': classes,
        'class_names': names[:classes],
        'size': model.size,
        'pixels': {'order': 'RGB', 'mean': model.pixels.mean, 'std': model.pixels.std},
        'recipe': recipe.to_dict(wanted),
    }


def network(args, wanted, model, classes):
    return registry.get_model(model.name, classes, None, args.norm, wanted.bn_mom, args.workspace, wanted.zero_gamma)


def inputs(args, wanted, model, cluster, report):
    """(train, val, class count, class names), checked before the first batch."""
    from ibnnet_mx import data
    from ibnnet_mx.recordio.reader import Options

    for option, value, least in (('--threads', args.threads, 1), ('--max-bad-records', args.max_bad_records, 0)):
        if value is not None and value < least:
            raise ValueError(f'{option} {value} must be at least {least}')
    reading = Options(threads=args.threads, limit=args.num_examples, max_bad=args.max_bad_records, report=report.warn)
    source = data.Input(model.size, model.pixels.mean, model.pixels.std)
    train, val = data.record_iters(wanted, args.data_dir, cluster, source, reading)
    names = data.class_names(args.data_dir)
    if args.list_dir is not None:
        for path in data.check_lists(args.list_dir, args.data_dir, wanted.data_type):
            report.info(f'--list-dir: {path} agrees with the records')
    return train, val, data.count_classes(train, val, names, args.num_classes), names


def train(args, report, store):
    from ibnnet_mx import distributed, trainer

    cluster = distributed.connect(args.kv_store, args.gpus, args.cpus)
    facts = store.facts(store.choose(args.model_load_epoch, report.warn)) if args.retrain else None
    wanted, model = plan(args, facts)
    train_data, val_data, classes, names = inputs(args, wanted, model, cluster, report)
    net = network(args, wanted, model, classes)
    run = trainer.Trainer(net, wanted, cluster, report, args.memonger)
    if facts:
        store.load(run, facts['epoch'])
    store.prepare()
    introduce(report, wanted, model)
    for _ in range(run.epoch, wanted.epochs):
        run.train_epoch(train_data)
        metrics = {'validation': run.evaluate(val_data), 'train': report.epoch_metrics}
        store.save(run, run.epoch, dict(describe(args, wanted, model, classes, names), metrics=metrics))


def command(args):
    from ibnnet_mx import checkpoint, logs

    wanted, model = plan(args)
    if args.dry_run:
        return show(wanted, model, network(args, wanted, model, args.num_classes or model.classes))
    if args.model_load_epoch is not None and not args.retrain:
        raise ValueError(f'--model-load-epoch {args.model_load_epoch} needs --retrain')
    store = checkpoint.Store(args.model_prefix or os.path.join('model', model.name), args.keep)
    report = logs.Reporter(args.frequent, args.log_file or os.path.join('log', f'{model.name}.log'), args.tensorboard)
    try:
        return train(args, report, store)
    finally:
        report.close()


def main(argv=None):
    return options.run(command, options.training(), argv)
