"""Shifted pictures, computed in this process or ahead of their user in several processes."""

from __future__ import annotations

import multiprocessing
import signal
import zlib
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from numbers import Integral
from typing import Any, Callable, Iterable, Iterator

import cv2
import numpy as np

from ibnnet_mx.errors import OptionError
from ibnnet_mx.files import ahead
from ibnnet_mx.files.parent import end_with_parent
from ibnnet_mx.shift import appearance, blur, digital, noise, table, weather

FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    name: getattr(room, name)
    for room, group in (
        (noise, 'noise'),
        (blur, 'blur'),
        (weather, 'weather'),
        (digital, 'digital'),
        (appearance, 'appearance'),
    )
    for name in table.GROUPS[group]
}
LEAST = 8  # pixels of a side
CHUNK = 1 << 20  # values that are worked on at a time, so that they stay in the caches
KILLED = (
    'a process that shifts pictures was killed, perhaps for want of memory: use `threads` 1 or a smaller `batch_size`'
)
AHEAD = 2  # batches in work for each process


def _draw(position: int, name: str, severity: int, seed: int) -> np.random.Generator:
    """Return the random numbers of a picture: each shift, severity, position and seed has its own."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), severity, position])


def apply(pictures: np.ndarray, positions: Any, name: str, severity: int, seed: int = 0) -> np.ndarray:
    """Return uint8 (n, H, W, 3): RGB pictures of that shape after one shift, arXiv:1903.12261 (15 of table.NAMES).

    positions: (n,), whole numbers. A picture's change depends on its position, name, severity (1 to 5) and seed alone,
    not on the others. Values are cut to 0..255 and, as in the published sets, cut to whole numbers instead of rounded.
    Raises ValueError, which names the argument.
    """
    if name not in FUNCTIONS:
        raise ValueError(f'name {name!r} is no shift: there are {", ".join(table.NAMES)}')
    if severity not in table.SEVERITIES or not isinstance(severity, Integral):
        raise ValueError(f'severity {severity!r} must be 1, 2, 3, 4 or 5')
    fit = pictures.ndim == 4 and min(pictures.shape[1:3]) >= LEAST and pictures.shape[3] == 3
    if pictures.dtype != np.uint8 or not fit:
        came = f'{pictures.dtype} {pictures.shape}'
        raise ValueError(f'pictures must be uint8 (n, H, W, 3) with sides of at least {LEAST}, {came} came')
    if len(positions) != len(pictures):
        raise ValueError(f'positions: {len(positions)} of them came for {len(pictures)} pictures')
    for argument, value in (('seed', seed), *(('positions', position) for position in positions)):
        if not isinstance(value, Integral) or value < 0:
            raise ValueError(f'{argument} {value!r}: whole numbers that are not below 0 are needed')
    values, function = table.constants(name, severity, min(pictures.shape[1:3])), FUNCTIONS[name]
    rows, shifted = max(CHUNK // pictures[0].size, 1) if len(pictures) else 1, np.empty_like(pictures)
    for first in range(0, len(pictures), rows):
        chunk = pictures[first : first + rows].astype(np.float32) / 255
        draws = [_draw(int(position), name, severity, seed) for position in positions[first : first + rows]]
        changed = np.clip(function(chunk, draws, *values) * 255, 0, 255)
        shifted[first : first + rows] = changed + 2**-8  # whole numbers may have lost a little by rounding
    return shifted


def _prepare() -> None:
    cv2.setNumThreads(1)  # there is a process for each core
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to all processes, the parent tells of them
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()


class Workers:
    """Processes that shift batches ahead of their user; with 1 this process does it. Use it in a `with`.

    They import the main module, so a script of its own needs the usual if __name__ == '__main__'. They end with this
    process, even if it is killed. Raises OptionError if one of them was killed.
    """

    def __init__(self, processes: int) -> None:
        self._count = processes
        self._pool: ProcessPoolExecutor | None = None
        if processes > 1:  # spawned: a fork of a process with mxnet's threads would hang
            spawn = multiprocessing.get_context('spawn')
            self._pool = ProcessPoolExecutor(processes, spawn, initializer=_prepare)

    def over(self, batches: Iterable[tuple], name: str, severity: int, seed: int = 0) -> Iterator[tuple]:
        """Yield the batches, (pictures, positions, ...), in their order, with their pictures shifted."""
        if self._pool is None:
            for pictures, positions, *rest in batches:
                yield (apply(pictures, positions, name, severity, seed), positions, *rest)
            return
        pool, killed = self._pool, OptionError(None, None, KILLED)

        def begin(batch: tuple) -> ahead.Begun[list]:
            pictures, positions, *rest = batch
            return [positions, *rest], [pool.submit(apply, pictures, positions, name, severity, seed)]

        with closing(ahead.in_order(batches, begin, AHEAD * self._count, killed)) as shifted:
            for rest, (pictures,) in shifted:
                yield (pictures, *rest)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
