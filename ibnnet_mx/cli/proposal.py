"""The proposal of ibnnet quickstart: network, first weights, size and epochs for a folder of pictures and a time."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

MODEL, PRETRAINED = 'resnet_ibn_a', 'cifar_resnet20_ibn_a'
SIZES = (64, 32)  # the better one first; the weights were trained with 32
ENOUGH = 8  # epochs that the larger size must have in the time
LEAST, MOST = 3, 20  # epochs
FIXED = 30  # seconds for packing, starting the commands, evaluation and pictures
BESIDE = 1.2  # time of an epoch, as a multiple of its steps' forward and backward passes
FORWARD = 1 / 3  # time of a picture in validation, as a share of its time in training
SHARE = 0.8  # part for training if there is no validation side
BATCHES = (64, 32, 16)  # sizes; the first with which an epoch has at least STEPS steps is taken
STEPS = 10
FEW = 10  # pictures of a class


class Survey(NamedTuple):
    """The pictures of a folder. classes: {name: count of both sides}. usual: their Size, None if none can be read.

    train, val: counts. has_val: the folder has a validation side of its own. notes: lines about files left out.
    """

    classes: dict[str, int]
    train: int
    val: int
    has_val: bool
    usual: Any
    notes: list[str]

    def lines(self, folder: str) -> list[str]:
        """Return the lines that tell it."""
        about = f' of about {self.usual.sides} pixels' if self.usual else ''
        counts = sorted(self.classes.items(), key=lambda item: item[1])
        (fewest, low), (most, high) = counts[0], counts[-1]
        span = f'{low:,} each' if low == high else f'from {low:,} ({fewest}) to {high:,} ({most})'
        lines = [f'{folder}: {self.train + self.val:,} pictures{about} in {len(counts):,} classes, {span}']
        few = [name for name, count in counts if count < FEW]
        if few:
            more = f' and {len(few) - 3} more' if len(few) > 3 else ''
            lines.append(f'fewer than {FEW} pictures: {", ".join(few[:3])}{more}; more of them would help')
        kind = 'the folder has them apart' if self.has_val else 'one of five of each class'
        lines.append(f'validation: {self.val:,} pictures ({kind}), which are not trained on')
        return [*lines, *self.notes]


class Proposal(NamedTuple):
    """A way to train: size of the pictures, batch size, epochs, and the seconds of the whole quickstart.

    scratch: the weights are drawn, not taken from CIFAR-10.
    """

    size: int
    batch_size: int
    epochs: int
    seconds: float
    scratch: bool

    def lines(self) -> list[str]:
        """Return the lines that tell it."""
        weights = 'drawn by the seed' if self.scratch else 'those of CIFAR-10 that come along'
        return [
            f'network: {PRETRAINED}, pictures of {self.size}x{self.size} pixels; first weights: {weights}',
            f'training: {self.epochs} epochs in batches of {self.batch_size}',
            f'time on this machine: about {duration(self.seconds)}',
        ]

    def options(self) -> list[str]:
        """Return the words of ibnnet train that stand for it."""
        start = ['--model', MODEL, '--depth', '20', '--lr', '0.2']
        if not self.scratch:
            start = ['--pretrained', PRETRAINED, '--lr', '0.05']
        numbers = ['--batch-size', str(self.batch_size), '--epochs', str(self.epochs)]
        return ['--image-size', str(self.size), '--recipe', 'cifar10_fast', *start, *numbers]


def duration(seconds: float) -> str:
    """Return seconds in words: 40 seconds, 3 minutes."""
    if seconds < 90:
        return f'{10 * max(round(seconds / 10), 1)} seconds'
    return f'{round(seconds / 60)} minutes'


def survey_of(source: Any) -> Survey:
    """Return the Survey of a recordio Source."""
    counts = Counter(int(sample.labels[0]) for sample in [*source.train, *source.val])
    classes = {name: counts[label] for label, name in enumerate(source.classes)}
    total = len(source.train)
    train = total if source.val else int(SHARE * total)
    val = len(source.val) or total - train
    return Survey(classes, train, val, bool(source.val), source.usual, list(source.notes))


def propose(survey: Survey, seconds_of: Any, minutes: float, scratch: bool) -> Proposal:
    """Return the Proposal for a time.

    seconds_of: function (size, batch size) -> measured seconds of forward and backward pass for a picture.
    """
    batch = next((rows for rows in BATCHES if survey.train >= STEPS * rows), BATCHES[-1])
    wanted = [size for size in SIZES if survey.usual is None or size <= max(min(survey.usual), SIZES[-1])]
    for size in wanted:
        second = seconds_of(size, batch)
        epoch = second * (BESIDE * survey.train + FORWARD * survey.val)
        epochs = int(min((60 * minutes - FIXED) / epoch, MOST))
        if epochs >= ENOUGH or size == wanted[-1]:
            break
    epochs = max(epochs, LEAST)
    return Proposal(size, batch, epochs, FIXED + epochs * epoch, scratch)
