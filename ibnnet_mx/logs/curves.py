"""The reader of logs, of this project, of 2016 or of mxnet 1.x: lines -> curves.

A log may hold the lines of several workers and of several runs, because a training appends to its log. They are told
apart by these signs, and never become one curve:
- the worker by Node[1], [worker 1] or the like at the beginning of a line;
- a new run by its line "A run begins". Older logs have no such line; there a run begins where epoch 0 begins again;
- a resumed run by "The run goes on after batch B", or by an epoch above 0 that begins again. From there on its lines
  replace those of the earlier try.
"""

from __future__ import annotations

import re
from pathlib import Path
from statistics import fmean, harmonic_mean
from typing import NamedTuple

from ibnnet_mx.logs.lines import (
    BACK,
    BATCH,
    BEGIN,
    GO_ON,
    OLD_CHANGE,
    OLD_START,
    PROCESS,
    RATE,
    SPEED,
    TRAIN,
    VALIDATION,
    Line,
    number_of,
    pairs_of,
    plain,
    short_name,
    worker_of,
)

LONGEST, LARGEST, MOST_EPOCHS = 1 << 16, 1 << 27, 100_000  # of a line and a log that is read; a few bytes can be a GB
MOST_REPEATS = 3  # of a line with another value: two processes that write the same epochs without a sign


class Run(NamedTuple):
    """One run of one worker as curves: {metric: {epoch: value}}. Epochs: as the log counts them.

    Metrics: accuracy, top5, ce, and any others by their names in the log. worker: its number, None if the log tells
    none. number: of the run among those of its worker in this log, from 1.
    """

    name: str
    train: dict[str, dict[int, float]]
    validation: dict[str, dict[int, float]]
    speed: dict[int, float]
    lr: dict[int, float]
    worker: int | None = None
    number: int = 1


class _Epoch:
    """The values of the lines of one epoch."""

    def __init__(self, rate: dict[str, float]) -> None:
        self.windows: dict[str, dict[int, float]] = {}  # by metric, by batch
        self.last: dict[str, int] = {}  # the last batch, by metric
        self.running = True  # all batch lines begin at batch 0
        self.speeds: dict[int, float] = {}
        self.values: dict[Line, dict[str, float]] = {TRAIN: {}, VALIDATION: {}, SPEED: {}, RATE: dict(rate)}

    @property
    def has_values(self) -> bool:
        return bool(self.windows or self.values[TRAIN] or self.values[VALIDATION])

    def begun_again_by(self, kind: Line, metric: str, batch: int) -> bool:
        ended = bool(self.values[VALIDATION]) or metric in self.values[TRAIN]
        again = kind is BATCH and batch <= self.last.get(metric, -1)
        return kind in (BATCH, TRAIN) and (ended or again)

    def repeated_by(self, kind: Line, metric: str, batch: int) -> float | None:
        """Return the value that the same line had a moment ago; None if there was no such line."""
        if kind is BATCH and batch == self.last.get(metric) and metric not in self.values[TRAIN]:
            return self.windows[metric][batch]
        return self.values[TRAIN].get(metric) if kind is TRAIN and not self.values[VALIDATION] else None

    def add(self, kind: Line, metric: str, value: float, batch: int, first: int) -> None:
        if kind is not BATCH:
            self.values[kind][metric] = value
            return
        self.windows.setdefault(metric, {})[batch] = value
        self.last[metric] = batch
        self.running = self.running and first == 0

    def cut(self, batch: int) -> None:
        """Forget the lines of later batches, and the totals."""
        self.windows = {
            metric: {b: value for b, value in values.items() if b <= batch} for metric, values in self.windows.items()
        }
        self.windows = {metric: values for metric, values in self.windows.items() if values}
        self.last = {metric: max(values) for metric, values in self.windows.items()}
        self.speeds = {b: speed for b, speed in self.speeds.items() if b <= batch}
        self.values.update({TRAIN: {}, VALIDATION: {}, SPEED: {}})

    def means(self) -> dict[str, float]:
        """Return {metric: mean of the batch lines}.

        A batch line tells of the batches since the line before it (in the logs of 2016 too: their values are whole
        numbers of pictures of one window), so the mean stands for a total that was not written. With the ranges 0-20,
        0-40, 0-60 of mxnet 1.x each line tells of all batches so far, and the last one stands for all.
        """
        means = {}
        for metric, values in self.windows.items():
            means[metric] = values[self.last[metric]] if self.running else fmean(values.values())
        return means


class _Worker:
    """The runs of one worker, in the order of the log: {epoch: _Epoch} each."""

    def __init__(self, rate: dict[str, float]) -> None:
        self.runs: list[dict[int, _Epoch]] = [{}]
        self.rate = dict(rate)
        self._first, self._last = 0, -1  # epochs of the newest run
        self._started = False  # a process has begun, and none of its epochs yet
        self._repeats = self.made = 0  # made: epochs

    def begin(self) -> None:
        """Begin a new run."""
        if self.runs[-1]:
            self.runs.append({})
        self._first, self._last, self._started = 0, -1, False

    def process(self) -> None:
        """Note that a process has begun: its first line begins its epoch again."""
        self._started = True

    def go_on(self, epoch: int, batch: int) -> None:
        """Go on after a batch of an epoch. Later lines are forgotten."""
        run = self.runs[-1]
        self._started = False
        if run and not self._first <= epoch <= self._last + 1:
            self.begin()  # an earlier run of this log goes on: a mixture with the newest one would be no run
            return
        for later in [each for each in run if each > epoch or each == epoch and not batch]:
            del run[later]
        if epoch in run:
            run[epoch].cut(batch)
        self._last = max(run, default=-1)

    def add(self, kind: Line, epoch: int, metric: str, value: float, batch: int = 0, first: int = 0) -> None:
        """Add a value. Raises ValueError if the lines seem to be those of several processes without a sign."""
        # A resumed run may validate an epoch that it has not trained.
        started, self._started = self._started and kind is not VALIDATION, self._started and kind is VALIDATION
        at = self.runs[-1].get(epoch)
        if at is not None and not started:
            before = at.repeated_by(kind, metric, batch) if epoch == self._last else None
            if before == value:
                return  # logged twice
            self._repeats += before is not None
            if self._repeats > MOST_REPEATS:
                raise ValueError(
                    f'epoch {epoch} has lines of several processes that nothing tells apart, such as Node[1] or '
                    '[worker 1] before them; draw the log of one of them'
                )
        if at is not None and (started or at.begun_again_by(kind, metric, batch)):
            self._begin_again(epoch)
        elif at is None and self.runs[-1] and not self._first <= epoch <= (self._last + 1 if started else epoch):
            self.begin()
        run = self.runs[-1]
        if epoch not in run:
            self._first = epoch if not run else self._first
            run[epoch], self._last = _Epoch(self.rate), max(epoch, self._last)
            self.made += 1
        run[epoch].add(kind, metric, value, batch, first)

    def speed(self, epoch: int, batch: int, value: float) -> None:
        """Note the speed of a batch line whose metrics were added."""
        if epoch in self.runs[-1]:
            self.runs[-1][epoch].speeds[batch] = value

    def _begin_again(self, epoch: int) -> None:
        """Begin an epoch again: a new run begins with epoch 0 (or 1, where epochs count from 1), others resume."""
        if epoch <= min(self._first, 1):
            self.begin()
        else:
            self.go_on(epoch, 0)


class Reader:
    """Lines in, runs out. In the logs of 2016 the rate of an epoch is the one in force when it began."""

    def __init__(self) -> None:
        self._workers: dict[int | None, _Worker] = {}
        self._rate: dict[str, float] = {}
        self._read = self._epochs = 0

    def take(self, line: str) -> None:
        self._read += len(line)
        if self._read > LARGEST or self._epochs > MOST_EPOCHS:
            raise ValueError(f'more than {LARGEST >> 20} MB of text or {MOST_EPOCHS} epochs are none')
        line = plain(line)
        if 'Epoch[' in line:
            self._epoch_line(line)
        if match := re.search(PROCESS, line):
            rates = re.findall(OLD_START, line[match.end() :]) if 'Namespace(' in match[0] else []
            self._process(line, rates)
        elif 'is not finite: back to' in line and (fields := BACK.read(line)):
            self._worker(line).go_on(int(fields['epoch']), int(fields['batch']))
        elif 'Update[' in line and (rates := re.findall(OLD_CHANGE, line)):
            self._set_rate(line, rates)

    def _worker(self, line: str) -> _Worker:
        number = worker_of(line)
        if number not in self._workers:
            self._workers[number] = _Worker(self._rate)
            self._epochs += 1
        return self._workers[number]

    def _named(self, line: str) -> list[_Worker]:
        """Return the worker that a line names. A line without a name is of all of them."""
        return list(self._workers.values()) if worker_of(line) is None else [self._worker(line)]

    def _process(self, line: str, rates: list[str]) -> None:
        for worker in self._named(line):
            worker.process()
        self._set_rate(line, rates)

    def _set_rate(self, line: str, rates: list[str]) -> None:
        for rate in rates[-1:]:
            for worker in self._named(line):
                worker.rate = {'': float(rate)}
            self._rate = {'': float(rate)}

    def _epoch_line(self, line: str) -> None:
        if fields := BEGIN.read(line):
            self._worker(line).begin()
        elif fields := GO_ON.read(line):
            self._worker(line).go_on(int(fields['epoch']), int(fields['batch']))
        for kind in (BATCH, TRAIN, VALIDATION, SPEED, RATE):
            if fields := kind.read(line):
                self._values(kind, line, fields)

    def _values(self, kind: Line, line: str, fields: dict[str, str]) -> None:
        worker, epoch, batch = self._worker(line), int(fields['epoch']), int(fields.get('batch', 0))
        before = worker.made
        if kind in (SPEED, RATE):
            worker.add(kind, epoch, '', number_of(fields['value']))
        else:
            for of, metric, value in pairs_of(kind, line):
                worker.add(of, epoch, metric, value, batch, int(fields.get('first', 1)))
        if kind is BATCH:
            worker.speed(epoch, batch, float(fields['speed']))
        self._epochs += worker.made - before

    def runs(self, name: str) -> list[Run]:
        runs = []
        for number in sorted(self._workers, key=lambda each: -1 if each is None else each):
            counted = [run for run in self._workers[number].runs if any(each.has_values for each in run.values())]
            runs += [_curves(run, name, number, place) for place, run in enumerate(counted, 1)]
        return runs


def _curves(epochs: dict[int, _Epoch], name: str, worker: int | None, number: int) -> Run:
    run = Run(name, {}, {}, {}, {}, worker, number)
    for epoch, seen in sorted(epochs.items()):
        for table, values in (
            (run.train, {**seen.means(), **seen.values[TRAIN]}),
            (run.validation, seen.values[VALIDATION]),
        ):
            for metric, value in values.items():
                table.setdefault(short_name(metric), {})[epoch] = value
        if speeds := list(seen.values[SPEED].values()) or list(seen.speeds.values()):
            run.speed[epoch] = harmonic_mean(speeds)  # each is of equally many pictures, so the times add up
        if seen.values[RATE]:
            run.lr[epoch] = seen.values[RATE]['']
    return run


def stem_of(path: str | Path) -> str:
    """Return the name of a log without folder and endings: resnet-50 of a/resnet-50.log.gz."""
    return re.sub(r'(\.[^.]*)?(\.gz)?$', '', Path(path).name) or Path(path).name
