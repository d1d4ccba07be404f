"""Install the last words of a process that C++ ends for lack of memory. Without the C library it has none."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

LIBRARY = Path(__file__).resolve().with_name('_fast.so')
MOST = 255  # bytes


def install(text: str) -> None:
    """Have abort() and segmentation faults write a line and end with code 2, if there is no more memory then."""
    if os.environ.get('IBNNET_MX_NATIVE') == '0' or not LIBRARY.is_file():
        return
    with contextlib.suppress(OSError, AttributeError):  # of another machine, or of an older version
        function = ctypes.CDLL(os.fspath(LIBRARY)).fast_last_words
        function.restype, function.argtypes = None, [ctypes.c_char_p]
        function(f'{text}\n'.encode()[-MOST:])
