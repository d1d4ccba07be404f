"""End a run in which nothing happens any more, and say what it was waiting for."""

from __future__ import annotations

import os
import threading
import time

CODE = 70  # exit code of the process
LATE = 2.0  # seconds that a look may come too late on a busy machine


class Watchdog:
    """A context that ends the process if a stage takes too long. Call stage(name) when a stage begins.

    seconds: limit of a stage; None: no limit. Time in which this process itself was stopped does not count.
    tell: function that gets the last line. The process ends without any clean-up, because mxnet's calls cannot be
    interrupted and may wait for ever.
    """

    def __init__(self, seconds, tell, end=os._exit):
        self._seconds, self._tell, self._end = seconds, tell, end
        self._stage, self._since, self._done = 'start', time.monotonic(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        if self._seconds is not None:
            self.stage('start')
            self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()

    def stage(self, name):
        self._stage, self._since = name, time.monotonic()

    def _watch(self):
        every, before = min(1.0, self._seconds / 4), time.monotonic()
        while not self._done.wait(every):
            now = time.monotonic()
            stopped = now - before - every
            if stopped > max(every, LATE):  # by SIGSTOP, or with the whole machine: this thread stood still too
                self._since = min(self._since + stopped, now)
            before = now
            if time.monotonic() - self._since > self._seconds:
                self._tell(
                    f'`stall_timeout` {self._seconds:g}: nothing has happened for that many seconds; the run was '
                    f'waiting for: {self._stage}. It ends; `retrain` goes on from the last checkpoint'
                )
                self._end(CODE)
                return
