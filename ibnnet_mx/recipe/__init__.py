"""Every hyper-parameter of the project: the settings of a run besides its network and data. Pure Python."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import cos, pi
from typing import Any, Mapping, Union

from ibnnet_mx.errors import OptionError

Level = Union[int, str]

# The arguments of recordio's Augment. Levels 1 to 3 are tornadomeet/ResNet's levels, with a scale of
# 256/480 to 1; 'rrc' is the RandomResizedCrop of XingangPan/IBN-Net (torchvision's defaults).
AUGMENT: dict[Level, dict[str, Any]] = {
    1: {},
    2: dict(scale=(0.533, 1.0), aspect=0.25, hls=(36, 50, 50)),
    3: dict(scale=(0.533, 1.0), aspect=0.25, hls=(36, 50, 50), rotate=10, shear=0.1),
    'rrc': dict(area=(0.08, 1.0), ratio=(3 / 4, 4 / 3)),
    'cifar': dict(pad=4),
    'digits': dict(pad=2, mirror=False),
}
PLAIN = (1, 'cifar', 'digits')  # levels that at most crop and mirror: no_aug_epochs would change nothing


@dataclass(frozen=True)
class Recipe:
    """The hyper-parameters of a run. batch_size counts the rows of all devices together; epochs count from 0.

    no_decay: parameters whose names end so get no weight decay. MXNet's optimizer of 2016 left out betas and biases;
    XingangPan/IBN-Net decays everything; today ('gamma', 'beta', 'bias') are usually left out. lr_from: (epoch, rate)
    sets the rate from that epoch on, and the schedule goes on from there; a resumed run with a new lr has it.
    """

    name: str
    data_type: str = 'imagenet'
    model: str = 'resnet_v2'
    depth: int = 50
    norm: str = 'bn'
    norm_args: tuple[tuple[str, Any], ...] = ()  # (argument of the norm, value); norm/table.py
    norm_batch_size: int | None = None  # pictures that are normalised together; None: the whole batch
    optimizer: str = 'nag'
    lr: float = 0.1
    mom: float = 0.9
    wd: float = 1e-4
    bn_mom: float = 0.9
    dtype: str = 'float32'  # 'bfloat16': convolutions and dense layers of the training step; weights stay float32
    batch_size: int = 256
    accumulate: int = 1  # chunks of a device's share, computed one after another for less memory
    memonger: int | str | None = None  # what a step recomputes: nothing, 'auto', 'least', or megabytes
    lr_batch: int | None = None  # batch size that lr is meant for, arXiv:1706.02677; None: lr is not scaled
    epochs: int = 120
    schedule: str = 'step'  # 'step': a tenth at each milestone; 'cosine' and 'linear': down to 0 at the end
    lr_steps: tuple[float, ...] = (30, 60, 90)
    warmup_epochs: float = 0  # a linear rise from 0
    lr_from: tuple[float, float] | None = None
    early_stop: int = 0  # epochs without a better validation after which the run ends; 0: never
    aug_level: Level = 2
    no_aug_epochs: int = 0
    exif: str = 'apply'  # 'ignore': pictures stay as stored, whatever orientation their EXIF tells
    label_column: int | None = None  # the one of several labels of a record that is its class; None: it has one
    label_smoothing: float = 0.0  # arXiv:1512.00567
    mixup: float = 0.0  # alpha of arXiv:1710.09412
    clip_gradient: float = 0.0  # largest L2 norm of all gradients together; 0 = unclipped
    zero_gamma: bool = False  # arXiv:1706.02677
    w_d: bool = False  # three 3x3 in the stem, 3x3 strided shortcuts, dropout of 0.2
    ibn_ratio: float | None = None  # InstanceNorm's share in IBN-a; None: the original's
    ibn_stages: tuple[int, ...] | None = None  # stages that have IBN, from 1; None: the original's
    no_decay: tuple[str, ...] = ('beta', 'bias')
    freeze: tuple[str, ...] = ()  # parts of the network that do not change, their running statistics included
    lr_mult: tuple[tuple[str, float], ...] = ()  # (part, factor of the rate); for one part, the last pair counts
    seed: int = 0


RECIPES: dict[str, Recipe] = {
    # tornadomeet/ResNet, train_resnet.py and its README
    'imagenet': Recipe('imagenet'),
    # XingangPan/IBN-Net, imagenet.py
    'ibn': Recipe('ibn', model='resnet_ibn_a', optimizer='sgd', epochs=100, aug_level='rrc', no_decay=()),
    # tornadomeet/ResNet for cifar10
    'cifar10': Recipe(
        'cifar10', 'cifar10', depth=164, batch_size=128, epochs=200, lr_steps=(120, 160), aug_level='cifar'
    ),
    # CIFAR-10 in a quarter of an hour: the rate rises linearly to 0.2 and falls to 0
    'cifar10_fast': Recipe(
        'cifar10_fast',
        'cifar10',
        depth=20,
        lr=0.2,
        wd=5e-4,
        batch_size=128,
        epochs=10,
        schedule='linear',
        lr_steps=(),
        warmup_epochs=2,
        aug_level='cifar',
    ),
    # the demo: 1,437 handwritten digits
    'digits': Recipe(
        'digits',
        'cifar10',
        model='resnet_ibn_a',
        depth=20,
        lr=0.1,
        wd=5e-4,
        batch_size=64,
        epochs=5,
        schedule='linear',
        lr_steps=(),
        warmup_epochs=1,
        aug_level='digits',
    ),
}
SCHEDULES = ('step', 'cosine', 'linear')
EXIF = ('apply', 'ignore')


def _fall(recipe: Recipe, epoch: float) -> float:
    """Return the schedule's factor, without warm-up: 1 at first, then falling."""
    if recipe.schedule == 'step':
        return 0.1 ** sum(epoch >= milestone for milestone in recipe.lr_steps)
    begin = recipe.warmup_epochs
    done = min(max((epoch - begin) / max(recipe.epochs - begin, 1e-9), 0.0), 1.0)
    return 1.0 - done if recipe.schedule == 'linear' else 0.5 * (1.0 + cos(pi * done))


def _scaled(recipe: Recipe, rate: float) -> float:
    """Return a rate scaled to batches of batch_size."""
    return rate * recipe.batch_size / recipe.lr_batch if recipe.lr_batch else rate


def lr_at(recipe: Recipe, epoch: float) -> float:
    """Return the learning rate at an epoch, which may be a fraction, so that the rate can change at each step."""
    return _scaled(recipe, _planned(recipe, epoch))


def _planned(recipe: Recipe, epoch: float) -> float:
    """Return the rate at an epoch for batches of lr_batch."""
    if recipe.lr_from is not None and epoch >= recipe.lr_from[0]:
        start, rate = recipe.lr_from
        return rate * _fall(recipe, epoch) / max(_fall(recipe, start), 1e-12)
    if epoch < recipe.warmup_epochs:
        return recipe.lr * epoch / recipe.warmup_epochs
    return recipe.lr * _fall(recipe, epoch)


def aug_at(recipe: Recipe, epoch: int) -> Level:
    """Return the augmentation level of an epoch. The last no_aug_epochs only crop and mirror."""
    return 1 if epoch >= recipe.epochs - recipe.no_aug_epochs else recipe.aug_level


def resolve(base: Recipe, given: Mapping[str, Any], resumed_at: int | None = None) -> Recipe:
    """Return base changed by the given options (None: not given). Raises OptionError for a wrong value.

    resumed_at: the epoch that a resumed run goes on from; a new lr holds from there on. The lr of base does not count
    as new, so that a killed run can be started again by the same command.
    """
    changes = {k: v for k, v in given.items() if v is not None and k in {f.name for f in fields(Recipe)}}
    if resumed_at is not None and 'lr' in changes:
        rate = changes.pop('lr')
        _check_positive('lr', rate)
        if rate != (base.lr_from[1] if base.lr_from else base.lr):
            changes['lr_from'] = (resumed_at, rate)
    recipe = replace(base, **changes)
    if recipe.data_type == 'cifar10' and recipe.aug_level in (1, 2):
        recipe = replace(recipe, aug_level='cifar')  # in tornadomeet/ResNet levels 1 and 2 are the same at 32 pixels
    check_values(recipe)
    if changes.get('lr_steps') and recipe.schedule != 'step':
        raise OptionError('lr_steps', recipe.lr_steps, f': the schedule is {recipe.schedule}; add `schedule` step')
    if resumed_at is not None and recipe.epochs < resumed_at:
        raise OptionError('epochs', recipe.epochs, f': the checkpoint has finished {resumed_at} epochs already')
    return recipe


def _listed(steps: tuple[float, ...]) -> str:
    return ','.join(f'{step:g}' for step in steps)


def _check_positive(option: str, value: float) -> None:
    if not 0 < value < float('inf'):
        raise OptionError(option, value, 'must be above 0')


def check_values(recipe: Recipe) -> None:
    """Raise OptionError for a value that no run can have."""
    for option in ('lr', 'batch_size', 'epochs'):
        _check_positive(option, getattr(recipe, option))
    if recipe.lr_batch is not None:
        _check_positive('lr_batch', recipe.lr_batch)
    if recipe.accumulate < 1:
        raise OptionError('accumulate', recipe.accumulate, 'must be at least 1')
    budget = recipe.memonger
    if budget not in (None, 'auto', 'least') and not (type(budget) is int and budget > 0):
        raise OptionError('memonger', budget, 'is not an amount of memory: use auto, least, or megabytes such as 1500')
    for option in ('mom', 'bn_mom', 'label_smoothing'):
        value = getattr(recipe, option)
        if not 0 <= value < 1:
            raise OptionError(option, value, 'must be at least 0 and below 1')
    for option in ('wd', 'mixup', 'clip_gradient', 'warmup_epochs', 'no_aug_epochs', 'early_stop', 'seed'):
        value = getattr(recipe, option)
        if not 0 <= value < float('inf'):
            raise OptionError(option, value, 'must not be below 0')
    if recipe.data_type == 'cifar10' and recipe.aug_level == 3:
        raise OptionError(
            'aug_level', 3, ': rotation and shear are for ImageNet pictures; with cifar10 use 1, 2 or rrc'
        )
    if recipe.no_aug_epochs and recipe.aug_level in PLAIN:
        raise OptionError(
            'no_aug_epochs',
            recipe.no_aug_epochs,
            f': augmentation {recipe.aug_level} only crops and mirrors, so there is nothing to turn off; use it with '
            '`aug_level` 2 or 3',
        )
    if recipe.no_aug_epochs > recipe.epochs:
        raise OptionError('no_aug_epochs', recipe.no_aug_epochs, f'is more than `epochs` {recipe.epochs}')
    for part, factor in recipe.lr_mult:
        if not 0 <= factor < float('inf'):
            raise OptionError('lr_mult', {part: factor}, 'must not be below 0')
    if recipe.seed >= 2**32:
        raise OptionError('seed', recipe.seed, f'must be below {2**32}')
    for ending in recipe.no_decay:
        if not ending.endswith(('weight', 'gamma', 'beta', 'bias')):
            raise OptionError('no_decay', ending, ': names of parameters end in weight, gamma, beta or bias')
    steps = recipe.lr_steps
    if not all(step >= 0 for step in steps) or list(steps) != sorted(set(steps)):
        raise OptionError('lr_steps', steps, 'must rise and must not be below 0')


def unreached(recipe: Recipe) -> tuple[float, ...]:
    """Return the milestones after the last epoch. They are allowed, but have no effect."""
    if recipe.schedule != 'step':
        return ()
    return tuple(step for step in recipe.lr_steps if step >= recipe.epochs)


def remarks(recipe: Recipe, begin: int = 0) -> list[str]:
    """Return a line about each setting that is allowed but may surprise, in a run from epoch `begin` on.

    The lines have options in backticks, for errors.dashed().
    """
    lines, late = [], unreached(recipe)
    if begin >= recipe.epochs:
        lines.append(f'`epochs` {recipe.epochs} are finished already: there is nothing to train')
    if late:
        lines.append(f'`lr_steps` {_listed(late)} come after the last epoch ({recipe.epochs}) and change nothing')
    if 0 < recipe.epochs <= recipe.warmup_epochs:
        lines.append(
            f'`epochs` {recipe.epochs}: the rate only rises, because `warmup_epochs` is {recipe.warmup_epochs:g}'
        )
    if recipe.lr_from is not None:
        start, rate = recipe.lr_from
        scheduled = _planned(replace(recipe, lr_from=None), start)
        lines.append(f'`lr` {rate:g} holds from epoch {start} on, instead of {scheduled:g}; later steps still apply')
    rate = recipe.lr_from[1] if recipe.lr_from else recipe.lr
    if recipe.lr_batch not in (None, recipe.batch_size):
        becomes = f'with {recipe.batch_size} it becomes {_scaled(recipe, rate):g}'
        lines.append(f'`lr` {rate:g} is for batches of {recipe.lr_batch}: {becomes}')
    return lines
