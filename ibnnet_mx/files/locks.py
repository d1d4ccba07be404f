"""Locks that end with their process, so that none is ever left to be removed by hand."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import Iterator

from ibnnet_mx.errors import OptionError


def _open(path: str, flags: int) -> int | None:
    """Return the descriptor of the locked file PATH.lock; None if another process holds it."""
    name = f'{path}.lock'
    while True:
        lock = os.open(name, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, flags)
        except BlockingIOError:
            os.close(lock)
            return None
        except OSError:
            pass  # a file system without locks
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), os.stat(name)):
                return lock
        os.close(lock)  # the one that held it has deleted it


def _release(path: str, lock: int) -> None:
    with contextlib.suppress(OSError):
        os.unlink(f'{path}.lock')
    os.close(lock)


@contextlib.contextmanager
def waiting(path: str) -> Iterator[None]:
    """Hold PATH.lock in a `with`. A second process, or thread, waits until it ends. Raises OSError if the lock cannot
    be written.
    """
    lock = _open(path, fcntl.LOCK_EX)
    assert lock is not None
    try:
        yield
    finally:
        _release(path, lock)


@contextlib.contextmanager
def alone(path: str, option: str, value: str, way_out: str) -> Iterator[None]:
    """Hold PATH.lock in a `with`, or raise OptionError for `option` with its value, which names the process that holds
    it.

    way_out: what the user can do, such as 'wait for it, or name another folder'. Raises OSError if the lock cannot be
    written.
    """
    lock = _open(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if lock is None:
        raise OptionError(option, value, f'is in use by {_holder(path)}: {way_out}')
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f'{os.getpid()} {os.uname().nodename}\n'.encode(), 0)
        yield
    finally:
        _release(path, lock)


def _holder(path: str) -> str:
    """Return the process that holds a lock, as it has written itself down."""
    with contextlib.suppress(OSError, ValueError), open(f'{path}.lock', encoding='utf-8', errors='replace') as file:
        number, _, host = file.read(300).strip().partition(' ')
        return f'process {int(number)}' + ('' if host == os.uname().nodename else f' of {host!r}')
    return 'another process'
