"""ResNet and IBN-Net in MXNet Gluon, trained from RecordIO.

The public names are resolved when they are first asked for, so that `from ibnnet_mx.recordio import Loader` works
without mxnet.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = '0.2.0.dev0'

from ibnnet_mx import _env

with _env.terse():
    _env.prepare()

HOMES = {'Predictor': 'inference.predictor', 'get_model': 'hub', 'list_models': 'models'}
__all__ = ['__version__', *HOMES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f'module {__name__} has no attribute {name}')
    return getattr(import_module(f'{__name__}.{HOMES[name]}'), name)
