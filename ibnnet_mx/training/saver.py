"""When a run is saved: after each epoch, every N batches within one, and when it is asked to end."""

from __future__ import annotations

import contextlib
import os
import signal

from ibnnet_mx.checkpoint import Inside, restore
from ibnnet_mx.errors import OptionError, Stopped
from ibnnet_mx.training.finite import NotFinite

SIGNALS = (signal.SIGINT, signal.SIGTERM)
MOST_LEFT_OUT = 10  # batches that are not finite: more are no accident


class Saver:
    """Saves a run. A context within which SIGTERM and Ctrl-C end the run after the present batch, saved.

    A second signal ends it at once. data: what it is trained and validated on. facts: checkpoint.Facts of the run.
    every: batches from one checkpoint within an epoch to the next, None: none. go_on: True makes a checkpoint that
    cannot be written a warning. last: the place that the run went on from.
    """

    def __init__(self, store, run, data, facts, every=None, go_on=False, last=None):
        self._store, self._run, self._report, self._facts = store, run, run.report, facts
        self._train, self._val = data
        self._every, self._go_on, self._last = every, go_on, last
        self._asked, self._before = 0, {}  # the signal that this worker was asked to end by
        self._agreed = 0  # the signal that any worker was asked to end by

    def __enter__(self):
        self._before = {number: signal.signal(number, self._ask) for number in SIGNALS}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number, _):
        if self._asked:
            raise Stopped(
                128 + number, 'stopped at once, the batch is not saved; `retrain` goes on from the last checkpoint'
            )
        self._asked = number
        text = f'\n{signal.Signals(number).name}: the run ends after this batch, saved; once more ends it at once\n'
        with contextlib.suppress(OSError):
            os.write(2, text.encode())  # a log line could meet one that is just being written

    def asked(self):
        """Return the signal that this worker was asked to end by; 0: it was not."""
        return self._asked

    def due(self, batch, message):
        """Return True if the run is to be saved after so many batches. message: Cluster.tell()'s."""
        self._agreed = message.asked
        return bool(self._agreed) or bool(self._every) and batch % self._every == 0

    def train(self):
        """Train one epoch. With nan='rollback', a non-finite batch sends the run back to the last checkpoint.

        That batch is skipped from then on.
        """
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
            raise OptionError(
                None, None, f'{error.advice} (`nan` rollback has left out {MOST_LEFT_OUT} batches already)'
            ) from None
        try:
            if self._last is None:
                raise ValueError('it has no checkpoint yet')
            # Not the newest of the prefix, which may be of an earlier run.
            opened = self._store.open(self._last, states=True)
        except ValueError as fault:
            raise OptionError(None, None, f'{error.advice} (`nan` rollback: {fault})') from None
        restore(run, opened)
        run.left_out.add(error.place)
        epoch, batch = error.place
        self._report.warn(
            f'epoch {epoch}, batch {batch} is not finite: back to batch {run.batch} of epoch {run.epoch}, without it'
        )

    def save(self):
        """Save the run within an epoch."""
        run = self._run
        place = Inside(run.epoch, run.batch)
        saved = self._write(place, shares=run.cluster.gather(run.sums()), steps=self._train.steps(run.epoch))
        self._stop(f'after batch {run.batch} of epoch {run.epoch}', saved)

    def epoch(self, train_metrics):
        """Validate an epoch that has been trained, and save it. A run that was asked to end is not validated."""

        def between():
            self._run.stage('validation')
            if self.due(0, self._run.cluster.tell(0, self.asked)):
                saved = self._write(self._run.epoch, metrics={'train': train_metrics})
                self._stop(f'after epoch {self._run.epoch - 1}, not validated yet', saved)

        between()
        metrics = {'validation': self._run.evaluate(self._val, between), 'train': train_metrics}
        saved = self._write(self._run.epoch, metrics=metrics)
        self.due(0, self._run.cluster.tell(0, self.asked))
        self._stop(f'after epoch {self._run.epoch - 1}', saved)

    def _write(self, place, **facts):
        """Save the checkpoint. Return True if worker 0 wrote it. Raises OSError unless go_on is set."""
        run, error = self._run, None
        run.stage('checkpoint')
        try:
            left_out = sorted(map(list, run.left_out))
            self._store.save(run, place, self._facts.at(place, **facts, left_out=left_out))
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
            state = 'saved; with `retrain` the run goes on from there' if saved else 'not saved'
            raise Stopped(code, f'stopped by {name} {where}, {state}', together=True)
