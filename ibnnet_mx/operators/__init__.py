"""Load the C++ operators of cpp/, if build.py has built them for this mxnet.

Without them the same steps run as graphs of mxnet's own operators. IBNNET_MX_NATIVE=0 turns them off.
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

from ibnnet_mx.errors import no_memory
from ibnnet_mx.operators import libmxnet

HERE = Path(__file__).resolve().parent
LIBRARY = HERE / '_ops.so'
HINT = 'build it anew: ibnnet build operators'


@functools.lru_cache(maxsize=None)
def loaded():
    """Return True if mxnet has the operators. The first call loads them, unless they were built for another mxnet."""
    if os.environ.get('IBNNET_MX_NATIVE') == '0' or not LIBRARY.is_file():
        return False
    try:
        refusal = libmxnet.refusal(LIBRARY)
        if refusal is not None:
            print(f'{LIBRARY} is not loaded, {HINT} ({refusal})', file=sys.stderr)
            return False
        library.load(str(LIBRARY), False)
    except (MXNetError, OSError) as error:
        if no_memory(error):
            raise
        print(f'{LIBRARY} cannot be loaded, {HINT} ({error})', file=sys.stderr)
        return False
    return True


def fused():
    """Return True if ibnnet_norm is loaded. It is left out of the library if this build of mxnet cannot run it."""
    return loaded() and hasattr(mx.sym, 'ibnnet_norm')


def winograd():
    """Return True if ibnnet_winograd is loaded and IBNNET_MX_WINOGRAD is not 0. It is there only if it is fast."""
    return fused() and hasattr(mx.sym, 'ibnnet_winograd') and os.environ.get('IBNNET_MX_WINOGRAD') != '0'
