"""Save a run after each epoch, every N batches within one, and when a signal asks it to end."""

from __future__ import annotations

import contextlib
import math
import os
import signal

from ibnnet_mx.checkpoint import Inside, restore
from ibnnet_mx.errors import OptionError, Stopped
from ibnnet_mx.metrics import improvement
from ibnnet_mx.training import finite
from ibnnet_mx.training.finite import NotFinite

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MOST_LEFT_OUT = 10  # so many non-finite batches may be left out; more are not an accident


class Saver:
    """Saves a run. While its context is open, SIGTERM, SIGHUP or Ctrl-C save and end the run after the current batch.

    A second signal ends it at once. data: (train, val), each a data.Iterator. facts: checkpoint.Facts of the run.
    every: save within an epoch each time after so many batches; None: never. go_on: True gives only a warning if a
    checkpoint cannot be written. last: the place that the run was resumed from.
    """

    def __init__(self, store, run, data, facts, every=None, go_on=False, last=None):
        self._store, self._run, self._report, self._facts = store, run, run.report, facts
        self._train, self._val = data
        self._every, self._go_on, self._last = every, go_on, last
        self._from = run.epoch, run.batch  # the place of the weights that were saved, or drawn, last
        self._asked, self._before = 0, {}  # the signal that asked this worker to end
        self._agreed = 0  # the signal that asked any worker to end

    def __enter__(self):
        heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup ignores one
        self._before = {number: signal.signal(number, self._ask) for number in heard}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number, _):
        if self._asked:
            way_out = '`retrain` goes on from the last checkpoint' if self._last else 'there is no checkpoint yet'
            raise Stopped(128 + number, f'stopped at once, without saving; {way_out}')
        self._asked = number
        text = f'\n{signal.Signals(number).name}: the run saves and ends after this batch; once more ends it at once\n'
        with contextlib.suppress(OSError):
            os.write(2, text.encode())  # not by the log, which may just be writing a line

    def asked(self):
        """Return the signal that asked this worker to end; 0 if none did."""
        return self._asked

    def due(self, batch, message):
        """Return True if the run should be saved after so many batches. message: the result of Cluster.tell()."""
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
        error = NotFinite(error.place[0], error.place[1], self._way_out(error.place == self._from))
        if run.nan != 'rollback':
            raise error from None
        if len(run.left_out) >= MOST_LEFT_OUT:
            raise OptionError(
                None, None, f'{error.advice} (`nan` rollback has already left out {MOST_LEFT_OUT} batches)'
            ) from None
        try:
            if self._last is None:
                raise ValueError('the run has no checkpoint yet')
            # Not the newest checkpoint of the prefix, which may belong to an earlier run.
            opened = self._store.open(self._last, states=True)
        except ValueError as fault:
            raise OptionError(None, None, f'{error.advice} (`nan` rollback: {fault})') from None
        restore(run, opened)
        self._from = run.epoch, run.batch
        run.left_out.add(error.place)
        epoch, batch = error.place
        self._report.warn(
            f'epoch {epoch}, batch {batch} is not finite: back to batch {run.batch} of epoch {run.epoch}, without it'
        )

    def _way_out(self, at_once):
        """Return what helps against values that are not finite. at_once: they came with the first batch since the save.

        Then going on from that checkpoint does not help, unless the batch itself is at fault.
        """
        means = 'a lower `lr` or `wd`, or with `clip_gradient`'
        if self._last is None:
            return f'Nothing was saved yet: start again with {means}'
        where = _words(self._last)
        if not at_once:
            return f'The last checkpoint is from {where}: go on with `retrain` and {means}, or `nan` skip or rollback'
        earlier = [epoch for epoch in self._store.epochs() if Inside(epoch, 0) < _inside(self._last)]
        way = (
            f'go on from an earlier epoch (`retrain` and `model_load_epoch` {earlier[-1]})'
            if earlier
            else 'start again'
        )
        return (
            f'It is the first batch after the checkpoint from {where}. If the batch is at fault: `retrain` and `nan` '
            f'skip. Otherwise the weights of that checkpoint are too large already: {way} with {means}'
        )

    def _check_finite(self, place, metrics):
        """Raise OptionError on all workers if what would be saved holds values that are not finite, or gives such."""
        run = self._run
        bad = not finite.is_finite(run)
        if run.cluster.sum_over_workers({'bad': float(bad)})['bad']:
            names = finite.names_of_not_finite(run) if bad else ['those of another worker']
            more = f' and {len(names) - 1} more' if len(names) > 1 else ''
            fault = f'weights or states are not finite ({names[0]}{more})'
        elif not all(map(math.isfinite, metrics.get('validation', {}).values())):
            fault = 'the network gives values that are not finite in the validation'
        else:
            return
        raise OptionError(None, None, f'{_words(place)}: {fault}. They are not saved. {self._way_out(False)}')

    def save(self):
        """Save the run within an epoch."""
        run = self._run
        place = Inside(run.epoch, run.batch)
        saved = self._write(place, shares=run.cluster.gather(run.sums()), steps=self._train.steps(run.epoch))
        self._stop(f'after batch {run.batch} of epoch {run.epoch}', saved)

    def epoch(self, train_metrics):
        """Validate and save the epoch that was just trained. A run that was asked to end is not validated."""

        def between():
            self._run.stage('validation')
            if self.due(0, self._run.cluster.tell(0, self.asked)):
                saved = self._write(self._run.epoch, metrics={'train': train_metrics})
                self._stop(f'after epoch {self._run.epoch - 1}, not validated yet', saved)

        between()
        metrics = {'validation': self._run.evaluate(self._val, between), 'train': train_metrics}
        self._compare(metrics['validation'])
        saved = self._write(self._run.epoch, metrics=metrics)
        self.due(0, self._run.cluster.tell(0, self.asked))
        self._stop(f'after epoch {self._run.epoch - 1}', saved)

    def _compare(self, means):
        """Remember the epoch with the best validation. Its place is a fact of each later checkpoint."""
        score, best = improvement.score_of(means), self._facts.best
        if score is not None and score.beats(best and score._replace(value=best['value'])):
            self._facts = self._facts.at(self._facts.place, best={'epoch': self._run.epoch, 'value': score.value})

    def is_stalled(self):
        """Return True if the last `early_stop` epochs brought no better validation."""
        patience = self._run.recipe.early_stop
        return bool(patience) and self._run.epoch - self._best_epoch() >= patience

    def _best_epoch(self):
        return self._facts.best['epoch'] if self._facts.best else 0

    def stalled_line(self):
        """Return the line about a run that ends early."""
        epochs = self._run.epoch - self._best_epoch()
        return (
            f'`early_stop` {self._run.recipe.early_stop}: the run ends after epoch {self._run.epoch} of '
            f'{self._run.recipe.epochs}, because {epochs} epochs brought no better validation than epoch '
            f'{self._best_epoch()}'
        )

    def _write(self, place, **facts):
        """Save the checkpoint. Return True if worker 0 wrote it. Raises OSError unless go_on is set."""
        run, error = self._run, None
        run.stage('checkpoint')
        self._check_finite(place, facts.get('metrics', {}))
        try:
            left_out = sorted(map(list, run.left_out))
            self._store.save(run, place, self._facts.at(place, **facts, left_out=left_out))
        except OSError as failed:
            error = failed
        if not run.cluster.sum_over_workers({'failed': float(error is not None)})['failed']:
            self._last, self._from = place, (run.epoch, run.batch)
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


def _inside(place):
    return place if isinstance(place, Inside) else Inside(place, 0)


def _words(place):
    """Return a place in words."""
    epoch, batch = _inside(place)
    return f'batch {batch} of epoch {epoch}' if batch else f'the end of epoch {epoch - 1}'
