"""The format of every log line, as it is written and as it is found again."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

NUMBER = r'[-+]?(?:\d+(?:\.\d*)?(?:e[-+]?\d+)?|nan|inf)'
EPOCH = r'Epoch\[(?P<epoch>\d+)\] '
SAMPLES = r'Speed: (?P<value>\d+(?:\.\d+)?) samples/sec'
METRIC = rf'(?P<metric>[\w-]+)=(?P<value>{NUMBER})'


class Line(NamedTuple):
    """One kind of line: how it is written and how it is found again, behind any prefix."""

    text: str
    regex: str

    def write(self, **fields: Any) -> str:
        return self.text.format(**fields)

    def read(self, line: str) -> dict[str, str] | None:
        found = re.search(self.regex, line)
        return found.groupdict() if found else None


BATCH = Line(
    'Epoch[{epoch}] Batch [{batch}]\tSpeed: {speed:.2f} samples/sec\tTrain-{metric}={value:.6f}',
    EPOCH + r'Batch \[(?P<batch>\d+)\]\s+' + SAMPLES.replace('value', 'speed') + r'\s+Train-' + METRIC,
)
TRAIN = Line('Epoch[{epoch}] Train-{metric}={value:.6f}', EPOCH + 'Train-' + METRIC)
SPEED = Line('Epoch[{epoch}] Speed: {value:.2f} samples/sec', EPOCH + SAMPLES)
RATE = Line('Epoch[{epoch}] Learning-rate={value:.9g}', EPOCH + rf'Learning-rate=(?P<value>{NUMBER})')
TIME = Line('Epoch[{epoch}] Time cost={value:.3f}', EPOCH + rf'Time cost=(?P<value>{NUMBER})')
VALIDATION = Line('Epoch[{epoch}] Validation-{metric}={value:.6f}', EPOCH + 'Validation-' + METRIC)
VALIDATION_TIME = Line('Epoch[{epoch}] Validation time={value:.3f}', EPOCH + rf'Validation time=(?P<value>{NUMBER})')
# Only the logs of 2016 hold these two: the rate at the start of a run, and its changes within an epoch.
OLD_RATE = rf'(?:Namespace\(.*\blr=|Update\[\d+\]: Change learning rate to )(?P<rate>{NUMBER})'
COLOUR = r'\x1b\[[0-9;]*[A-Za-z]'
SHORT = {'top_k_accuracy_5': 'top5', 'cross-entropy': 'ce'}  # as they are asked for; accuracy is accuracy
