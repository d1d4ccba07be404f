"""What a run tells: the format of every log line and the reader of it, together.

The lines are those of mxnet's 2016 training logs, so that old and new runs stand in one picture.
"""

from __future__ import annotations

import gzip
import logging
import re
import sys
import time
import zlib
from pathlib import Path
from shutil import get_terminal_size
from statistics import fmean, harmonic_mean
from typing import Any, Mapping, NamedTuple, Sequence

NUMBER = r'[-+]?(?:\d+(?:\.\d*)?(?:e[-+]?\d+)?|nan|inf)'
EPOCH = r'Epoch\[(?P<epoch>\d+)\] '
SAMPLES = r'Speed: (?P<value>\d+(?:\.\d+)?) samples/sec'
VALUE = rf'(?P<value>{NUMBER})(?![\w.+-])'  # not the half of one, where two processes wrote one line
METRIC = rf'(?P<metric>[\w-]+)={VALUE}'


class Line(NamedTuple):
    """One kind of line: how it is written and how it is found again, behind any prefix."""

    text: str
    regex: str

    def write(self, **fields: Any) -> str:
        return self.text.format(**fields)

    def read(self, line: str) -> dict[str, str] | None:
        return found.groupdict() if (found := re.search(self.regex, line)) else None


BATCH = Line(
    'Epoch[{epoch}] Batch [{batch}]\tSpeed: {speed:.2f} samples/sec\tTrain-{metric}={value:.6f}',
    EPOCH + r'Batch \[(?P<batch>\d+)\]\s+' + SAMPLES.replace('value', 'speed') + r'\s+Train-' + METRIC,
)
TRAIN = Line('Epoch[{epoch}] Train-{metric}={value:.6f}', EPOCH + 'Train-' + METRIC)
SPEED = Line('Epoch[{epoch}] Speed: {value:.2f} samples/sec', EPOCH + SAMPLES)
RATE = Line('Epoch[{epoch}] Learning-rate={value:.9g}', EPOCH + rf'Learning-rate={VALUE}')
TIME = Line('Epoch[{epoch}] Time cost={value:.3f}', EPOCH + rf'Time cost={VALUE}')
VALIDATION = Line('Epoch[{epoch}] Validation-{metric}={value:.6f}', EPOCH + 'Validation-' + METRIC)
VALIDATION_TIME = Line('Epoch[{epoch}] Validation time={value:.3f}', EPOCH + rf'Validation time={VALUE}')
OLD_START, OLD_CHANGE = rf'\blr=({NUMBER})', rf'Update\[\d+\]: Change learning rate to ({NUMBER})'  # in 2016
LONGEST, LARGEST, MOST_EPOCHS = 1 << 16, 1 << 27, 100_000  # of a line and a log that is read; a few bytes can be a GB
COLOUR = r'\x1b\[[0-9;]*[A-Za-z]'
SHORT = {'top_k_accuracy_5': 'top5', 'cross-entropy': 'ce'}  # as they are asked for; accuracy is accuracy


class _StderrHandler(logging.Handler):
    """Lines to stderr, above the progress bar where one is open."""

    bar: Any = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            (print if self.bar is None else self.bar.write)(self.format(record), file=sys.stderr)
        except OSError:
            self.handleError(record)  # a closed pipe ends these lines, not the run


class _Sums:
    """samples: pictures; values: sums over them, by metric."""

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

    Metrics, any set of them, have their names in the log: accuracy, top_k_accuracy_5, cross-entropy.
    ValueError: the log file or TensorBoard's folder cannot be written, or tensorboardX is missing.
    """

    def __init__(self, frequent: int = 50, log_file: str | None = None, tensorboard: str | None = None) -> None:
        if frequent < 1:
            raise ValueError(f'--frequent {frequent}: the batches from one log line to the next, 1 or more')
        self.frequent = frequent
        self._stderr = _StderrHandler()
        self._handlers: list[logging.Handler] = [self._stderr]
        if log_file:
            self._handlers.append(_file_handler(log_file))
        self._scalars = _summary_writer(tensorboard) if tensorboard else None
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
        """Training means of the epoch so far, after train() of the whole epoch."""
        return self.sums.means()

    def start_epoch(self, epoch: int, steps: int, first_step: int = 0, before: Sequence[Any] = (0, {})) -> None:
        """Starts the clock; `first_step` of the epoch's `steps` batches are done already, with the sums of before."""
        self._close_bar()
        self._window, self.sums, self._since = _Sums(), _Sums(), time.perf_counter()
        self.sums.add(*before)
        if sys.stderr.isatty():
            from tqdm import tqdm

            columns, rows = get_terminal_size()  # 80 x 24 where the terminal tells none; tqdm would draw nothing then
            look = {'desc': f'Epoch {epoch}', 'unit': 'batch', 'leave': False, 'ncols': columns, 'nrows': rows}
            self._stderr.bar = tqdm(total=steps, initial=first_step, **look)

    def batch(self, epoch: int, batch: int, samples: int, metrics: Mapping[str, float]) -> None:
        """The epoch's batch `batch`, counted from 0, is done: its pictures, and its sums over them."""
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
        """The epoch's training is done: its totals, also of the batches after the last batch line."""
        self._close_bar()
        means, speed = self.epoch_metrics, self.sums.samples / max(seconds, 1e-9)
        for name, value in means.items():
            self.info(TRAIN.write(epoch=epoch, metric=name, value=value))
        self.info(SPEED.write(epoch=epoch, value=speed))
        self.info(RATE.write(epoch=epoch, value=lr))
        self.info(TIME.write(epoch=epoch, value=seconds))
        self._plot(epoch, 'train', {**means, 'lr': lr, 'speed': speed})

    def validation(self, epoch: int, metrics: Mapping[str, float], seconds: float) -> None:
        """The epoch's validation is done: its means."""
        for name, value in metrics.items():
            self.info(VALIDATION.write(epoch=epoch, metric=name, value=value))
        self.info(VALIDATION_TIME.write(epoch=epoch, value=seconds))
        self._plot(epoch, 'validation', metrics)

    def info(self, text: str) -> None:
        self._logger.info(text)

    def warn(self, text: str) -> None:
        self._logger.warning(text)

    def close(self) -> None:
        """Puts the logger back as it was."""
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

    def _plot(self, epoch: int, part: str, values: Mapping[str, float]) -> None:
        if self._scalars is not None:
            for name, value in values.items():
                self._scalars.add_scalar(f'{part}/{name}', value, epoch)
            self._scalars.flush()  # a killed run keeps its curves


def _file_handler(path: str) -> logging.Handler:
    """Appends, one flush a line."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return logging.FileHandler(path, encoding='utf-8')
    except OSError as error:
        raise ValueError(f'--log-file {path} cannot be written: {error.strerror}') from error


def _summary_writer(folder: str) -> Any:
    try:
        from tensorboardX import SummaryWriter

        return SummaryWriter(folder)
    except ImportError as error:
        raise ValueError('--tensorboard needs tensorboardX, which is missing: pip install tensorboardX') from error
    except OSError as error:
        raise ValueError(f'--tensorboard {folder} cannot be written: {error.strerror}') from error


class Run(NamedTuple):
    """One log as curves: {metric: {epoch: value}}; metrics accuracy, top5, ce; epochs as the log counts them."""

    name: str
    train: dict[str, dict[int, float]]
    validation: dict[str, dict[int, float]]
    speed: dict[int, float]
    lr: dict[int, float]


class _Epoch:
    """What the lines of one epoch said."""

    def __init__(self, rate: dict[str, float]) -> None:
        self.windows: dict[str, dict[int, float]] = {}  # by metric, by batch
        self.speeds: dict[int, float] = {}
        self.said: dict[Line, dict[str, float]] = {TRAIN: {}, VALIDATION: {}, SPEED: {}, RATE: dict(rate)}

    def begun_again_by(self, kind: Line, metric: str, batch: int) -> bool:
        told = bool(self.said[VALIDATION]) or metric in self.said[TRAIN]
        again = kind is BATCH and batch <= max(self.windows.get(metric, {}), default=-1)
        return kind in (BATCH, TRAIN) and (told or again)


class _Reader:
    """Lines in, a run out. An epoch that is begun again (a resumed run) replaces the earlier try whole.

    In the logs of 2016 its rate is the one in force when it began.
    """

    def __init__(self) -> None:
        self.epochs: dict[int, _Epoch] = {}
        self._rate: dict[str, float] = {}
        self._read = 0

    def take(self, line: str) -> None:
        self._read += len(line)
        if self._read > LARGEST or len(self.epochs) > MOST_EPOCHS:
            raise ValueError(f'more than {LARGEST >> 20} MB of text or {MOST_EPOCHS} epochs are none')
        line = re.sub(COLOUR, '', line)
        for kind in (BATCH, TRAIN, VALIDATION, SPEED, RATE) if 'Epoch[' in line else ():
            if fields := kind.read(line):
                self._store(kind, **fields)
        _, old, words = line.partition('Namespace(')
        found = re.findall(OLD_START, words) if old else re.findall(OLD_CHANGE, line)
        self._rate = {'': float(found[-1])} if found else self._rate

    def _store(self, kind: Line, epoch: str, value: str, metric: str = '', batch: str = '0', speed: str = '') -> None:
        key, number = int(epoch), int(batch)
        if key not in self.epochs or self.epochs[key].begun_again_by(kind, metric, number):
            self.epochs[key] = _Epoch(self._rate)
        at = self.epochs[key]
        if kind is BATCH:
            at.windows.setdefault(metric, {})[number] = float(value)
            at.speeds[number] = float(speed)
        else:
            at.said[kind][metric] = float(value)

    def run(self, name: str) -> Run:
        run = Run(name, {}, {}, {}, {})
        for epoch, seen in sorted(self.epochs.items()):
            # A batch line tells of the batches since the line before it (in the logs of 2016 too: their values are
            # whole numbers of pictures of one window): the lines' mean stands for a total that was not written.
            means = {metric: fmean(values.values()) for metric, values in seen.windows.items()}
            for table, values in ((run.train, {**means, **seen.said[TRAIN]}), (run.validation, seen.said[VALIDATION])):
                for metric, value in values.items():
                    table.setdefault(SHORT.get(metric, metric), {})[epoch] = value
            if speeds := list(seen.said[SPEED].values()) or list(seen.speeds.values()):
                run.speed[epoch] = harmonic_mean(speeds)  # each is of equally many pictures, so the times add up
            if seen.said[RATE]:
                run.lr[epoch] = seen.said[RATE]['']
        return run


def stem(path: str | Path) -> str:
    """resnet-50 of a/resnet-50.log.gz"""
    return re.sub(r'(\.[^.]*)?(\.gz)?$', '', Path(path).name) or Path(path).name


def read(path: str | Path) -> Run:
    """The run in a log of this project or of 2016, plain or gzip; ValueError: missing, damaged, or without epochs."""
    path, reader = Path(path), _Reader()
    try:
        with open(path, 'rb') as file:
            packed = file.read(2) == b'\x1f\x8b'  # whatever the name says
        with (gzip.open if packed else open)(path, 'rt', encoding='utf-8', errors='replace') as lines:
            for line in iter(lambda: lines.readline(LONGEST), ''):
                reader.take(line)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f'{path} cannot be read as a log: {getattr(error, "strerror", None) or error}') from error
    if not any(seen.windows or seen.said[TRAIN] or seen.said[VALIDATION] for seen in reader.epochs.values()):
        raise ValueError(f'{path} is no training log: no line has Epoch[0] Train-... or Epoch[0] Validation-...')
    return reader.run(stem(path))
