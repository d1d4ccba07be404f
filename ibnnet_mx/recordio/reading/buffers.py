"""Memory for batches, which is used again once nobody reads it any more."""

from __future__ import annotations

import threading
import weakref

import numpy as np

ALIGNED = 64  # bytes; a sum's last bits depend on the place of an array in memory unless it begins at such a border


KEPT = 6  # pieces that wait to be used again; more of them go back to the system


class _Owner:
    """The base of all arrays of one piece of memory. It dies with the last of them."""

    def __init__(self, memory: np.ndarray, size: int) -> None:
        start = memory.__array_interface__['data'][0]
        at = start + -start % ALIGNED
        self.__array_interface__ = {'data': (at, False), 'shape': (size,), 'typestr': '|u1', 'version': 3}


class Buffers:
    """A ring of arrays at multiples of 64 bytes, none of which is written to while any view of it lives.

    That holds for views anywhere, such as an NDArray that aliases one, or a batch that a user keeps for ever: the ring
    then grows by a piece.
    """

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []
        self._lock = threading.RLock()  # a piece may come back while take() holds it, if memory is collected there

    def take(self, shape: tuple[int, ...], dtype: type, room: int = 0) -> np.ndarray:
        """Return an uninitialised array. room: bytes to ask for if there is no piece yet, because larger arrays will
        come.
        """
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        with self._lock:
            fitting = [k for k, memory in enumerate(self._free) if memory.size >= size + ALIGNED]
            memory = self._free.pop(fitting[-1]) if fitting else None
        if memory is None:
            memory = np.empty(max(size, room) + ALIGNED, np.uint8)
        owner = _Owner(memory, size)
        weakref.finalize(owner, self._back, memory).atexit = False
        return np.asarray(owner).view(dtype).reshape(shape)

    def _back(self, memory: np.ndarray) -> None:
        with self._lock:
            if len(self._free) < KEPT:
                self._free.append(memory)
