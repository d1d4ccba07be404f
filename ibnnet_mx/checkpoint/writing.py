"""Write the files of a checkpoint: by one process, and all of them are on the disk before the first gets its name."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping

from ibnnet_mx.errors import OptionError
from ibnnet_mx.files import locks, outputs
from ibnnet_mx.files.atomic import AtomicFile

LONGEST = '-symbol.json.part'  # and no ending of a checkpoint has more bytes, up to a million epochs


@contextlib.contextmanager
def alone(prefix: str, folder: Path) -> Iterator[None]:
    """Keep other processes from writing checkpoints of a prefix, in a `with`. Make its folder, which stays if it is
    used.

    Raises OptionError for model_prefix, also if the folder cannot be made.
    """
    outputs.check_name('model_prefix', prefix, LONGEST)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.callback(_remove_empty, missing)
            lock = locks.alone(prefix, 'model_prefix', prefix, 'wait for it, or name another prefix')
            stack.enter_context(lock)
        except OSError as error:
            raise OptionError('model_prefix', prefix, f': {error.strerror}: {error.filename}') from None
        yield


def _remove_empty(folders: Iterable[Path]) -> None:
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


class _Hashed:
    """A sealed file that waits for its name, with its size and SHA-256."""

    def __init__(self, path: Path, pieces: Iterable[Any]) -> None:
        self.file, digest, size = AtomicFile(path), hashlib.sha256(), 0
        try:
            for piece in pieces:
                self.file.write(piece)
                digest.update(piece)
                size += memoryview(piece).nbytes
            self.file.seal()
        except BaseException:
            self.file.drop()
            raise
        self.facts = {'bytes': size, 'sha256': digest.hexdigest()}


def write_files(
    contents: Mapping[Path, Iterable[Any]],
    last: Path,
    last_of: Callable[[dict[str, Any]], bytes],
    before_names: Callable[[], None],
) -> None:
    """Write files of pieces {path: pieces}, then `last`, which gets its name last.

    last_of: function {file name: its size and SHA-256} -> bytes of `last`. before_names: called when all bytes are on
    the disk and no file has its name yet. OSError names the file; files that have no name yet are deleted then.
    """
    written: list[_Hashed] = []
    try:
        for path, pieces in contents.items():
            written.append(_Hashed(path, pieces))
        facts = {path.name: file.facts for path, file in zip(contents, written)}
        written.append(_Hashed(last, [last_of(facts)]))
        before_names()
        for file in written:
            file.file.commit()
    except BaseException:
        for file in written:
            file.file.drop()
        raise
