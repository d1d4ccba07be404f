"""Networks in archives, as SageMaker's image classification and AutoGluon leave them: symbol and arrays in a tar."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tarfile
import tempfile
from typing import Iterator

SUFFIXES = ('.tar.gz', '.tgz', '.tar')
SYMBOL = re.compile(r'(?:.*/)?([^/]+)-symbol\.json')
ARRAYS = re.compile(r'(?:.*/)?([^/]+)-(\d{4,})\.params')
GROWTH, LEAST = 20, 1 << 28  # a compressed archive may hold so many times its size, or so many bytes


def _members(tar: tarfile.TarFile, path: str) -> dict[str, tarfile.TarInfo]:
    """Return {file name without folders: member} of the symbol and the newest arrays. Raises ValueError."""
    symbols: dict[str, tarfile.TarInfo] = {}
    arrays: dict[str, dict[int, tarfile.TarInfo]] = {}
    for member in tar:
        symbol, numbers = SYMBOL.fullmatch(member.name), ARRAYS.fullmatch(member.name)
        if symbol and member.isreg():
            symbols[symbol[1]] = member
        if numbers and member.isreg():
            arrays.setdefault(numbers[1], {})[int(numbers[2])] = member
    names = sorted(set(symbols) & set(arrays))
    if len(names) != 1:
        listed = ', '.join(names) or 'none'
        raise ValueError(f'{path} must hold one network, NAME-symbol.json with NAME-0000.params; it holds {listed}')
    (name,) = names
    epoch = max(arrays[name])
    return {f'{name}-symbol.json': symbols[name], f'{name}-{epoch:04d}.params': arrays[name][epoch]}


@contextlib.contextmanager
def unpacked(path: str) -> Iterator[str]:
    """Unpack the network of an archive into a temporary folder, in a `with`. Its value is the .params file there.

    The newest epoch is taken. Names of members are no paths. Raises ValueError if it is no such archive, is damaged, or
    holds more than its bound.
    """
    bound = max(GROWTH * os.path.getsize(path), LEAST)
    with tempfile.TemporaryDirectory(prefix='ibnnet_mx-') as folder:
        try:
            with tarfile.open(path) as tar:
                members = _members(tar, path)
                size = sum(member.size for member in members.values())
                if size > bound or any(member.issparse() for member in members.values()):
                    raise ValueError(f'{path} has {size} bytes when it is unpacked, or is sparse: unpack it yourself')
                for name, member in members.items():
                    source = tar.extractfile(member)
                    assert source is not None  # it is a regular file
                    with open(os.path.join(folder, name), 'wb') as file:
                        shutil.copyfileobj(source, file)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise ValueError(f'{path} is no archive of a network, or is damaged ({error})') from None
        yield os.path.join(folder, next(name for name in members if name.endswith('.params')))
