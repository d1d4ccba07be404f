"""When a run is saved: after each epoch, every --checkpoint-batches N, and when it is asked to end."""

from __future__ import annotations

import contextlib
import os
import signal

from ibnnet_mx.checkpoint import Inside
from ibnnet_mx.cli.options import Stopped
from ibnnet_mx.training.trainer import NotFinite

SIGNALS = (signal.SIGINT, signal.SIGTERM)
MOST_LEFT_OUT = 10  # batches that are not finite: more are no accident


class Keeper:
    """Saves a run; a context within which SIGTERM and Ctrl-C end it after the batch that runs, saved.

    A second one is not waited for. data: what it is trained and validated on. every: batches from one checkpoint within
    an epoch to the next, None: none.
    go_on: whether a checkpoint that cannot be written is a warning. last: the checkpoint that the run went on from.
    """

    def __init__(self, store, run, data, about, every=None, go_on=False, last=None):
        self._store, self._run, self._report, self._about = store, run, run.report, about
        self._train, self._val = data
        self._every, self._go_on, self._last = every, go_on, last
        self._asked, self._before = 0, {}  # the signal, of this worker
        self._agreed = 0  # that of all workers

    def __enter__(self):
        self._before = {number: signal.signal(number, self._ask) for number in SIGNALS}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number, _):
        if self._asked:
            text = 'stopped at once, the batch is not saved; --retrain goes on from the last checkpoint'
            raise Stopped(128 + number, text)
        self._asked = number
        text = f'\n{signal.Signals(number).name}: the run ends after this batch, saved; once more ends it at once\n'
        with contextlib.suppress(OSError):
            os.write(2, text.encode())  # a log line could meet one that is just being written

    def asked(self):
        """The signal that this worker was asked to end by; 0: it was not."""
        return self._asked

    def due(self, batch, told):
        """told: what Cluster.tell gave, the same for all workers."""
        self._agreed = told.asked
        return bool(self._agreed) or bool(self._every) and batch % self._every == 0

    def train(self):
        """An epoch; with nan='rollback' anew from the last checkpoint, without the batch, where one is not finite."""
        while True:
            try:
                return self._run.train_epoch(self._train, self)
            except NotFinite as error:
                self._roll_back(error)

    def _roll_back(self, error):
        run = self._run
        if run.nan != 'rollback':
            raise error
        if len(run.left_out) >= MOST_LEFT_OUT:
            raise ValueError(f'{error} (--nan rollback has left out {MOST_LEFT_OUT} batches already)') from None
        # Not the newest of the prefix, which may be of an earlier run.
        fault = 'it has no checkpoint yet' if self._last is None else self._store.fault(self._last)
        if fault:
            raise ValueError(f'{error} (--nan rollback: {fault})') from None
        self._store.load(run, self._last)
        run.left_out.add(error.place)
        epoch, batch = error.place
        self._report.warn(
            f'epoch {epoch}, batch {batch} is not finite: back to batch {run.batch} of epoch {run.epoch}, without it'
        )

    def save(self):
        """Within an epoch."""
        run = self._run
        facts = dict(shares=run.cluster.gather(run.sums()), steps=self._train.steps(run.epoch))
        saved = self._write(Inside(run.epoch, run.batch), facts)
        self._stop(f'after batch {run.batch} of epoch {run.epoch}', saved)

    def epoch(self, train_metrics):
        """Validates an epoch that has been trained, and saves it; asked to end, it does without the validation."""

        def between():
            self._run.stage('validation')
            if self.due(0, self._run.cluster.tell(0, self.asked)):
                saved = self._write(self._run.epoch, dict(metrics={'train': train_metrics}))
                self._stop(f'after epoch {self._run.epoch - 1}, not validated yet', saved)

        between()
        metrics = {'validation': self._run.evaluate(self._val, between), 'train': train_metrics}
        saved = self._write(self._run.epoch, dict(metrics=metrics))
        self.due(0, self._run.cluster.tell(0, self.asked))
        self._stop(f'after epoch {self._run.epoch - 1}', saved)

    def _write(self, place, facts):
        """Whether it could be written, by worker 0. OSError, where the run shall not go on without."""
        run, error = self._run, None
        run.stage('checkpoint')
        try:
            left_out = sorted(map(list, run.left_out))
            self._store.save(run, place, {**self._about, **facts, 'left_out': left_out})
        except OSError as failed:
            error = failed
        if not run.cluster.sum_over_workers({'failed': float(error is not None)})['failed']:
            self._last = place
            return True
        if not self._go_on:
            raise error or OSError('worker 0 could not write a checkpoint')
        if error:
            self._report.warn(f'no checkpoint was written: {error.filename}: {error.strerror}; the run goes on')
        return False

    def _stop(self, where, saved):
        if self._agreed:
            name, code = signal.Signals(self._agreed).name, 128 + self._agreed
            what = 'saved; with --retrain the run goes on from there' if saved else 'not saved'
            raise Stopped(code, f'stopped by {name} {where}, {what}', together=True)
