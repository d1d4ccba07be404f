"""The reports of a run: log lines, a progress bar, TensorBoard."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, Callable, Mapping, Sequence

from ibnnet_mx.errors import OptionError, dashed
from ibnnet_mx.logs.lines import BATCH, RATE, SHORT, SPEED, TIME, TRAIN, VALIDATION, VALIDATION_TIME


class _StderrHandler(logging.Handler):
    """Lines to stderr, above the progress bar if one is open."""

    bar: Any = None

    def emit(self, record: logging.LogRecord) -> None:
        write = print if self.bar is None else self.bar.write
        try:
            write(self.format(record), file=sys.stderr)
        except OSError:
            self.handleError(record)  # a closed pipe ends these lines, not the run


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
    that stand in backticks in a line are written; by default as Python does.

    Raises OptionError if the log file or TensorBoard's folder cannot be written, or tensorboardX is missing.
    """

    def __init__(
        self,
        frequent: int = 50,
        log_file: str | None = None,
        tensorboard: str | None = None,
        rank: int = 0,
        name_of: Callable[[str], str] = str,
    ) -> None:
        if frequent < 1:
            raise OptionError('frequent', frequent, ': the batches from one log line to the next, 1 or more')
        self.frequent, self._name_of = frequent, name_of
        self._stderr = _StderrHandler()
        self._handlers: list[logging.Handler] = [self._stderr]
        if rank:
            self._stderr.setLevel(logging.WARNING)
        if log_file:
            self._handlers.append(_file_handler(f'-{rank}'.join(os.path.splitext(log_file)) if rank else log_file))
        self._scalars = _summary_writer(tensorboard) if tensorboard and not rank else None
        self._logger = logging.getLogger('ibnnet_mx')
        self._before = self._logger.level, self._logger.propagate
        self._logger.setLevel(logging.INFO)
        # mxnet calls logging.info(), which gives the root logger a handler: each line would come twice.
        self._logger.propagate = False
        for handler in self._handlers:
            handler.setFormatter(logging.Formatter('%(asctime)s %(levelname)s %(message)s', '%Y-%m-%d %H:%M:%S'))
            self._logger.addHandler(handler)
        self._window, self.sums, self._since = _Sums(), _Sums(), time.perf_counter()

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
        if sys.stderr.isatty():
            from tqdm import tqdm

            columns, rows = get_terminal_size()  # 80 x 24 if the terminal tells none; tqdm would draw nothing
            look = {'desc': f'Epoch {epoch}', 'unit': 'batch', 'leave': False, 'ncols': columns, 'nrows': rows}
            self._stderr.bar = tqdm(total=steps, initial=first_step, **look)

    def batch(self, epoch: int, batch: int, samples: int, metrics: Mapping[str, float]) -> None:
        """Count the epoch's batch `batch`, from 0: its pictures, and its sums over them."""
        self._window.add(samples, metrics)
        self.sums.add(samples, metrics)
        if self._stderr.bar is not None:
            means = {SHORT.get(name, name): f'{value:.4f}' for name, value in self.epoch_metrics.items()}
            self._stderr.bar.set_postfix(means, refresh=False)
            self._stderr.bar.update()
        if (batch + 1) % self.frequent == 0:  # a line counts the batches that are done
            now = time.perf_counter()
            speed = self._window.samples / max(now - self._since, 1e-9)
            for name, value in self._window.means().items():
                self.info(BATCH.write(epoch=epoch, batch=batch + 1, speed=speed, metric=name, value=value))
            self._window, self._since = _Sums(), now

    def train(self, epoch: int, lr: float, seconds: float) -> None:
        """Write the epoch's totals, which include the batches after the last batch line."""
        self._close_bar()
        means, speed = self.epoch_metrics, self.sums.samples / max(seconds, 1e-9)
        for name, value in means.items():
            self.info(TRAIN.write(epoch=epoch, metric=name, value=value))
        self.info(SPEED.write(epoch=epoch, value=speed))
        self.info(RATE.write(epoch=epoch, value=lr))
        self.info(TIME.write(epoch=epoch, value=seconds))
        self._plot(epoch, 'train', {**means, 'lr': lr, 'speed': speed})

    def validation(self, epoch: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Write the means of the epoch's validation."""
        for name, value in metrics.items():
            self.info(VALIDATION.write(epoch=epoch, metric=name, value=value))
        self.info(VALIDATION_TIME.write(epoch=epoch, value=seconds))
        self._plot(epoch, 'validation', metrics)

    def info(self, text: str) -> None:
        """Write a line."""
        self._logger.info(dashed(text, self._name_of))

    def warn(self, text: str) -> None:
        """Write a warning."""
        self._logger.warning(dashed(text, self._name_of))

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
            for name, value in values.items():
                self._scalars.add_scalar(f'{side}/{name}', value, epoch)
            self._scalars.flush()  # a killed run keeps its curves


def _file_handler(path: str) -> logging.Handler:
    """Return a handler that appends lines, each flushed. Raises OptionError for log_file."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return logging.FileHandler(path, encoding='utf-8')
    except OSError as error:
        raise OptionError('log_file', path, f'cannot be written: {error.strerror}') from error


def _summary_writer(folder: str) -> Any:
    try:
        from tensorboardX import SummaryWriter

        return SummaryWriter(folder)
    except ImportError as error:
        raise OptionError(
            'tensorboard', None, 'needs tensorboardX, which is missing: pip install tensorboardX'
        ) from error
    except OSError as error:
        raise OptionError('tensorboard', folder, f'cannot be written: {error.strerror}') from error
