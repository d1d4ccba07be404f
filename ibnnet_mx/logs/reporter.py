"""The reports of a run: log lines, a progress bar, TensorBoard."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from ibnnet_mx.errors import OptionError, dashed, visible
from ibnnet_mx.logs import handlers
from ibnnet_mx.logs.bar import Bar
from ibnnet_mx.logs.lines import BATCH, RATE, SPEED, TIME, TRAIN, VALIDATION, VALIDATION_TIME
from ibnnet_mx.logs.pace import Pace
from ibnnet_mx.logs.scalars import Scalars
from ibnnet_mx.logs.table import Table
from ibnnet_mx.metrics.improvement import Score


class _Sums:
    """Sums over pictures. samples: their number; values: {metric: sum}."""

    def __init__(self) -> None:
        self.samples = 0
        self.values: dict[str, float] = {}

    def add(self, samples: int, metrics: Mapping[str, float]) -> None:
        self.samples += samples
        for name, value in metrics.items():
            self.values[name] = self.values.get(name, 0) + float(value)

    def means(self) -> dict[str, float]:
        return {name: value / self.samples for name, value in self.values.items()}


class Reporter:
    """Log lines to stderr and a file, a progress bar on a terminal, TensorBoard scalars; nothing to stdout.

    Metrics have their names in the log: accuracy, top_k_accuracy_5, cross-entropy, or any others. rank: of this worker.
    All workers but the first write warnings only, and a file of their own: log-1.txt for log.txt. name_of: how options
    that stand in backticks in a line are written; by default as Python does. go_on: epoch from which a resumed
    run goes on. style: of stderr: 'lines' as in the file, 'epoch' with a line for each epoch, 'auto' that on a
    terminal.
    A log file or TensorBoard folder that stops taking lines gives a warning, and the run goes on.

    Raises OptionError if the log file or TensorBoard's folder cannot be written, or tensorboardX is missing.
    """

    def __init__(
        self,
        frequent: int = 50,
        log_file: str | None = None,
        tensorboard: str | None = None,
        rank: int = 0,
        name_of: Callable[[str], str] = str,
        go_on: int | None = None,
        style: str = handlers.LINES,
    ) -> None:
        if frequent < 1:
            raise OptionError('frequent', frequent, ': the batches from one log line to the next, 1 or more')
        self.frequent, self._name_of = frequent, name_of
        self._stderr = handlers.StderrHandler(handlers.style_of(style))
        self._handlers: list[logging.Handler] = [self._stderr]
        if rank:
            self._stderr.setLevel(logging.WARNING)
        if log_file:
            path = f'-{rank}'.join(os.path.splitext(log_file)) if rank else log_file
            self._handlers.append(handlers.open_file(path, self._complain))
        self._logger = logging.getLogger('ibnnet_mx')
        self._scalars = Scalars(tensorboard, self.warn, go_on) if tensorboard and not rank else None
        self._before = self._logger.level, self._logger.propagate
        self._logger.setLevel(logging.INFO)
        # mxnet calls logging.info(), which gives the root logger a handler: each line would come twice.
        self._logger.propagate = False
        for handler in self._handlers:
            self._logger.addHandler(handler)
        if self._scalars is not None and self._scalars.folder != Path(tensorboard or ''):
            self.info(f'TensorBoard: this run is in {self._scalars.folder}, because the folder has an earlier one')
        self._window, self.sums, self._since = _Sums(), _Sums(), time.perf_counter()
        self._pace: Pace | None = None
        self._table: Table | None = None
        self._has_told = False  # the estimate of the run's time
        self._trained: tuple[float | None, float] = None, 0.0  # rate and seconds of the epoch that was trained last

    def plan(self, epochs: int, share: float = 0.0, best: Score | None = None) -> None:
        """Say how long the run is, so that the time that it still takes is told.

        epochs: of the whole run. share: the time of a validation as a share of an epoch's steps, before one was
        measured. best: the best score of earlier epochs.
        """
        self._pace, self._table = Pace(epochs, share), Table(epochs, best)

    @property
    def epoch_metrics(self) -> dict[str, float]:
        """Return the training means of the epoch so far; after train(), of the whole epoch."""
        return self.sums.means()

    def start_epoch(self, epoch: int, steps: int, first_step: int = 0, before: Sequence[Any] = (0, {})) -> None:
        """Start the clock. `first_step` of the epoch's `steps` batches are done already; before: their pictures and
        sums.
        """
        self._close_bar()
        self._window, self.sums, self._since = _Sums(), _Sums(), time.perf_counter()
        self.sums.add(*before)
        if self._pace is not None:
            self._pace.start(epoch, steps, first_step, self._since)
        if sys.stderr.isatty():
            # The table counts epochs that are done, as checkpoints do, and the log's lines count from 0.
            label = f'Epoch {epoch + 1 if self._stderr.style == handlers.EPOCH else epoch}'
            self._stderr.bar = Bar(label, steps, first_step, self._pace)

    def batch(self, epoch: int, batch: int, samples: int, metrics: Mapping[str, float]) -> None:
        """Count the epoch's batch `batch`, from 0: its pictures, and its sums over them."""
        self._window.add(samples, metrics)
        self.sums.add(samples, metrics)
        if self._pace is not None:
            self._pace.step(time.perf_counter())
            self._tell_pace(self._pace.is_due(time.perf_counter()))
        if self._stderr.bar is not None:
            self._stderr.bar.step(self.epoch_metrics)
        if (batch + 1) % self.frequent == 0:  # a line counts the batches that are done
            now = time.perf_counter()
            speed = self._window.samples / max(now - self._since, 1e-9)
            for name, value in self._window.means().items():
                self._number(BATCH.write(epoch=epoch, batch=batch + 1, speed=speed, metric=name, value=value))
            self._window, self._since = _Sums(), now

    def train(self, epoch: int, lr: float, seconds: float) -> None:
        """Write the epoch's totals, which include the batches after the last batch line."""
        self._close_bar()
        means, speed = self.epoch_metrics, self.sums.samples / max(seconds, 1e-9)
        for name, value in means.items():
            self._number(TRAIN.write(epoch=epoch, metric=name, value=value))
        self._number(SPEED.write(epoch=epoch, value=speed))
        self._number(RATE.write(epoch=epoch, value=lr))
        self._number(TIME.write(epoch=epoch, value=seconds))
        self._plot(epoch, 'train', {**means, 'lr': lr, 'speed': speed})
        self._trained = lr, seconds
        self._tell_pace(self._pace is not None and epoch + 1 < self._pace.epochs)

    def validation(self, epoch: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Write the means of the epoch's validation."""
        for name, value in metrics.items():
            self._number(VALIDATION.write(epoch=epoch, metric=name, value=value))
        self._number(VALIDATION_TIME.write(epoch=epoch, value=seconds))
        self._plot(epoch, 'validation', metrics)
        if self._pace is None or self._table is None:
            return
        self._pace.validated(epoch, seconds)
        rate, trained = self._trained
        row = self._table.lines(
            epoch + 1, rate, (self.epoch_metrics, metrics), trained + seconds, self._pace.run_left()
        )
        for line in row:
            self._logger.info(visible(line), extra={'kind': 'table'})
        self._trained = None, 0.0

    def _tell_pace(self, is_due: bool) -> None:
        """Tell once how long the run takes, if it is due and known."""
        if is_due and not self._has_told and self._pace is not None and self._pace.epoch_seconds is not None:
            self._has_told = True
            self.info(self._pace.line(time.perf_counter()))

    def _number(self, text: str) -> None:
        """Write a line with a number of the run: to the file, and to stderr unless it has the table instead."""
        self._logger.info(visible(text), extra={'kind': 'numbers'})

    def mark(self, text: str) -> None:
        """Write a line for readers of the log, such as the one that a run begins. The table needs none."""
        self._number(text)

    def record(self, text: str) -> None:
        """Write a line to the log file alone."""
        self._logger.info(visible(dashed(text, self._name_of)), extra={'kind': 'file'})

    def info(self, text: str) -> None:
        """Write a line."""
        self._logger.info(visible(dashed(text, self._name_of)))

    def warn(self, text: str) -> None:
        """Write a warning."""
        self._logger.warning(visible(dashed(text, self._name_of)))

    def _complain(self, text: str) -> None:
        """Write a warning to stderr alone."""
        record = logging.LogRecord('ibnnet_mx', logging.WARNING, '', 0, dashed(text, self._name_of), (), None)
        self._stderr.emit(record)

    def close(self) -> None:
        """Put the logger back into the state that it had before."""
        self._close_bar()
        level, self._logger.propagate = self._before
        self._logger.setLevel(level)
        for handler in self._handlers:
            self._logger.removeHandler(handler)
            handler.close()
        if self._scalars is not None:
            self._scalars.close()

    def _close_bar(self) -> None:
        if self._stderr.bar is not None:
            self._stderr.bar.close()
            self._stderr.bar = None

    def _plot(self, epoch: int, side: str, values: Mapping[str, float]) -> None:
        if self._scalars is not None:
            self._scalars.add(epoch, side, values)
