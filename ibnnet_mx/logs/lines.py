"""The format of every log line, as it is written and as it is found again."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

NUMBER = r'[-+]?(?:\d+(?:\.\d*)?(?:e[-+]?\d+)?|nan|inf)'
EPOCH = r'Epoch\[(?P<epoch>\d+)\] '
SAMPLES = r'Speed: (?P<value>\d+(?:\.\d+)?) samples/sec'
VALUE = rf'(?P<value>{NUMBER})(?![\w.+-])'  # not half a number, if two processes wrote into one line
METRIC = rf'(?P<metric>[\w-]+)={VALUE}'


class Line(NamedTuple):
    """One kind of line: how it is written, and how it is found again behind any prefix."""

    text: str
    regex: str

    def write(self, **fields: Any) -> str:
        """Return the line with these fields."""
        return self.text.format(**fields)

    def read(self, line: str) -> dict[str, str] | None:
        """Return the fields of a line as texts; None if it is of another kind."""
        match = re.search(self.regex, line)
        return match.groupdict() if match else None


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
COLOUR = r'\x1b\[[0-9;]*[A-Za-z]'
SHORT = {'top_k_accuracy_5': 'top5', 'cross-entropy': 'ce'}  # as they are asked for; accuracy is accuracy
