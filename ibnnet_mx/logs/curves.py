"""The reader of logs, of this project or of 2016: lines -> curves."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path
from statistics import fmean, harmonic_mean
from typing import NamedTuple

from ibnnet_mx.logs.lines import BATCH, COLOUR, OLD_CHANGE, OLD_START, RATE, SHORT, SPEED, TRAIN, VALIDATION, Line

LONGEST, LARGEST, MOST_EPOCHS = 1 << 16, 1 << 27, 100_000  # of a line and a log that is read; a few bytes can be a GB


class Run(NamedTuple):
    """One log as curves: {metric: {epoch: value}}. Metrics: accuracy, top5, ce. Epochs: as the log counts them."""

    name: str
    train: dict[str, dict[int, float]]
    validation: dict[str, dict[int, float]]
    speed: dict[int, float]
    lr: dict[int, float]


class _Epoch:
    """The values of the lines of one epoch."""

    def __init__(self, rate: dict[str, float]) -> None:
        self.windows: dict[str, dict[int, float]] = {}  # by metric, by batch
        self.speeds: dict[int, float] = {}
        self.values: dict[Line, dict[str, float]] = {TRAIN: {}, VALIDATION: {}, SPEED: {}, RATE: dict(rate)}

    def begun_again_by(self, kind: Line, metric: str, batch: int) -> bool:
        ended = bool(self.values[VALIDATION]) or metric in self.values[TRAIN]
        again = kind is BATCH and batch <= max(self.windows.get(metric, {}), default=-1)
        return kind in (BATCH, TRAIN) and (ended or again)


class _Reader:
    """Lines in, a run out. An epoch that is begun again (a resumed run) replaces the earlier try whole.

    In the logs of 2016 the rate of an epoch is the one in force when it began.
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
        rates = re.findall(OLD_START, words) if old else re.findall(OLD_CHANGE, line)
        self._rate = {'': float(rates[-1])} if rates else self._rate

    def _store(self, kind: Line, epoch: str, value: str, metric: str = '', batch: str = '0', speed: str = '') -> None:
        key, number = int(epoch), int(batch)
        if key not in self.epochs or self.epochs[key].begun_again_by(kind, metric, number):
            self.epochs[key] = _Epoch(self._rate)
        at = self.epochs[key]
        if kind is BATCH:
            at.windows.setdefault(metric, {})[number] = float(value)
            at.speeds[number] = float(speed)
        else:
            at.values[kind][metric] = float(value)

    def run(self, name: str) -> Run:
        run = Run(name, {}, {}, {}, {})
        for epoch, seen in sorted(self.epochs.items()):
            # A batch line tells of the batches since the line before it (in the logs of 2016 too: their values are
            # whole numbers of pictures of one window): the lines' mean stands for a total that was not written.
            means = {metric: fmean(values.values()) for metric, values in seen.windows.items()}
            for table, values in (
                (run.train, {**means, **seen.values[TRAIN]}),
                (run.validation, seen.values[VALIDATION]),
            ):
                for metric, value in values.items():
                    table.setdefault(SHORT.get(metric, metric), {})[epoch] = value
            if speeds := list(seen.values[SPEED].values()) or list(seen.speeds.values()):
                run.speed[epoch] = harmonic_mean(speeds)  # each is of equally many pictures, so the times add up
            if seen.values[RATE]:
                run.lr[epoch] = seen.values[RATE]['']
        return run


def stem_of(path: str | Path) -> str:
    """Return the name of a log without folder and endings: resnet-50 of a/resnet-50.log.gz."""
    return re.sub(r'(\.[^.]*)?(\.gz)?$', '', Path(path).name) or Path(path).name


def read_log(path: str | Path) -> Run:
    """Return the run in a log of this project or of 2016, plain or gzip.

    Raises ValueError if the file is missing, damaged, or without epochs.
    """
    path, reader = Path(path), _Reader()
    try:
        with open(path, 'rb') as file:
            packed = file.read(2) == b'\x1f\x8b'  # whatever the name says
        with (gzip.open if packed else open)(path, 'rt', encoding='utf-8', errors='replace') as lines:
            for line in iter(lambda: lines.readline(LONGEST), ''):
                reader.take(line)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f'{path} cannot be read as a log: {getattr(error, "strerror", None) or error}') from error
    if not any(seen.windows or seen.values[TRAIN] or seen.values[VALIDATION] for seen in reader.epochs.values()):
        raise ValueError(f'{path} is no training log: no line has Epoch[0] Train-... or Epoch[0] Validation-...')
    return reader.run(stem_of(path))
