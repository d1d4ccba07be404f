"""The standard streams of a command, which who started it may have closed, leave early, or give too few letters."""

from __future__ import annotations

import io
import os
import select
import sys


def whole() -> None:
    """Opens on nothing what is closed of the three, lest a file or the words of a library take its number.

    What the encoding of the output lacks (a file's name may hold anything) is written as \\xe9, as stderr does it.
    """
    for number, name in enumerate(('stdin', 'stdout', 'stderr')):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, 'w' if number else 'r', encoding='utf-8'))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')


def reader_gone() -> bool:
    """Return True if the reader of stdout has gone (`command | head`). The remaining output is discarded."""
    paper = select.poll()
    try:
        paper.register(sys.stdout.fileno(), select.POLLOUT)
    except (OSError, ValueError):  # a stream in memory, which nobody can leave
        return False
    gone = any(event & select.POLLERR for _, event in paper.poll(0))
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone
