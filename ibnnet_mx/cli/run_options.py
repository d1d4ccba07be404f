"""Make the recipe, the network and the facts of checkpoints from the options of a training command."""

from __future__ import annotations

from dataclasses import replace

from ibnnet_mx import __version__, _env, _limits, models, recipe
from ibnnet_mx.cli import picture_sizes
from ibnnet_mx.models import tables
from ibnnet_mx.recipe import saved

NETWORK = (
    'norm',
    'norm_batch_size',
    'dtype',
    'bn_mom',
    'zero_gamma',
    'w_d',
    'ibn_ratio',
    'ibn_stages',
)  # options of models.create() in a recipe


COPIES = 3  # of the weights, in training: weight, gradient, momentum


def _given(args):
    """Return the options; --pretrained NAME stands for --model and --depth if these are not given.

    --accumulate auto is settled later, once the network is there.
    """
    given = dict(vars(args), accumulate=None if args.accumulate == 'auto' else args.accumulate)
    if not args.pretrained:
        return given
    family, depth = models.split_name(args.pretrained)
    depth_of_name = models.split_name(args.model or family)[1]
    return dict(given, model=args.model or family, depth=args.depth or (depth if depth_of_name is None else None))


def resolve(args, facts=None):
    """Return (recipe, models.Model) of a command line; the model's size is the one of the run's pictures.

    facts: those of the checkpoint that --retrain goes on from.
    """
    if facts is None:
        base = recipe.RECIPES[args.recipe or ('cifar10' if args.data_type == 'cifar10' else 'imagenet')]
    else:
        base = saved.from_dict(facts.recipe)
        if args.recipe not in (None, base.name):
            raise ValueError(f'--recipe {args.recipe}: the checkpoint was trained with {base.name}; leave --recipe out')
    if facts is not None and args.zero_gamma and not base.zero_gamma:
        raise ValueError('--zero-gamma sets the first weights, and --retrain has its weights already: leave it out')
    wanted = recipe.resolve(base, _given(args), None if facts is None else facts.epoch)
    family, depth = models.split_name(wanted.model)
    if wanted.data_type == 'cifar10' and args.pretrained and not args.pretrained.startswith('cifar_'):
        raise ValueError(f'--pretrained {args.pretrained} is for ImageNet sizes: leave --data-type cifar10 out')
    size = picture_sizes.chosen(args, facts)
    if facts is None or args.model:
        family = picture_sizes.family_of(family, wanted, size, bool(args.model or args.pretrained))
    else:
        family, depth = models.split_name(facts.model)
    model = models.find(family, wanted.depth if depth is None or args.depth is not None else depth)
    if depth not in (None, model.depth):
        raise ValueError(f'--depth {args.depth} contradicts --model {wanted.model}: give one of them')
    if args.pretrained not in (None, model.name):
        raise ValueError(f'--pretrained {args.pretrained} contradicts --model and --depth, which name {model.name}')
    if facts is not None and model.name != facts.model:
        raise ValueError(f'--model {model.name}: the checkpoint holds {facts.model}')
    usual = models.usual_ibn_stages(models.MODELS[model.family][1].get('ibn'), len(model.shape.units))
    stages = None if wanted.ibn_stages == usual else wanted.ibn_stages
    if facts is not None and stages != base.ibn_stages:
        asked, before = (','.join(map(str, each or usual)) for each in (stages, base.ibn_stages))
        raise ValueError(f'--ibn-stages {asked}: the checkpoint has {before}; leave it out')
    model = model if size is None else model._replace(size=size.plain)
    return replace(wanted, depth=model.depth, ibn_stages=stages), model


def check_dtype(args, wanted):
    """Return lines for the log. Raises ValueError if this machine cannot compute in --dtype bfloat16."""
    if wanted.dtype == 'float32':
        return []
    if args.gpus:
        raise ValueError(f'--dtype {wanted.dtype} is for the CPU, mxnet 1.9.1 does not have it on GPUs: leave it out')
    kind = _env.bfloat16()
    if kind == 'no':
        raise ValueError(
            f'--dtype {wanted.dtype}: this processor has no AVX-512, which oneDNN needs for it; leave it out'
        )
    if kind == 'slow':
        return [
            f'--dtype {wanted.dtype}: this processor has neither AMX nor AVX512-BF16, so it will be slower than float32'
        ]
    return []


def rows_at_once(wanted, devices):
    """Return how many pictures of a full batch a device computes at once.

    Raises ValueError if --accumulate cannot cut a device's share evenly.
    """
    share, count = -(-wanted.batch_size // devices), wanted.accumulate
    if count == 1 or wanted.batch_size % (devices * count) == 0:
        return share // count
    fit = [n for n in range(1, share + 1) if wanted.batch_size % (devices * n) == 0]
    near = [n for n in fit if n < count][-1:] + [n for n in fit if n > count][:1]
    ways = [f'use {" or ".join(map(str, near))}'] if near else []
    ways.append(f'--batch-size {-(-wanted.batch_size // (devices * count)) * devices * count}')
    rest = f'the {share} pictures of a device' if wanted.batch_size % devices == 0 else "a device's share of a batch"
    raise ValueError(f'--accumulate {count} must divide {rest}: {", or ".join(ways)}')


def create_network(args, wanted, model, classes, cluster):
    """Return the network of a recipe for a cluster's devices. Raises ValueError for options that do not fit it."""
    norm_args, size = dict(wanted.norm_args), wanted.norm_batch_size
    rows, share = rows_at_once(wanted, cluster.devices), -(-wanted.batch_size // cluster.devices)
    if size and rows % max(size, 1):
        owner = 'a device' if wanted.accumulate == 1 else f'a chunk, with --accumulate {wanted.accumulate}'
        raise ValueError(f'--norm-batch-size {size} must divide the {rows} pictures of {owner}')
    preact = tables.MODELS[model.family][1].get('preact')
    if args.bn_mom is not None and wanted.norm not in ('bn', 'syncbn') and not preact:
        hint = '; use --norm-args momentum=' if 'momentum' in models.NORMS[wanted.norm] else ', leave it out'
        raise ValueError(f'--bn-mom {args.bn_mom}: {model.name} with --norm {wanted.norm} has no BatchNorm{hint}')
    if wanted.norm == 'mabn' and size:
        # The window is a whole batch, as in MABN's ImageNet code, so --accumulate does not change it.
        norm_args.setdefault('real_B', share)
    if wanted.norm == 'syncbn':
        if not args.gpus:
            raise ValueError('--norm syncbn is for several GPUs: add --gpus 0,1; on the CPU mxnet would hang: use bn')
        norm_args.setdefault('devices', len(cluster.contexts))
    options = {key: getattr(wanted, key) for key in NETWORK}
    net = models.create(model.name, classes, workspace=args.workspace, norm_args=norm_args, **options)
    check_memory(net, classes)
    if args.image_size is not None:
        picture_sizes.check_network(net, model)
    return net


def check_memory(net, classes):
    """Raise ValueError if weights, gradients and momentum alone need more than the machine's memory."""
    from ibnnet_mx.models import nets

    needed, memory = COPIES * 4 * nets.count_parameters(net), _limits.memory_limit()
    if needed > memory:
        raise ValueError(
            f'--num-classes {classes}: weights, gradients and momentum of this network take {needed / 1e9:.0f} GB, '
            f'and there are {memory / 1e9:.0f} GB of memory'
        )


def facts_of(wanted, model, classes, names, origin, workers, run):
    """Return the checkpoint.Facts of a run; each save adds its place and metrics.

    origin: of the first weights. run: the id of the run.
    """
    from ibnnet_mx.checkpoint import Facts

    return Facts(
        version=__version__,
        run=run,
        model=model.name,
        depth=model.depth,
        norm=wanted.norm,
        classes=classes,
        class_names=names[:classes],
        size=model.size,
        pixels={'order': 'RGB', 'mean': list(model.pixels.mean), 'std': list(model.pixels.std)},
        recipe=saved.to_dict(wanted),
        init=origin,
        workers=workers,
        files={},
    )
