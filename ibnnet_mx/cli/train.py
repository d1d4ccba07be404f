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


def show(wanted, model, net, classes):
    """What --dry-run prints."""
    from ibnnet_mx import nets

    print(json.dumps(recipe.to_dict(wanted), indent=1))
    print(
        f'{model.name}: {classes} classes, {nets.count_parameters(net):,} parameters, input 3x{model.size}x{model.size}'
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


def train(args):
    from ibnnet_mx import checkpoint, data, distributed, logs, trainer
    from ibnnet_mx.recordio.reader import Options

    wanted, model = plan(args)
    prefix = args.model_prefix or os.path.join('model', model.name)
    store = checkpoint.Store(prefix, args.keep)
    cluster = distributed.connect(args.kv_store, args.gpus, args.cpus)
    report = logs.Reporter(args.frequent, args.log_file or os.path.join('log', f'{model.name}.log'), args.tensorboard)
    facts = None
    if args.retrain:
        facts = store.facts(store.choose(args.model_load_epoch, report.warn))
        wanted, model = plan(args, facts)
    for line in [*_env.report(), f'{model.name}, {recipe.to_dict(wanted)}']:
        report.info(line)
    reading = Options(threads=args.threads, limit=args.num_examples, max_bad=args.max_bad_records, report=report.warn)
    source = data.Input(model.size, model.pixels.mean, model.pixels.std)
    train_data, val_data = data.record_iters(wanted, args.data_dir, cluster, source, reading)
    names = data.class_names(args.data_dir)
    classes = data.count_classes(train_data, val_data, names, args.num_classes)
    run = trainer.Trainer(network(args, wanted, model, classes), wanted, cluster, report, args.memonger)
    if args.retrain:
        store.load(run, facts['epoch'])
    store.prepare()
    for _ in range(run.epoch, wanted.epochs):
        run.train_epoch(train_data)
        metrics = {'validation': run.evaluate(val_data), 'train': report.epoch_metrics}
        store.save(run, run.epoch, dict(describe(args, wanted, model, classes, names), metrics=metrics))
    report.close()


def main(argv=None):
    return options.run(train, options.training(), argv)
