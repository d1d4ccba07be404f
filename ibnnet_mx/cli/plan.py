"""What a command line asks for: recipe and network, and how the .json of a checkpoint tells them."""

from __future__ import annotations

from dataclasses import replace

from ibnnet_mx import __version__, _env, models, recipe
from ibnnet_mx.distributed import job


def _given(args):
    """The options; --pretrained NAME stands for --model and --depth where these are not given."""
    given = vars(args)
    if not args.pretrained:
        return given
    family, depth = models.split_name(args.pretrained)
    own = models.split_name(args.model or family)[1]
    return dict(given, model=args.model or family, depth=args.depth or (depth if own is None else None))


def make(args, facts=None):
    """(recipe, models.Model) of a command line; facts: the .json of the checkpoint that a --retrain goes on from."""
    if facts is None:
        base = recipe.RECIPES[args.recipe or ('cifar10' if args.data_type == 'cifar10' else 'imagenet')]
    else:
        base = recipe.from_dict(facts['recipe'])
        if args.recipe not in (None, base.name):
            raise ValueError(f'--recipe {args.recipe}: the checkpoint was trained with {base.name}; leave --recipe out')
    if facts is not None and args.zero_gamma and not base.zero_gamma:
        raise ValueError('--zero-gamma is about the first epoch: a --retrain has its weights already, leave it out')
    wanted = recipe.resolve(base, _given(args), None if facts is None else facts['epoch'])
    family, depth = models.split_name(wanted.model)
    if wanted.data_type == 'cifar10' and args.pretrained:
        raise ValueError(f'--pretrained {args.pretrained} is for ImageNet sizes: leave --data-type cifar10 out')
    if wanted.data_type == 'cifar10' and not family.startswith('cifar_'):
        family = f'cifar_{family}'
    if wanted.data_type == 'imagenet' and family.startswith('cifar_'):
        raise ValueError(f'--model {wanted.model} is a CIFAR network: use it with --data-type cifar10')
    model = models.find(family, wanted.depth if depth is None or args.depth is not None else depth)
    if depth not in (None, model.depth):
        raise ValueError(f'--depth {args.depth} contradicts --model {wanted.model}: give one of them')
    if args.pretrained not in (None, model.name):
        raise ValueError(f'--pretrained {args.pretrained} contradicts --model and --depth, which name a {model.name}')
    if facts is not None and model.name != facts['model']:
        raise ValueError(f'--model {model.name}: the checkpoint holds a {facts["model"]}')
    usual = models.usual_ibn_stages(models.MODELS[model.family][1].get('ibn'), len(model.shape.units))
    stages = None if wanted.ibn_stages == usual else wanted.ibn_stages
    if facts is not None and stages != base.ibn_stages:
        told, there = (','.join(map(str, some or usual)) for some in (stages, base.ibn_stages))
        raise ValueError(f'--ibn-stages {told}: the checkpoint has {there}; leave it out')
    return replace(wanted, depth=model.depth, ibn_stages=stages), model


def check_dtype(args, wanted):
    """Lines for the log. ValueError: --dtype bfloat16 cannot be had here."""
    if wanted.dtype == 'float32':
        return []
    if args.gpus:
        raise ValueError(f'--dtype {wanted.dtype} is for the CPU: mxnet 1.9.1 has none on GPUs, leave it out')
    kind = _env.bfloat16()
    if kind == 'no':
        raise ValueError(
            f'--dtype {wanted.dtype}: this processor has no AVX-512, which oneDNN needs for it; leave it out'
        )
    if kind == 'slow':
        return [
            f'--dtype {wanted.dtype}: this processor has neither AMX nor AVX512-BF16, it will be slower than float32'
        ]
    return []


def rows_at_once(wanted, devices):
    """Pictures of a full batch that a device computes at once. ValueError: --accumulate cannot cut its share evenly."""
    share, count = -(-wanted.batch_size // devices), wanted.accumulate
    if count == 1 or wanted.batch_size % (devices * count) == 0:
        return share // count
    fit = [n for n in range(1, share + 1) if wanted.batch_size % (devices * n) == 0]
    near = {max((n for n in fit if n < count), default=None), min((n for n in fit if n > count), default=None)}
    ways = [f'use {" or ".join(map(str, sorted(near - {None})))}'] if near - {None} else []
    ways.append(f'--batch-size {-(-wanted.batch_size // (devices * count)) * devices * count}')
    what = f'the {share} pictures of a device' if wanted.batch_size % devices == 0 else 'what a device has of a batch'
    raise ValueError(f'--accumulate {count} must divide {what}: {", or ".join(ways)}')


def network(args, wanted, model, classes):
    keys = ('norm', 'norm_batch_size', 'dtype', 'bn_mom', 'zero_gamma', 'w_d', 'ibn_ratio', 'ibn_stages')
    options, own = {key: getattr(wanted, key) for key in keys}, dict(wanted.norm_args)
    devices = max(len(args.gpus.split(',')) if args.gpus else args.cpus, 1) * job.workers(args.kv_store)
    size = wanted.norm_batch_size
    rows, share = rows_at_once(wanted, devices), -(-wanted.batch_size // devices)
    if size and rows % max(size, 1):
        whose = 'a device' if wanted.accumulate == 1 else f'a part, with --accumulate {wanted.accumulate}'
        raise ValueError(f'--norm-batch-size {size} must divide the {rows} pictures of {whose}')
    if (
        args.bn_mom is not None
        and wanted.norm not in ('bn', 'syncbn')
        and not models.MODELS[model.family][1].get('preact')
    ):
        hint = '; use --norm-args momentum=' if 'momentum' in models.NORMS[wanted.norm] else ', leave it out'
        raise ValueError(f'--bn-mom {args.bn_mom}: {model.name} with --norm {wanted.norm} has no BatchNorm{hint}')
    if wanted.norm == 'mabn' and size:
        # The window is one batch, as in its ImageNet code: of all parts, so that --accumulate leaves it as it is.
        own.setdefault('real_B', share)
    if wanted.norm == 'syncbn':
        if not args.gpus:
            raise ValueError('--norm syncbn is for several GPUs: add --gpus 0,1; on the CPU mxnet hangs in it, use bn')
        own.setdefault('devices', len(args.gpus.split(',')))
    return models.create(model.name, classes, workspace=args.workspace, norm_args=own, **options)


def describe(wanted, model, classes, names):
    """What the .json of a checkpoint says besides epoch, metrics and files."""
    return {
        'version': __version__,
        'model': model.name,
        'depth': model.depth,
        'norm': wanted.norm,
        'classes': classes,
        'class_names': names[:classes],
        'size': model.size,
        'pixels': {'order': 'RGB', 'mean': model.pixels.mean, 'std': model.pixels.std},
        'recipe': recipe.to_dict(wanted),
    }
