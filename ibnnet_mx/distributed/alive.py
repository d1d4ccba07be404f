"""Tells that another process of a job is gone. mxnet itself waits for it for ever."""

from __future__ import annotations

import ctypes
import os
import threading
import time

from mxnet.base import _LIB

from ibnnet_mx.distributed import job

EVERY = 1.0  # seconds from one look to the next, and from one sign of life to the next
SILENT = 8  # seconds without one: the scheduler sees it then, the others as long after that
LOOKS = 2  # in a row: a machine that slept finds all of them silent at first
SCHEDULER, SERVERS, WORKERS = 1, 2, 4  # groups of processes, ps-lite's include/ps/base.h


def prepare():
    """Before mx.kv.create: signs of life are sent at all."""
    os.environ.setdefault('PS_HEARTBEAT_INTERVAL', str(int(EVERY)))


def gone(handle, group, silent=SILENT):
    """How many of a group have been silent for so many seconds. Only the scheduler sees all, the others see it."""
    count = ctypes.c_int()
    failed = _LIB.MXKVStoreGetNumDeadNode(ctypes.c_void_p(handle), group, ctypes.byref(count), silent)
    return 0 if failed else count.value


def joined(handle):
    """Whether all processes have come: mxnet counts nobody as gone before, and everybody is silent for -1 seconds."""
    return gone(handle, SCHEDULER | SERVERS | WORKERS, -1) > 0


class Alive:
    """A thread that ends this process where others are gone, or have not come within so many seconds of the start."""

    def __init__(self, handle, part, seconds, tell=job.tell, end=os._exit):
        self._handle, self._part, self._tell, self._end = handle.value, part, tell, end
        self._until = time.monotonic() + seconds
        self._late = missing(part, seconds)
        self._stopped, self._looking = threading.Event(), threading.Lock()
        threading.Thread(target=self._watch, daemon=True).start()

    def stop(self):
        """Before the handle is freed."""
        self._stopped.set()
        with self._looking:
            pass

    def _gone(self):
        """Who is gone, '' nobody."""
        part = self._part
        if part.role != 'scheduler':
            return f'the scheduler {part.scheduler} is' if gone(self._handle, SCHEDULER) else ''
        there = ('worker', WORKERS, part.workers), ('server', SERVERS, part.servers)
        counts = [(name, gone(self._handle, group), count) for name, group, count in there]
        return ' and '.join(f'{lost} of {count} {name}s' for name, lost, count in counts if lost)

    def _watch(self):
        hint, begun, seen = '', False, 0
        if self._part.role == 'worker':
            hint = '; the scheduler says who was gone before it; --retrain goes on from the last checkpoint'
        while not self._stopped.wait(EVERY):
            with self._looking:
                if self._stopped.is_set():
                    return
                begun = begun or joined(self._handle)
                who = self._gone() if begun else ''
            seen = seen + 1 if who else 0
            if seen == LOOKS:
                self._tell(f'{self._part.role}: {who} gone, silent for {SILENT} s: this process ends{hint}')
            elif not begun and time.monotonic() > self._until:
                self._tell(self._late)
            else:
                continue
            self._end(job.ENDED)
            return


def missing(part, seconds):
    """What is told where not all processes of a job.Job have come."""
    return (
        f'{part.role}: {seconds:g} s have gone, and not all of {part.workers} workers and {part.servers} servers are '
        f'at the scheduler {part.scheduler}; were all started, each with the same DMLC_NUM_WORKER and DMLC_NUM_SERVER, '
        'and does a scheduler listen there? IBNNET_MX_JOIN_SECONDS waits longer'
    )
