"""Prepare a command for standard streams that are closed, lose their reader, or cannot encode all letters."""

from __future__ import annotations

import io
import os
import select
import sys


def whole() -> None:
    """Open closed standard streams on /dev/null, so that no file gets their numbers and a library's output.

    Letters that stdout cannot encode, for example in file names, are written as \\xe9, as stderr does.
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
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), select.POLLOUT)
    except (OSError, ValueError):  # a stream in memory has no reader that can go
        return False
    gone = any(event & select.POLLERR for _, event in poll.poll(0))
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone
