"""Files that are written whole or not at all. No other file of the package renames or syncs.

The bytes go to PATH.part first. They are on the disk before PATH.part is renamed to PATH. So a full disk, a signal or a
power cut leaves the old file, or no file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import IO, Any, Iterable, Iterator, Union

PathName = Union[str, 'os.PathLike[str]']
PART = '.part'  # the ending of a file that is not finished


class AtomicFile:
    """A file that grows as PATH.part. commit() gives it its name; drop() deletes it.

    In a `with` it is committed at the end, and dropped after an error. OSError names PATH.
    """

    def __init__(self, path: PathName) -> None:
        self.path = os.fspath(path)
        self.part = self.path + PART
        with self._named():
            self._file: IO[bytes] = os.fdopen(_open_alone(self.part), 'wb')  # closed by seal or drop

    def write(self, data: Any) -> None:
        """Append bytes."""
        with self._named():
            self._file.write(data)

    def seal(self) -> None:
        """Bring all bytes to the disk and close the file, which keeps its name PATH.part."""
        if not self._file.closed:
            with self._named():
                sync(self._file)
                self._file.close()

    def commit(self) -> None:
        """Seal the file and rename it to PATH, in place of an older one."""
        self.seal()
        with self._named():
            rename(self.part, self.path)

    def close(self) -> None:
        """Close the file as it is, which keeps its name PATH.part."""
        with contextlib.suppress(OSError):  # a full disk does not take the rest of the buffer
            self._file.close()

    def drop(self) -> None:
        """Close and delete PATH.part. The file at PATH stays."""
        self.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.part)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # the error of a full disk names no file
            raise OSError(error.errno, f'cannot be written: {error.strerror}', self.path) from None

    def __enter__(self) -> AtomicFile:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is not None:
            self.drop()
            return
        try:
            self.commit()
        except BaseException:
            self.drop()
            raise


def _open_alone(part: str) -> int:
    """Return a descriptor of the empty file `part`, which no other process writes. A link of that name is deleted.

    Raises OSError while another process has the file.
    """
    while True:
        try:
            file = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if error.errno != errno.ELOOP or not os.path.islink(part):
                raise
            os.unlink(part)
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise OSError(errno.EBUSY, 'another process is writing it') from None
        except OSError:
            pass  # a file system without locks
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), os.stat(part)):
                os.ftruncate(file, 0)
                return file
        os.close(file)  # the other process has just given it its name


def write_file(path: PathName, data: bytes | Iterable[bytes]) -> None:
    """Write bytes, or the pieces of an iterable, to a file. OSError names the file; the old one is left whole."""
    with AtomicFile(path) as file:
        for piece in (data,) if isinstance(data, (bytes, bytearray, memoryview)) else data:
            file.write(piece)


def sync(file: IO[Any]) -> None:
    """Bring what was written to an open file to the disk."""
    file.flush()
    os.fsync(file.fileno())


def rename(old: PathName, new: PathName) -> None:
    """Rename a file, in place of an older `new`, and bring the change of the folder to the disk."""
    os.replace(old, new)
    folder = os.open(Path(new).absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that syncs no folders
            raise
    finally:
        os.close(folder)
