"""Prepare a command for standard streams that are closed, full, lose their reader, or cannot encode all letters."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from typing import Any, Iterator, TextIO, cast


class _Deaf:
    """A stream that drops what it cannot write: nobody reads it, or its disk is full. It is no reason to end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Output(_Deaf):
    """Standard output. An error names it.

    closed: whoever started the command closed it; lost: something was printed nevertheless.
    """

    def __init__(self, stream: TextIO, closed: bool) -> None:
        super().__init__(stream)
        self._closed, self.lost = closed, False

    def write(self, text: str) -> int:
        self.lost = self.lost or self._closed
        with self._named():
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        with self._named():
            self._stream.flush()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:  # options.run() knows what that is
            raise
        except OSError as error:
            raise OSError(error.errno, f'cannot be written: {error.strerror}', 'standard output') from None


def whole() -> None:
    """Open closed standard streams on /dev/null, so that no file gets their numbers and a library's output.

    Letters that stdout cannot encode, for example in file names, are written as \\xe9, as stderr does. Lines that
    stderr does not take are dropped.
    """
    closed: list[str] = []
    for number, name in enumerate(('stdin', 'stdout', 'stderr')):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, 'w' if number else 'r', encoding='utf-8'))  # noqa: SIM115
            closed.append(name)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')
    if sys.stdout is sys.__stdout__ or 'stdout' in closed:
        sys.stdout = cast(TextIO, _Output(cast(TextIO, sys.stdout), 'stdout' in closed))
    if sys.stderr is sys.__stderr__:
        sys.stderr = cast(TextIO, _Deaf(cast(TextIO, sys.stderr)))


def lost() -> bool:
    """Return True if something was printed to a stdout that was closed."""
    return getattr(sys.stdout, 'lost', False)


def owned() -> bool:
    """Return True if the process is that of a command, not of a program that calls one."""
    return isinstance(sys.stderr, _Deaf)


def settle() -> None:
    """Discard what stdout does not take, so that the interpreter does not complain about it at its end."""
    with contextlib.suppress(ValueError):
        try:
            sys.stdout.flush()
        except OSError:
            _discard()


def _discard() -> None:
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def reader_gone() -> bool:
    """Return True if the reader of stdout has gone (`command | head`). The remaining output is discarded."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), select.POLLOUT)
    except (OSError, ValueError):  # a stream in memory has no reader that can go
        return False
    gone = any(event & select.POLLERR for _, event in poll.poll(0))
    if gone:
        _discard()
    return gone
