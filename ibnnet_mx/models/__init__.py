"""The tables of networks, and models.create(), which builds one. No weights, no recipe, no data.

The tables need no mxnet, so that the commands answer --help at once. mxnet is imported with create() and the blocks.
"""

from __future__ import annotations

from typing import Any

from ibnnet_mx.models.tables import (
    IMAGENET,
    MODELS,
    RAW,
    Model,
    Pixels,
    find,
    full_name,
    has_original,
    list_models,
    split_name,
    usual_ibn_stages,
)
from ibnnet_mx.norm.table import NORMS, SMALL, norm_args

__all__ = [
    'IMAGENET',
    'MODELS',
    'NORMS',
    'RAW',
    'SMALL',
    'Model',
    'Pixels',
    'create',
    'find',
    'full_name',
    'has_original',
    'list_models',
    'norm_args',
    'split_name',
    'usual_ibn_stages',
]


def __getattr__(name: str) -> Any:
    if name == 'create':
        from ibnnet_mx.models.build import create

        return create
    raise AttributeError(f'module {__name__} has no attribute {name}')
