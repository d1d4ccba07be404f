"""Changes that pictures from elsewhere have: corruptions of arXiv:1903.12261 and changes of appearance. numpy and
OpenCV.

shift.apply(pictures, positions, 'fog', 3) changes uint8 (n, S, S, 3); shift.chosen('noise,fog:3') reads an option.
The names of run.py are imported on their first use, so that a command's --help needs neither numpy nor OpenCV.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ibnnet_mx.shift.table import CORRUPTIONS, GROUPS, NAMES, SEVERITIES, chosen, group_of

if TYPE_CHECKING:
    from ibnnet_mx.shift.run import LEAST, Workers, apply

__all__ = ['CORRUPTIONS', 'GROUPS', 'LEAST', 'NAMES', 'SEVERITIES', 'Workers', 'apply', 'chosen', 'group_of']


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f'module {__name__} has no attribute {name}')
    return getattr(import_module(f'{__name__}.run'), name)
