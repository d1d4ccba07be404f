"""Files that strangers give: read only if they are regular files, and only up to a stated number of bytes.

Opening a FIFO waits for its writer, a device may never end, and a sparse file may claim more bytes than there is
memory.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Any

KINDS = {
    stat.S_IFIFO: 'a FIFO',
    stat.S_IFSOCK: 'a socket',
    stat.S_IFCHR: 'a device',
    stat.S_IFBLK: 'a device',
    stat.S_IFDIR: 'a folder',
}


def check_regular(path: Any, status: os.stat_result) -> None:
    """Raise OSError, whose strerror says what the file is, unless it is a regular file."""
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), 'of an unknown kind')
        raise OSError(errno.EINVAL, f'it is {kind}, not a regular file', os.fspath(path))


def open_regular(path: Any) -> int:
    """Return a descriptor for reading a regular file. It never waits. Raises OSError."""
    check_regular(path, os.stat(path))  # before open(), which acts on some devices
    fd = os.open(path, os.O_RDONLY | getattr(os, 'O_CLOEXEC', 0) | getattr(os, 'O_NONBLOCK', 0))
    try:
        check_regular(path, os.fstat(fd))
    except BaseException:
        os.close(fd)
        raise
    return fd


def read_regular(path: Any, most: int) -> bytes:
    """Return the content of a regular file of at most `most` bytes.

    Raises OSError, whose strerror says what is wrong, for anything else.
    """
    fd = open_regular(path)
    try:
        size, blocks = os.fstat(fd).st_size, []
        read = 0
        while size <= most:
            block = os.read(fd, min(max(size - read, 0) + 1, most - read + 1, 1 << 30))
            read += len(block)
            blocks.append(block)
            size = max(size, read)  # some file systems say 0 for files that hold something
            if not block:
                return blocks[0] if len(blocks) == 2 else b''.join(blocks)
    finally:
        os.close(fd)
    raise OSError(errno.EFBIG, f'it has {size} bytes, more than {most} are not read', os.fspath(path))
