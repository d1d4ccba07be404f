"""Norms and convolutions. Blocks are given a kit, and name no concrete norm.

The names below are imported on their first use, so that table.py can be read without mxnet.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

HOMES = {  # module: its public names
    'batch': ('BatchNorm2d', 'Ramp'),
    'instance': ('IBN', 'GroupNorm', 'InstanceNorm', 'usual_groups'),
    'kits': ('FOLDED', 'KITS', 'Layers', 'folded', 'freeze_statistics', 'kit'),
    'mabn': ('CenConv2d', 'MABN2d'),
    'state': ('PROGRESS', 'STATISTICS', 'State', 'is_state'),
    'tracing': ('forms', 'standard', 'use_of'),
}
__all__ = [name for names in HOMES.values() for name in names]  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    for home, names in HOMES.items():
        if name in names:
            return getattr(import_module(f'{__name__}.{home}'), name)
    raise AttributeError(f'module {__name__} has no attribute {name}')
