"""RecordIO files of pictures: format, packing, reading. The room knows numpy and OpenCV, neither mxnet nor recipes.

The names below are imported on their first use, so that a command's --help needs neither numpy nor OpenCV.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibnnet_mx.recordio.format import RecordError, RecordFile
    from ibnnet_mx.recordio.pixels.augment import Augment
    from ibnnet_mx.recordio.reading.loader import Loader
    from ibnnet_mx.recordio.reading.options import Options

HOMES = {
    'Augment': 'pixels.augment',
    'Loader': 'reading.loader',
    'Options': 'reading.options',
    'RecordError': 'format',
    'RecordFile': 'format',
}
__all__ = ['Augment', 'Loader', 'Options', 'RecordError', 'RecordFile']


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f'module {__name__} has no attribute {name}')
    return getattr(import_module(f'{__name__}.{HOMES[name]}'), name)
