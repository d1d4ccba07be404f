"""The files that a command is to write: looked at before its work, and written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Mapping, Sequence

from ibnnet_mx.errors import OptionError
from ibnnet_mx.files import atomic

MOST_BYTES = 255  # of a file's name, on all usual file systems


def spare_inputs(inputs: Sequence[str], outputs: Mapping[str, str | None]) -> None:
    """Raise OptionError if a file to be written is one that is read, or a picture in a class folder that is read.

    inputs: files and folders that are read. outputs: {option: file}, None if the option is not given.
    """
    for option, path in outputs.items():
        if path is None or not os.path.isfile(path):
            continue
        file = Path(path).resolve()
        for one in inputs:
            place = Path(one).resolve()
            pictures = place.is_dir() and not any(place.glob('*.rec'))
            if place == file or pictures and place in file.parent.parents:
                raise OptionError(option, path, f'would replace what is read from {one}: name another file')


def check_name(option: str, path: str, longest: str = atomic.PART) -> None:
    """Raise OptionError if a file system cannot hold the name with the longest ending that is put behind it."""
    length = len(os.fsencode(os.path.basename(path))) + len(longest)
    if length > MOST_BYTES:
        raise OptionError(option, path, f'is too long by {length - MOST_BYTES} bytes: name a shorter one')


def check_writable(option: str, path: str) -> None:
    """Raise OptionError if the file of an option cannot be written. Its folder is made."""
    check_name(option, path)
    if os.path.isdir(path):
        raise OptionError(option, path, 'is a folder: name a file')
    folder = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        if os.path.exists(path):
            open(path, 'ab').close()
    except FileExistsError:
        raise OptionError(option, path, f'cannot be written: {folder} is no folder; name another file') from None
    except OSError as error:
        raise OptionError(option, path, f'cannot be written: {error.strerror}; name another file') from None


def write_output(option: str, path: str, data: bytes) -> None:
    """Write the file of an option, whole or not at all, and make its folder. Raises OptionError if that fails."""
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        atomic.write_file(path, data)
    except OSError as error:
        why = (error.strerror or str(error)).replace('cannot be written: ', '')
        raise OptionError(option, path, f'cannot be written: {why}; name another file') from None
