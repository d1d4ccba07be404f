"""Who trains against whom, and which ratios are wanted."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.steps.turns import Plan, Way

TORCH, GLUON = 'torch', 'gluoncv'  # environments
BATCHES = {
    'resnet50_ibn_a': 32,
    'densenet121_ibn_a': 32,
    'resnext50_ibn_a': 32,
    'se_resnet50_ibn_a': 32,
    'cifar_resnet20_ibn_a': 128,
    'cifar_resnet20': 128,
}
QUICK = ('resnet50_ibn_a', 'cifar_resnet20_ibn_a')
GLUONCV = {'resnet50_ibn_a': 'resnet50_v1b', 'cifar_resnet20': 'cifar_resnet20_v1'}
GLUONCV2 = {
    'resnet50_ibn_a': 'ibn_resnet50',
    'densenet121_ibn_a': 'ibn_densenet121',
    'resnext50_ibn_a': 'ibn_resnext50_32x4d',
}
NOTES = {'resnet50_v1b': ', which has no IBN'}  # of their networks


def torch_way(label, *options):
    return Way(f'torch, {label}', 'torch_step.py', dict.fromkeys(options, True), TORCH)


WAYS = {
    'ours_float32': Way('ours, float32', 'ours.py', {}),
    'ours_bfloat16': Way('ours, bfloat16', 'ours.py', dict(network=dict(dtype='bfloat16'))),
    'torch': torch_way('as it comes'),
    'torch_channels_last': torch_way('channels_last', 'channels_last'),
    'torch_bfloat16': torch_way('bfloat16 by autocast', 'bfloat16'),
    'torch_channels_last_bfloat16': torch_way('channels_last, bfloat16', 'channels_last', 'bfloat16'),
    'torch_compile_channels_last': torch_way('torch.compile, channels_last', 'channels_last', 'compile'),
    'torch_compile_channels_last_bfloat16': torch_way(
        'torch.compile, channels_last, bfloat16', 'channels_last', 'bfloat16', 'compile'
    ),
    'gluoncv': Way('GluonCV', 'gluon_peers.py', dict(library='gluoncv'), GLUON, GLUONCV),
    'gluoncv2': Way('gluoncv2', 'gluon_peers.py', dict(library='gluoncv2'), GLUON, GLUONCV2),
}


class Target(NamedTuple):
    """Pictures a second of ours over theirs must be at least that; None: it is told only."""

    model: str
    ours: str
    theirs: str
    least: float | None


TARGETS = (
    Target('resnet50_ibn_a', 'ours_float32', 'torch_channels_last', 1.3),
    Target('resnet50_ibn_a', 'ours_float32', 'torch', 1.9),
    Target('resnet50_ibn_a', 'ours_bfloat16', 'torch_channels_last_bfloat16', 1.0),
    Target('resnet50_ibn_a', 'ours_bfloat16', 'torch_compile_channels_last_bfloat16', None),
    Target('densenet121_ibn_a', 'ours_float32', 'torch_channels_last', 1.2),
    Target('resnext50_ibn_a', 'ours_float32', 'torch_channels_last', 1.2),
    Target('se_resnet50_ibn_a', 'ours_float32', 'torch_channels_last', 1.2),
    Target('cifar_resnet20_ibn_a', 'ours_float32', 'torch_channels_last', 1.1),
    Target('cifar_resnet20', 'ours_float32', 'torch_channels_last', 1.0),
)


def plan(model, quick, rounds=None):
    """How much of a model is measured."""
    small = model.startswith('cifar')
    if quick:
        return Plan(rounds or 2, 3 if small else 1, 10 if small else 2, BATCHES[model])
    return Plan(rounds or 3, 5 if small else 2, 30 if small else 4, BATCHES[model])


def quick_ways():
    """Without torch.compile, which compiles for minutes."""
    return [name for name, way in WAYS.items() if not way.options.get('compile')]
