"""The files that a command is to write: looked at before its work."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Mapping, Sequence


def spare(given: Sequence[str], written: Mapping[str, str | None]) -> None:
    """ValueError: a file that an option is to write is one of those that are read, or a picture in their class folders.

    given: files and folders that are read. written: {option: file}, None for what is not asked for.
    """
    for option, path in written.items():
        if path is None or not os.path.isfile(path):
            continue
        file = Path(path).resolve()
        for one in given:
            place = Path(one).resolve()
            pictures = place.is_dir() and not any(place.glob('*.rec'))
            if place == file or pictures and place in file.parent.parents:
                raise ValueError(f'{option} {path} would replace what is read from {one}: name another file')


def writable(option: str, path: str) -> None:
    """ValueError: a file that an option is to write cannot be. Its folder is made."""
    if os.path.isdir(path):
        raise ValueError(f'{option} {path} is a folder: name a file')
    folder = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        if os.path.exists(path):
            open(path, 'ab').close()
    except FileExistsError:
        raise ValueError(f'{option} {path} cannot be written: {folder} is no folder; name another file') from None
    except OSError as error:
        raise ValueError(f'{option} {path} cannot be written: {error.strerror}; name another file') from None
