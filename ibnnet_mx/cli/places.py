"""Read which checkpoint is meant: a prefix, or the name of one of its files, and an epoch, or the best one."""

from __future__ import annotations

import argparse
import os
import re

from ibnnet_mx.cli import options

FILE = re.compile(r'(.+)-(?:symbol\.json|(\d{4}|[1-9]\d{4,})\.(?:params|json|states))')
BEST = 'best'


def epoch(text: str) -> int | str:
    """Return the value of --epoch: a number, or 'best'. For argparse."""
    if text == BEST:
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} must be a number such as 4, or {BEST}') from None


def split_name(text: str) -> tuple[str, int | None]:
    """Return (prefix, epoch) of a prefix, or of the name of a checkpoint's file. epoch is None if the name has none."""
    parts = None if os.path.exists(f'{text}-symbol.json') else FILE.fullmatch(text)
    if parts is None:
        return text, None
    return parts[1], None if parts[2] is None else int(parts[2])


def agree(option: str, text: str, epoch_option: str, given: int | str | None) -> tuple[str, int | str | None]:
    """Return (prefix, epoch) of the values of two options. Raises ValueError if the file's name has another epoch."""
    prefix, number = split_name(text)
    if number is not None and given not in (None, number):
        raise ValueError(f'{option} {text} contradicts {epoch_option} {given}: give the prefix {prefix} and the epoch')
    return prefix, given if number is None else number


def choose_epoch(option: str, prefix: str, given: int | str | None) -> int:
    """Return a checkpoint's epoch. None and 'best' mean the best one by validation, which a line on stderr names.

    Raises OptionError for prefix if there is no checkpoint.
    """
    if isinstance(given, int):
        return given
    from ibnnet_mx.checkpoint import Store, best
    from ibnnet_mx.errors import OptionError

    try:
        chosen = best.best_epoch(Store(prefix))
    except OptionError as error:
        raise ValueError(error.told(lambda _: option)) from None
    for line in chosen.passed:
        options.tell(f'{option} {prefix}: {line}')
    if chosen.last or chosen.score is not None:  # the epoch 0 of converted weights is no choice
        options.tell(f'{option} {prefix}: {chosen.line()}')
    return chosen.epoch
