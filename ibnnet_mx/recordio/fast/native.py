"""The Python side of fast/, the C library that decodes JPEGs and computes views, a slice of a batch at a time.

build.py builds it. Without it, or with IBNNET_MX_NATIVE=0, opencv.py does the same work.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
LIBRARY = HERE / '_fast.so'
WHY = 120  # bytes of an error's text, as in fast.h
JPEG, FOREIGN, BROKEN, UNREAD = range(4)
CHANGED = 'is not what it was when the file was opened'
LEVELS = ('plain C', 'AVX2', 'AVX-512')  # of the kernels
SLACK = 64  # bytes and one row behind decoded planes that C may read

# A JPEG of `length` bytes, or (stride > 0) decoded RGB planes; fast.h says the same in C.
# Without data the JPEG is in a file, `start` bytes behind the beginning of its record at `offset`.
# as_stored: the orientation in its EXIF is ignored.
PAYLOAD = np.dtype(
    [('data', 'u8'), ('length', 'i8'), ('offset', 'i8')]
    + [(name, 'i4') for name in ('fd', 'start', 'width', 'height', 'stride', 'kind', 'as_stored', 'unused')]
)
PIXELS = np.dtype(
    [('shift', 'f8', (3,)), ('factor', 'f8', (3,)), ('floats', 'i8')]
)  # (value - shift) * factor, or bytes
_POINTER, _INT = ctypes.c_void_p, ctypes.c_int


class Task(ctypes.Structure):
    """All views of a slice of a batch, for fast_render(); fast.h says the same in C."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ('payloads', 'rows', 'pixels', 'out', 'why')),
        *((name, ctypes.c_int32) for name in ('count', 'views', 'width', 'height', 'level', 'unused')),
    )


_FUNCTIONS = {
    'fast_new': (_POINTER, []),
    'fast_free': (None, [_POINTER]),
    'fast_level': (_INT, []),
    'fast_interface': (ctypes.c_char_p, []),
    'fast_heads': (None, [_POINTER, _INT, _POINTER]),
    'fast_record_heads': (_INT, [_INT, _POINTER, _INT, _POINTER]),
    'fast_render': (None, [_POINTER, ctypes.POINTER(Task)]),
    'fast_check': (None, [_POINTER, _POINTER, _POINTER]),
    'fast_restart': (_POINTER, [ctypes.c_char_p, ctypes.c_int64, _INT, _POINTER, _POINTER]),
    'fast_release': (None, [_POINTER]),
    'fast_shuffle': (None, [_POINTER, ctypes.c_int32, _POINTER]),
}


def functions() -> Any:
    """Return the C functions, None if they are not built or not wanted."""
    return None if os.environ.get('IBNNET_MX_NATIVE') == '0' else _load(os.fspath(LIBRARY))


@functools.lru_cache(maxsize=None)
def _load(path: str) -> Any:
    if not os.path.isfile(path):
        return None
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        print(
            f'{path} cannot be loaded, build it anew: ibnnet build reader ({error})',
            file=sys.stderr,
        )
        return None
    if not all(hasattr(library, name) for name in _FUNCTIONS):
        return _refuse(path)
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    interface = hashlib.sha256((HERE / 'fast.h').read_bytes()).hexdigest()  # build.py, which runs alone, hashes it too
    return library if interface == library.fast_interface().decode() else _refuse(path)


def _refuse(path: str) -> None:
    """Say that a library is of another version. Its structures may be laid out in another way, so it is not called."""
    print(
        f'{path} was built from other sources, so pictures are decoded by OpenCV; build it anew: ibnnet build reader',
        file=sys.stderr,
    )


def about() -> str:
    """Return a log's line about what decodes pictures. If it is OpenCV: what that costs and how to change it."""
    library = functions()
    if library is not None:
        return f'pictures are decoded in C ({LEVELS[library.fast_level()]})'
    if os.environ.get('IBNNET_MX_NATIVE') == '0':
        return 'pictures are decoded by OpenCV, since IBNNET_MX_NATIVE is 0'
    return (
        'pictures are decoded by OpenCV, which takes three times as long as the C reader: '
        'with a C compiler, ibnnet build reader'
    )


def address(array: np.ndarray) -> int:
    """Return where an array's values begin in memory."""
    return array.ctypes.data


def _texts(why: np.ndarray) -> list[str]:
    return [bytes(row).split(b'\0', 1)[0].decode('utf-8', 'replace') for row in why]


def pick(payloads: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return a copy of payloads[positions]. numpy itself would copy one field at a time, which is slower."""
    words = payloads.view(np.uint64).reshape(len(payloads), -1)
    return words[positions].view(PAYLOAD).reshape(-1)


def read_payload(payload: np.void) -> bytes:
    """Return the bytes of a JPEG in memory."""
    return ctypes.string_at(int(payload['data']), int(payload['length']))


def heads(payloads: np.ndarray, why: np.ndarray) -> None:
    """Set width, height and kind of PAYLOAD (n,), except BROKEN ones. why: uint8 (n, WHY); it tells of broken ones."""
    functions().fast_heads(address(payloads), len(payloads), address(why))


def read_heads(fd: int, offsets: np.ndarray, words: np.ndarray) -> bool:
    """Read the 32 bytes at each of offsets int64 (n,) into words uint32 (n, 8). Return False if a file ends before."""
    return bool(functions().fast_record_heads(fd, address(offsets), len(offsets), address(words)))


def shuffle(positions: np.ndarray, key: np.ndarray) -> bool:
    """Shuffle positions int32 (n,) as Generator(Philox).shuffle() does. key: uint64 (2,), of the Philox.

    Return False if they are of another type or C is not built: then nothing was done.
    """
    library = functions()
    if library is None or positions.dtype != np.int32:
        return False
    library.fast_shuffle(address(positions), len(positions), address(key))
    return True


class Decoder:
    """The state and memory of one thread."""

    def __init__(self, level: int = 2) -> None:
        """level: of the kernels, 0 plain, 1 AVX2, 2 AVX-512, if the processor has them. The pictures are the same."""
        self._at, self._level = functions().fast_new(), level
        if not self._at:
            raise MemoryError('no memory for a JPEG decoder')
        self._free = functions().fast_free

    def __del__(self) -> None:
        if getattr(self, '_at', None):
            self._free(self._at)

    def render(
        self, payloads: np.ndarray, rows: np.ndarray, pixels: np.ndarray, out: np.ndarray | None, why: np.ndarray
    ) -> None:
        """Compute the views rows ROW (n, views) of payloads (n,) into out (n, views, 3, height, width).

        pixels: PIXELS. why: (n, WHY), as heads() left it. It tells of payloads that are damaged, and of those with a
        view of another size than `out`, or outside of the picture. Nothing of these payloads is written. Without `out`
        the part of the pictures that the rows need is decoded, and that is all.
        """
        count, views = rows.shape
        if not rows.size:
            return
        last = rows[0, 0]['last']
        height, width = (int(last['height']), int(last['width'])) if out is None else out.shape[-2:]
        task = Task(address(payloads), address(rows), address(pixels), None, address(why))
        if out is not None:
            task.out = address(out)
        task.count, task.views, task.width, task.height, task.level = count, views, width, height, self._level
        functions().fast_render(self._at, ctypes.byref(task))

    def check(self, payload: np.ndarray) -> str:
        """Decode all of the JPEG of payload PAYLOAD (1,). Return what is wrong with it, '' if nothing is."""
        why = np.zeros((1, WHY), np.uint8)
        functions().fast_check(self._at, address(payload), address(why))
        return _texts(why)[0]


class Look(NamedTuple):
    """A JPEG whose header was read: PAYLOAD (1,), what is wrong with it, and its bytes, to which the payload points."""

    payload: np.ndarray
    why: str
    data: np.ndarray


def look(jpeg: bytes, as_stored: bool = False) -> Look:
    """Read the header of a JPEG. as_stored: its orientation is ignored."""
    data = np.frombuffer(jpeg, np.uint8)
    payload, why = np.zeros(1, PAYLOAD), np.zeros((1, WHY), np.uint8)
    payload['data'], payload['length'], payload['as_stored'] = address(data), len(data), as_stored
    heads(payload, why)
    return Look(payload, failures(why).get(0, ''), data)


def check_jpeg(decoder: Decoder, jpeg: bytes) -> tuple[str, int, int]:
    """Decode all of a JPEG. Return what is wrong with it, '' if nothing is, its width and its height."""
    seen = look(jpeg)
    (width,), (height,) = seen.payload['width'], seen.payload['height']
    return seen.why or decoder.check(seen.payload), int(width), int(height)


def failures(why: np.ndarray) -> dict[int, str]:
    """Return {row: text} of the rows of `why` that have a text."""
    bad = np.flatnonzero(why[:, 0])
    return dict(zip(bad.tolist(), _texts(why[bad])))
