"""Rows of geometry carried out in C (fast/), a slice of a batch at a time, where build.py has built it.

Without it opencv does the same work, and IBNNET_MX_NATIVE=0 makes it do so.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
LIBRARY = HERE / 'fast' / '_fast.so'
WHY = 120  # bytes of an error's text, as in fast.h
JPEG, FOREIGN, BROKEN, UNREAD = range(4)
CHANGED = 'is not what it was when the file was opened'
LEVELS = ('plain C', 'AVX2', 'AVX-512')  # of the kernels
SLACK = 64  # bytes and one row behind decoded planes that C may read

# A JPEG of `length` bytes, or (stride > 0) decoded RGB planes; fast.h says the same in C.
# Without data the JPEG is in a file, `start` bytes behind the beginning of its record at `offset`.
SOURCE = np.dtype(
    [('data', 'u8'), ('length', 'i8'), ('offset', 'i8')]
    + [(name, 'i4') for name in ('fd', 'start', 'width', 'height', 'stride', 'kind')]
)
PIXELS = np.dtype(
    [('shift', 'f8', (3,)), ('factor', 'f8', (3,)), ('floats', 'i8')]
)  # (value - shift) * factor, or bytes
_POINTER, _INT = ctypes.c_void_p, ctypes.c_int


class Task(ctypes.Structure):
    """All views of a slice of a batch, for fast_render(); fast.h says the same in C."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ('sources', 'rows', 'pixels', 'out', 'why')),
        *((name, ctypes.c_int32) for name in ('count', 'views', 'width', 'height', 'level', 'unused')),
    )


_FUNCTIONS = {
    'fast_new': (_POINTER, []),
    'fast_free': (None, [_POINTER]),
    'fast_level': (_INT, []),
    'fast_heads': (None, [_POINTER, _INT, _POINTER]),
    'fast_render': (None, [_POINTER, ctypes.POINTER(Task)]),
    'fast_check': (None, [_POINTER, _POINTER, _POINTER]),
    'fast_restart': (_POINTER, [ctypes.c_char_p, ctypes.c_int64, _INT, _POINTER, _POINTER]),
    'fast_release': (None, [_POINTER]),
}


def functions() -> Any:
    """The C functions, None where they are not built or not wanted."""
    return None if os.environ.get('IBNNET_MX_NATIVE') == '0' else _load(os.fspath(LIBRARY))


@functools.lru_cache(maxsize=None)
def _load(path: str) -> Any:
    if not os.path.isfile(path):
        return None
    try:
        found = ctypes.CDLL(path)
    except OSError as error:
        print(f'{path} cannot be loaded, build it anew: python -m ibnnet_mx.recordio.build ({error})', file=sys.stderr)
        return None
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    return found


def about() -> str:
    """Who makes the pictures, for a log; where it is OpenCV, what that costs and how to change it."""
    found = functions()
    if found is not None:
        return f'pictures are decoded in C ({LEVELS[found.fast_level()]})'
    if os.environ.get('IBNNET_MX_NATIVE') == '0':
        return 'pictures are decoded by OpenCV, since IBNNET_MX_NATIVE is 0'
    return (
        'pictures are decoded by OpenCV, which takes three times as long as the C reader: '
        'with a C compiler, python -m ibnnet_mx.recordio.build'
    )


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def _texts(why: np.ndarray) -> list[str]:
    return [bytes(row).split(b'\0', 1)[0].decode('utf-8', 'replace') for row in why]


def pick(sources: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """A copy of sources[positions]; numpy copies records of fields one field at a time."""
    words = sources.view(np.uint64).reshape(len(sources), -1)
    return words[positions].view(SOURCE).reshape(-1)


def payload(source: np.void) -> bytes:
    return ctypes.string_at(int(source['data']), int(source['length']))


def heads(sources: np.ndarray, why: np.ndarray) -> None:
    """Fills in width, height and kind of SOURCE (n,) that are not BROKEN; why uint8 (n, WHY) says what makes one so."""
    functions().fast_heads(address(sources), len(sources), address(why))


class Decoder:
    """For one thread: libjpeg's state and memory that is used again."""

    def __init__(self, level: int = 2) -> None:
        """level: 0 plain kernels, 1 AVX2, 2 AVX-512, as far as the processor has them; the pictures are the same."""
        self._at, self._level = functions().fast_new(), level
        if not self._at:
            raise MemoryError('no memory for a JPEG decoder')
        self._free = functions().fast_free

    def __del__(self) -> None:
        if getattr(self, '_at', None):
            self._free(self._at)

    def render(
        self, sources: np.ndarray, rows: np.ndarray, pixels: np.ndarray, out: np.ndarray | None, why: np.ndarray
    ) -> None:
        """Compute the views rows ROW (n, views) of sources (n,) into out (n, views, 3, height, width).

        pixels: PIXELS. why: (n, WHY), as heads() left it; it tells of sources that are damaged, and of those with a view
        of another size than `out` has or outside of the picture: of these nothing is written. Without `out` the part of
        the pictures that the rows need is decoded, and that is all.
        """
        count, views = rows.shape
        if not rows.size:
            return
        last = rows[0, 0]['last']
        height, width = (int(last['height']), int(last['width'])) if out is None else out.shape[-2:]
        task = Task(address(sources), address(rows), address(pixels), None, address(why))
        if out is not None:
            task.out = address(out)
        task.count, task.views, task.width, task.height, task.level = count, views, width, height, self._level
        functions().fast_render(self._at, ctypes.byref(task))

    def check(self, source: np.ndarray) -> str:
        """What is wrong with the JPEG of source SOURCE (1,), all of it decoded; empty where nothing is."""
        why = np.zeros((1, WHY), np.uint8)
        functions().fast_check(self._at, address(source), address(why))
        return _texts(why)[0]


class Look(NamedTuple):
    """A JPEG whose header was read: SOURCE (1,), and what is wrong with it; held: its bytes, which it points to."""

    source: np.ndarray
    why: str
    held: np.ndarray


def look(jpeg: bytes) -> Look:
    held = np.frombuffer(jpeg, np.uint8)
    source, why = np.zeros(1, SOURCE), np.zeros((1, WHY), np.uint8)
    source['data'], source['length'] = address(held), len(held)
    heads(source, why)
    return Look(source, failures(why).get(0, ''), held)


def check(decoder: Decoder, jpeg: bytes) -> tuple[str, int, int]:
    """What is wrong with a JPEG, all of it decoded, '' where nothing is; its width and height."""
    seen = look(jpeg)
    (width,), (height,) = seen.source['width'], seen.source['height']
    return seen.why or decoder.check(seen.source), int(width), int(height)


def failures(why: np.ndarray) -> dict[int, str]:
    """The rows of `why` that say something."""
    bad = np.flatnonzero(why[:, 0])
    return dict(zip(bad.tolist(), _texts(why[bad])))
