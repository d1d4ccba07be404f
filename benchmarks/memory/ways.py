"""Whose memory is compared, and what is wanted."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.steps.turns import Plan, Way

BATCH = 16
DEPTHS = {50: 'resnet50', 101: 'resnet101', 152: 'resnet152', 200: 'resnet200'}  # of the plot
MODELS = ('resnet50_ibn_a', 'densenet121_ibn_a', *DEPTHS.values())
QUICK = ('resnet50_ibn_a',)
WAYS = {
    'plain': Way('ours', 'ours.py', {}),
    'memonger': Way('ours, memonger', 'ours.py', dict(recompute='least')),
    'torch': Way('torch, channels_last', 'torch_step.py', dict(channels_last=True), 'torch'),
    'torch_checkpoint': Way(
        'torch, channels_last, torch.utils.checkpoint',
        'torch_step.py',
        dict(channels_last=True, checkpoint=True),
        'torch',
    ),
}


class Target(NamedTuple):
    """what ('mb' or 's') of one way over that of another must be at most this; below: it must be less than this."""

    model: str
    what: str
    way: str
    other: str
    most: float
    below: bool = False


TARGETS = (
    Target('resnet50_ibn_a', 'mb', 'memonger', 'plain', 0.55),
    Target('resnet50_ibn_a', 's', 'memonger', 'plain', 1.27),
    Target('densenet121_ibn_a', 'mb', 'memonger', 'plain', 0.45),
    Target('resnet152', 'mb', 'memonger', 'plain', 0.40),
    Target('resnet200', 'mb', 'memonger', 'plain', 0.40),
    *(Target(model, 'mb', 'memonger', 'torch_checkpoint', 1.0, below=True) for model in MODELS),
)


def plan(quick, rounds=None):
    """How much of a model is measured; memory is at its most after the second step."""
    return Plan(rounds or 1, 1, 2, BATCH) if quick else Plan(rounds or 3, 2, 3, BATCH)
