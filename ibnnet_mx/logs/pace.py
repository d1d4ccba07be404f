"""Estimate how long an epoch and a run still take, from the steps that were done."""

from __future__ import annotations

TOLD_AFTER = 5, 10.0  # steps, seconds: the first estimate is told after either


def in_words(seconds: float) -> str:
    """Return a duration in its two largest units: 48 s, 1 min 40 s, 3 h 5 min, 2 d 4 h."""
    whole = max(round(seconds), 1)
    minutes, hours, days = whole // 60, round(whole / 60) // 60, round(whole / 3600) // 24
    if days:
        return f'{days} d {round(whole / 3600) % 24} h'
    if hours:
        return f'{hours} h {round(whole / 60) % 60} min'
    return f'{minutes} min {whole % 60} s' if minutes else f'{whole} s'


def clock(seconds: float) -> str:
    """Return a duration as a clock shows it: 0:48, 1:40, 3:05:10, and 2 d 4 h of days."""
    whole = max(round(seconds), 0)
    if whole >= 86400:
        return in_words(whole)
    minutes, rest = divmod(whole, 60)
    return f'{minutes // 60}:{minutes % 60:02d}:{rest:02d}' if minutes >= 60 else f'{minutes}:{rest:02d}'


class Pace:
    """The pace of a run. epochs: of the whole run.

    share: the time of a validation as a share of the time of an epoch's steps, until one was measured.

    The first step is not counted, because it compiles the network. Times are seconds of one monotonic clock.
    """

    def __init__(self, epochs: int, share: float = 0.0) -> None:
        self.epochs, self._share = epochs, share
        self._epoch = self._steps = self._at = 0
        self._begin: float | None = None  # of the run
        self._since: float | None = None  # of the counted steps of this epoch
        self._counted = 0
        self._step: float | None = None  # seconds of a step
        self._validation: float | None = None

    def start(self, epoch: int, steps: int, first_step: int, now: float) -> None:
        """Begin an epoch of so many steps, of which first_step are done already."""
        self._epoch, self._steps, self._at, self._counted = epoch, steps, first_step, 0
        self._since = None if self._begin is None else now
        self._begin = now if self._begin is None else self._begin

    def step(self, now: float) -> None:
        """Count a step that is done."""
        self._at += 1
        if self._since is None:
            self._since = now
            return
        self._counted += 1
        self._step = (now - self._since) / self._counted

    def validated(self, epoch: int, seconds: float) -> None:
        """Note how long the validation after an epoch took."""
        self._validation, self._epoch, self._at = seconds, epoch + 1, 0

    def is_due(self, now: float) -> bool:
        """Return True if enough was measured for an estimate to be told."""
        steps, seconds = TOLD_AFTER
        return self._step is not None and (self._counted >= steps or self._elapsed(now) >= seconds)

    def _elapsed(self, now: float) -> float:
        return 0.0 if self._begin is None else now - self._begin

    @property
    def epoch_seconds(self) -> float | None:
        """The seconds of a whole epoch with its validation; None if no step was measured."""
        if self._step is None:
            return None
        steps = self._step * self._steps
        return steps + (steps * self._share if self._validation is None else self._validation)

    def epoch_left(self) -> float | None:
        """Return the seconds that the steps of this epoch still take."""
        return None if self._step is None else self._step * max(self._steps - self._at, 0)

    def run_left(self) -> float | None:
        """Return the seconds that the run still takes, validations included."""
        whole = self.epoch_seconds
        if whole is None or self._step is None:
            return None
        return max(whole * (self.epochs - self._epoch) - self._step * self._at, 0.0)

    def line(self, now: float) -> str:
        """Return the estimate in words. The run: from its begin, or from where it was resumed, to its end."""
        whole, left = self.epoch_seconds or 0.0, self.run_left() or 0.0
        return f'an epoch takes about {in_words(whole)}, the run {in_words(left + self._elapsed(now))}'
