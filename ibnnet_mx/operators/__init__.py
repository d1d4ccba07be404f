"""The operators of cpp/, where build.py has built them.

Without them the same steps run as graphs of mxnet's own operators. IBNNET_MX_NATIVE=0 leaves them out.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

from ibnnet_mx import _env

with _env.terse():
    import mxnet as mx

from mxnet import library
from mxnet.base import MXNetError

HERE = Path(__file__).resolve().parent
LIBRARY = HERE / '_ops.so'


@functools.lru_cache(maxsize=None)
def loaded():
    """Whether mxnet has the operators; the first call loads them."""
    if os.environ.get('IBNNET_MX_NATIVE') == '0' or not LIBRARY.is_file():
        return False
    try:
        library.load(str(LIBRARY), False)
    except (MXNetError, OSError) as error:
        hint = 'build it anew: python -m ibnnet_mx.operators.build'
        print(f'{LIBRARY} cannot be loaded, {hint} ({error})', file=sys.stderr)
        return False
    return True


def fused():
    """Whether ibnnet_norm is among them, which one build of mxnet allows and another may not."""
    return loaded() and hasattr(mx.sym, 'ibnnet_norm')


def winograd():
    """Whether ibnnet_winograd is, which it is where it is fast. IBNNET_MX_WINOGRAD=0 leaves it out."""
    return fused() and hasattr(mx.sym, 'ibnnet_winograd') and os.environ.get('IBNNET_MX_WINOGRAD') != '0'
