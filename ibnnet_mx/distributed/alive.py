"""The watch over the other processes of a job. If one is gone, mxnet itself waits for it for ever."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from typing import Any, Callable

from ibnnet_mx.distributed import job

EVERY = 1.0  # seconds from one look to the next, and from one sign of life to the next
SILENT = 8  # seconds without one: the scheduler sees it then, the others as long after that
LOOKS = 2  # in a row: a machine that slept finds all of them silent at first
SCHEDULER, SERVERS, WORKERS = 1, 2, 4  # groups of processes, ps-lite's include/ps/base.h


def prepare() -> None:
    """Make the processes send signs of life. Call it before mx.kv.create."""
    os.environ.setdefault('PS_HEARTBEAT_INTERVAL', str(int(EVERY)))


class Peers:
    """The other processes of a job, as mxnet's parameter server sees them.

    library: mxnet.base._LIB, handle: that of a kvstore. They are handed in, so that this file does not import mxnet.
    """

    def __init__(self, library: Any, handle: Any) -> None:
        self._library, self._handle = library, ctypes.c_void_p(handle.value)

    def gone(self, group: int, silent: int = SILENT) -> int:
        """Return how many of a group have been silent for so many seconds.

        Only the scheduler sees all processes; the others see the scheduler.
        """
        count = ctypes.c_int()
        failed = self._library.MXKVStoreGetNumDeadNode(self._handle, group, ctypes.byref(count), silent)
        return 0 if failed else count.value

    def joined(self) -> bool:
        """Return True if all processes have come.

        Until then mxnet counts nobody as gone; from then on everybody has been silent for at least -1 seconds.
        """
        return self.gone(SCHEDULER | SERVERS | WORKERS, -1) > 0


class Alive:
    """A thread that ends this process if others are gone, or have not come within so many seconds of the start.

    way_out: the end of what a worker writes then.
    """

    def __init__(
        self,
        peers: Peers,
        process: job.Job,
        seconds: float,
        way_out: str = '',
        tell: Callable[[str], None] = job.tell,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._peers, self._process, self._tell, self._end = peers, process, tell, end
        self._until, self._way_out = time.monotonic() + seconds, way_out
        self._late = missing_line(process, seconds)
        self._stopped, self._looking = threading.Event(), threading.Lock()
        threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        """End the watch, before the handle is freed."""
        self._stopped.set()
        with self._looking:
            pass

    def _gone(self) -> str:
        """Return who is gone in words, '' for nobody."""
        process = self._process
        if process.role != 'scheduler':
            return f'the scheduler {process.scheduler} is' if self._peers.gone(SCHEDULER) else ''
        groups = ('worker', WORKERS, process.workers), ('server', SERVERS, process.servers)
        counts = [(name, self._peers.gone(group), count) for name, group, count in groups]
        return ' and '.join(f'{lost} of {count} {name}s' for name, lost, count in counts if lost)

    def _watch(self) -> None:
        hint, begun, seen = '', False, 0
        if self._process.role == 'worker':
            hint = '; the scheduler says who was gone before it' + (self._way_out and f'; {self._way_out}')
        while not self._stopped.wait(EVERY):
            with self._looking:
                if self._stopped.is_set():
                    return
                begun = begun or self._peers.joined()
                who = self._gone() if begun else ''
            seen = seen + 1 if who else 0
            if seen == LOOKS:
                self._tell(f'{self._process.role}: {who} gone, silent for {SILENT} s: this process ends{hint}')
            elif not begun and time.monotonic() > self._until:
                self._tell(self._late)
            else:
                continue
            self._end(job.ENDED)
            return


def missing_line(process: job.Job, seconds: float) -> str:
    """Return the line for a job.Job of which not all processes have come."""
    return (
        f'{process.role}: {seconds:g} s have gone, and not all of {process.workers} workers and {process.servers} '
        f'servers are at the scheduler {process.scheduler}; were all started, each with the same DMLC_NUM_WORKER and '
        'DMLC_NUM_SERVER, '
        'and does a scheduler listen there? IBNNET_MX_JOIN_SECONDS waits longer'
    )
