"""The parts of the help of ibnnet train beside its options: the recipes, a line each, and examples."""

from __future__ import annotations

from ibnnet_mx import models
from ibnnet_mx.recipe import RECIPES

ABOUT = 'Train ResNet and IBN-Net from the record files of `ibnnet pack`, or go on with a run.'
FOR = {
    'imagenet': 'photographs',
    'ibn': 'photographs, as in IBN-Net',
    'cifar10': 'CIFAR-10',
    'cifar10_fast': 'CIFAR-10 in minutes',
    'digits': 'handwritten digits',
}
EXAMPLES = (
    'ibnnet train --depth 50 --data-dir DATA',
    'ibnnet train --depth 50 --data-dir DATA --retrain',
    'ibnnet train --recipe cifar10_fast --data-dir CIFAR',
    'ibnnet train --pretrained resnet50_ibn_a --lr 0.01 --epochs 30 --data-dir DATA',
)


def listed() -> str:
    """Return the recipes, each with a line: what for, network, side of its pictures, epochs."""
    rows = []
    for name, recipe in RECIPES.items():
        prefix = 'cifar_' if recipe.data_type == 'cifar10' else ''
        model = models.find(f'{prefix}{recipe.model}', recipe.depth)
        rows.append(f'  {name:<13} {FOR[name]}: {model.name}, {model.size} px, {recipe.epochs} epochs')
    unset = 'An option that is not given has the value of the recipe, or with --retrain of the checkpoint.'
    return '\n'.join([unset, '', 'recipes:', *rows])
