"""Ends a run in which nothing happens any more, and says what it was waiting for."""

from __future__ import annotations

import os
import threading
import time

CODE = 70  # of the process that it ends


class Watchdog:
    """A context; call stage(name) whenever something begins. seconds: that a stage may take; None: for ever.

    It ends the process at once, for whatever the run waits for may wait for ever: mxnet's calls cannot be interrupted.
    tell: is given the line that says so before.
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
        while not self._done.wait(min(1.0, self._seconds / 4)):
            if time.monotonic() - self._since > self._seconds:
                self._tell(
                    f'`stall_timeout` {self._seconds:g}: nothing has happened for that many seconds, the run was '
                    f'waiting for: {self._stage}. It ends; `retrain` goes on from the last checkpoint'
                )
                self._end(CODE)
                return
