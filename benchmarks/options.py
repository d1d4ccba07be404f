"""What the benchmarks' commands share: kinds of arguments, and checks of what was given."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

BUSY = 0.5  # processes that run or want to, from which on it is said


def positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} must be a whole number above 0')
    return int(text)


def several(text):
    """'2,32' -> (2, 32)"""
    return tuple(dict.fromkeys(positive(part.strip()) for part in text.split(',')))


def words(text):
    return tuple(dict.fromkeys(part.strip() for part in text.split(',')))


def known(option, given, there):
    """ValueError: words of an option that are none of those."""
    unknown = [word for word in given if word not in there]
    if unknown:
        raise ValueError(f'{option} {",".join(unknown)} is not known: use some of {",".join(there)}')


def in_a_folder(option, path):
    """ValueError before anything is measured that could not be written later."""
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise ValueError(f'{option} {path}: name a file in a folder that exists')


def of_steps(add, models, ways, peers, told):
    """The options of benchmarks/training and benchmarks/memory. told: {option: what its help ends with}."""
    add('--quick', action='store_true', help=f'a few minutes: {told["quick"]}')
    add('--models', type=words, metavar='A,B', help=f'some of {", ".join(models)} (all)')
    add('--ways', type=words, metavar='A,B', help=f'some of {", ".join(ways)} (all)')
    rounds = f'how often all is measured; what is told is the median (3, quick {told["rounds"]})'
    add('--rounds', type=positive, metavar='N', help=rounds)
    add('--json', type=Path, metavar='FILE', help=f'{told["json"]} by network; written as they come')
    add('--peers', type=Path, default=peers, metavar='DIR', help="the others' environments (benchmarks/.peers)")
    add('--batch', type=positive, metavar='N', help=f'pictures of a step, for a trial ({told["batch"]})')
    add('--size', type=positive, metavar='N', help=f'height and width of a picture, for a trial ({told["size"]})')
    add('--steps', type=positive, metavar='N', help=f'that are timed, of a measurement ({told["steps"]})')


def tell(text):
    print(text, file=sys.stderr, flush=True)


def warn_if_busy():
    load = os.getloadavg()[0]
    if load > BUSY:
        tell(
            f'other work runs here (the load of the last minute was {load:.1f}): '
            'threads wait for each other, the numbers mean little'
        )
