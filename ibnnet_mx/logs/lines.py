"""The format of every log line, as it is written and as it is read back."""

from __future__ import annotations

import re
from typing import Any, Iterator, NamedTuple

NUMBER = r'[-+]?(?:\d+(?:\.\d*)?(?:e[-+]?\d+)?|nan|inf)'
EPOCH = r'Epoch\[(?P<epoch>\d+)\] '
SAMPLES = r'Speed: (?P<value>\d+(?:\.\d+)?) samples/sec'
# Not half a number, if two processes wrote into one line; 0,5 is how some languages write 0.5.
VALUE = rf'(?P<value>[-+]?\d+,\d+(?![\w.+,-])|{NUMBER}(?![\w.+-]|,\d))'
METRIC = rf'(?P<metric>[^\s=,;:]+)={VALUE}'


class Line(NamedTuple):
    """One kind of line: how it is written, and how it is read back behind any prefix."""

    text: str
    regex: str

    def write(self, **fields: Any) -> str:
        """Return the line with these fields."""
        return self.text.format(**fields)

    def read(self, line: str) -> dict[str, str] | None:
        """Return the fields of a line as texts; None if it is of another kind."""
        match = re.search(self.regex, line)
        return {name: text for name, text in match.groupdict().items() if text is not None} if match else None


# A batch line of mxnet 1.x has a range of batches, no Train-, and all metrics: Batch [20-40] ... accuracy=0.5 ce=1.2
BATCH = Line(
    'Epoch[{epoch}] Batch [{batch}]\tSpeed: {speed:.2f} samples/sec\tTrain-{metric}={value:.6f}',
    EPOCH
    + r'Batch ?\[(?:(?P<first>\d+)-)?(?P<batch>\d+)\]\s+'
    + SAMPLES.replace('value', 'speed')
    + r'\s+(?:Train-)?'
    + METRIC,
)
TRAIN = Line('Epoch[{epoch}] Train-{metric}={value:.6f}', EPOCH + 'Train-' + METRIC)
SPEED = Line('Epoch[{epoch}] Speed: {value:.2f} samples/sec', EPOCH + SAMPLES)
RATE = Line('Epoch[{epoch}] Learning-rate={value:.9g}', EPOCH + rf'Learning-rate={VALUE}')
TIME = Line('Epoch[{epoch}] Time cost={value:.3f}', EPOCH + rf'Time cost={VALUE}')
VALIDATION = Line('Epoch[{epoch}] Validation-{metric}={value:.6f}', EPOCH + 'Validation-' + METRIC)
VALIDATION_TIME = Line('Epoch[{epoch}] Validation time={value:.3f}', EPOCH + rf'Validation time={VALUE}')
BEGIN = Line('Epoch[{epoch}] A run begins', EPOCH + 'A run begins')
GO_ON = Line(
    'Epoch[{epoch}] The run goes on after batch {batch}', EPOCH + r'The run goes on after batch (?P<batch>\d+)'
)
# A run that goes back to its last checkpoint says so in these words, in older logs too.
BACK = Line(
    'back to batch {batch} of epoch {epoch}', r'is not finite: back to batch (?P<batch>\d+) of epoch (?P<epoch>\d+)'
)

PROCESS = r"\bNamespace\(|[:,] \{'name': "  # a process of 2016 or of this project tells its options
OLD_START, OLD_CHANGE = rf'\blr=({NUMBER})', rf'Update\[\d+\]: Change learning rate to ({NUMBER})'  # in 2016
COLOUR = r'\x1b\[[0-9;]*[A-Za-z]'
SHORT = {'top_k_accuracy_5': 'top5', 'cross-entropy': 'ce'}  # as they are asked for; accuracy is accuracy
FRACTIONS = {'err-top1': 'accuracy', 'err-top5': 'top5'}  # GluonCV writes errors: 1 - accuracy

_GLUONCV = re.compile(r'\[Epoch (\d+)\] (training: |validation: |speed: )')
_SIDES = {'training: ': 'Train-', 'validation: ': 'Validation-', 'speed: ': 'Speed: '}
_PAIR = re.compile(r'(?<![^\s,;])(?P<side>Train-|Validation-)?' + METRIC)
_WORKER = re.compile(
    r'\bNode\[(\d+)\]|\bworker[ _-]?(\d+)\b|\[(?:\d+,)?(\d+)\]<std(?:out|err)>|\brank[ _=:-]?(\d+)\b', re.I
)
_REST = re.compile(r'Epoch\[|Namespace\(|Update\[|\{')  # from here on a line is no beginning
_NAMES = {name: name for name in ('accuracy', 'top5', 'ce')}


def short_name(metric: str) -> str:
    """Return the name by which a metric of a log is asked for: top5 for top_k_accuracy_5, accuracy for Accuracy."""
    low = metric.lower()
    return SHORT.get(low) or _NAMES.get(low, metric)


def number_of(text: str) -> float:
    """Return the number that a VALUE tells; a decimal comma is a point."""
    return float(text.replace(',', '.'))


def plain(line: str) -> str:
    """Return a line without colours, in this project's form if GluonCV wrote it."""
    line = re.sub(COLOUR, '', line) if '\x1b' in line else line
    line = line.replace('#011', '\t')  # so syslog and CloudWatch write a tab
    return _GLUONCV.sub(lambda part: f'Epoch[{part[1]}] {_SIDES[part[2]]}', line) if '[Epoch ' in line else line


def worker_of(line: str) -> int | None:
    """Return the number of the worker that a line's beginning names, such as Node[1] or [worker 1]; None for none."""
    match = _WORKER.search(_REST.split(line, 1)[0])
    return int(next(number for number in match.groups() if number)) if match else None


def pairs_of(kind: Line, line: str) -> Iterator[tuple[Line, str, float]]:
    """Yield (kind, metric, value) for each metric of a BATCH, TRAIN or VALIDATION line."""
    match = re.search(kind.regex, line)
    start = match.start('metric') if match else len(line)
    for side in ('Train-', 'Validation-'):
        start -= len(side) if line[:start].endswith(side) else 0
    end = line.find('Epoch[', start)  # two lines in one
    for pair in _PAIR.finditer(line, start, len(line) if end < 0 else end):
        of = {'Train-': TRAIN, 'Validation-': VALIDATION}.get(pair['side'], kind) if kind is not BATCH else kind
        value = number_of(pair['value'])
        if pair['metric'] in FRACTIONS:
            yield of, FRACTIONS[pair['metric']], 1 - value
        else:
            yield (RATE, '', value) if pair['metric'] == 'lr' else (of, pair['metric'], value)


def decimals_of(line: str) -> int:
    """Return how many digits behind the point the number has that ends a line with a metric; 0 if there is none."""
    match = re.search(r'=[-+]?\d+[.,](\d*)\s*$', line) if 'Epoch[' in line and 'Time cost' not in line else None
    return len(match[1]) if match else 0
