"""Pictures inside archives: tars of class folders, and CIFAR-10's own files. Nothing is unpacked to named files."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import posixpath
import tarfile
import tempfile
from collections import Counter
from functools import partial
from typing import Any, BinaryIO, Callable

import numpy as np

from ibnnet_mx.files.pickles import PickleError, load_arrays
from ibnnet_mx.recordio.folders import from_names
from ibnnet_mx.recordio.lists import parse_names
from ibnnet_mx.recordio.pixels.pictures import MAX_BYTES
from ibnnet_mx.recordio.sources import ArrayStore, Picture, Sample, Source, SourceError, Store

CIFAR_TRAIN = tuple(f'data_batch_{i}' for i in range(1, 6))
CIFAR_TEST = 'test_batch'
CIFAR_ROW = 3 * 32 * 32
UNPACK: dict[bytes, Callable[..., Any]] = {b'\x1f\x8b': gzip.open, b'BZ': bz2.open, b'\xfd7': lzma.open}
UNPACKED, UNPACKED_LEAST = 50, 1 << 28  # a compressed tar may grow so many times, or to so many bytes


class TarStore(Store):
    """Members of a tar by their place in the file, so that no member is searched twice."""

    def __init__(self, file: BinaryIO, stamp: tuple[int, ...]) -> None:
        self.file, self.archive = file, stamp

    def fetch(self, sample: Sample) -> Picture:
        """Return the bytes of a member."""
        offset, size = sample.key
        return os.pread(self.file.fileno(), size, offset)

    def stamp(self, sample: Sample) -> tuple[int, ...]:
        """Return size and time of the archive, and the member's place in it."""
        return (*self.archive, *sample.key)


def open_tar(path: str) -> BinaryIO:
    """Return the tar's bytes as a file with random access. A compressed tar is unpacked to a file without a name.

    Raises SourceError if it cannot be unpacked, or would become more than UNPACKED times as large.
    """
    file: BinaryIO = open(path, 'rb')  # noqa: SIM115  (the store keeps it)
    unpack = UNPACK.get(file.read(2))
    if unpack is None:
        file.seek(0)
        return file
    file.close()
    whole = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        with unpack(path) as packed:
            _copy(packed, whole, path)
    except (EOFError, OSError, lzma.LZMAError) as error:
        whole.close()
        if getattr(error, 'errno', None) in (errno.ENOSPC, errno.EDQUOT):
            raise SourceError(
                f'{path} cannot be unpacked: no room in {tempfile.gettempdir()}; set TMPDIR to a larger folder, or '
                'unpack it first'
            ) from None
        raise SourceError(f'{path} cannot be unpacked ({error}): is it whole?') from None
    whole.seek(0)
    return whole  # type: ignore[return-value]


def _copy(packed: Any, whole: Any, path: str) -> None:
    """Copy the unpacked bytes of a tar. Raises SourceError beyond the bound."""
    bound, size = max(UNPACKED * os.path.getsize(path), UNPACKED_LEAST), 0
    while block := packed.read(1 << 20):
        size += len(block)
        if size > bound:
            whole.close()
            raise SourceError(
                f'{path} becomes more than {UNPACKED} times as large when it is unpacked ({bound >> 20} MB): unpack it '
                'yourself if you trust it, and name the folder'
            )
        whole.write(block)


def from_archive(path: str, domain: str | None = None) -> Source:
    """Return the Source of a tar: class folders, or CIFAR-10's archive. Raises SourceError for any other file.

    domain: as in domains.choose_domains().
    """
    file = open_tar(path)
    try:
        with tarfile.open(fileobj=file, mode='r:') as tar:
            members, notes = _members(tar)
            end = os.pread(file.fileno(), tarfile.BLOCKSIZE, tar.offset)
    except tarfile.TarError as error:
        raise SourceError(f'SOURCE {path} is no list, folder or tar ({error})') from None
    except (OSError, ValueError, OverflowError, MemoryError) as error:  # sizes that lie
        raise SourceError(f'{path} is truncated or damaged ({error})') from None
    if end != bytes(tarfile.BLOCKSIZE):  # tarfile takes a damaged header, or none, for the end
        raise SourceError(f'{path} is truncated or damaged: it has no end mark')
    by_base = {posixpath.basename(name): place for name, place in members.items()}
    cifar = cifar_files(by_base)
    if cifar:
        return from_cifar(cifar, path, lambda name: os.pread(file.fileno(), by_base[name][1], by_base[name][0]))
    status = os.stat(path)
    store = TarStore(file, (status.st_size, status.st_mtime_ns))
    source = from_names(list(members), path, store, list(members.values()), domain)
    return source._replace(notes=source.notes + notes)


def _members(tar: tarfile.TarFile) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Return {name: (offset, size)} of the files, and notes about members that are left out.

    A hard link has the place of the file that it names. Sparse files and those above MAX_BYTES are left out.
    """
    places: dict[str, tuple[int, int]] = {}
    left_out: Counter[str] = Counter()
    for member in tar:
        if member.islnk() and member.linkname in places:
            places[member.name] = places[member.linkname]
        elif member.isreg() and (member.issparse() or member.size > MAX_BYTES):
            left_out['sparse files' if member.issparse() else f'files above {MAX_BYTES >> 20} MB'] += 1
        elif member.isreg():
            places[member.name] = member.offset_data, member.size
        elif not member.isdir():
            left_out['links, devices or FIFOs'] += 1
    return places, [f'{count} members that are {kind} are left out' for kind, count in sorted(left_out.items())]


def cifar_files(names: Any) -> list[str]:
    """Return the six files of CIFAR-10's python or binary version in the order of the records; [] if one is missing."""
    for suffix in ('', '.bin'):
        if CIFAR_TRAIN[0] + suffix in names:
            return [name + suffix for name in (*CIFAR_TRAIN, CIFAR_TEST)]
    return []


def cifar_folder(folder: str) -> Source | None:
    """Return the Source of CIFAR-10's unpacked archive, in `folder` or in the folder that the archive makes; else
    None.
    """
    for inner in ('', 'cifar-10-batches-py', 'cifar-10-batches-bin'):
        path = os.path.join(folder, inner) if inner else folder
        files = cifar_files(os.listdir(path)) if os.path.isdir(path) else []
        if files:
            return from_cifar(files, path, partial(_read_file, path))
    return None


def _read_file(folder: str, name: str) -> bytes:
    with open(os.path.join(folder, name), 'rb') as file:
        return file.read()


def from_cifar(files: list[str], where: str, read: Callable[[str], bytes]) -> Source:
    """Return the Source of CIFAR-10's files.

    A label is the archive's class number; the archive's names are sorted. The picture's name is its batch and its row.
    read: file name -> bytes.
    """
    pixels, sides = [], []
    count = 0
    for file in files:
        try:
            rows, labels = _binary(read(file)) if file.endswith('.bin') else _python(read(file))
            meta = 'batches.meta.txt' if file.endswith('.bin') else 'batches.meta'
            classes = _class_names(read(meta), meta)
        except (KeyError, FileNotFoundError) as error:
            raise SourceError(f'{where}: {error} is missing: CIFAR-10 has {", ".join(files)}') from None
        except SourceError as error:
            raise SourceError(f'{where}: {file} {error}') from None
        if len(labels) and max(labels) >= len(classes):
            raise SourceError(f'{where}: {file} has the label {max(labels)}, {meta} {len(classes)} names')
        batch = file.split('.')[0]
        names = [f'{batch}/{row:05d}' for row in range(len(labels))]
        sides.append([Sample((float(y),), name, count + i) for i, (y, name) in enumerate(zip(labels, names))])
        pixels.append(rows.reshape(-1, 3, 32, 32)[:, ::-1].transpose(0, 2, 3, 1))
        count += len(labels)
    train = [sample for side in sides[:-1] for sample in side]
    return Source(train, sides[-1], classes, ArrayStore(np.concatenate(pixels)), [], cifar=True, is_archive=True)


def _binary(data: bytes) -> tuple[np.ndarray, list[int]]:
    if not data or len(data) % (1 + CIFAR_ROW):
        raise SourceError(f'has {len(data)} bytes, no multiple of {1 + CIFAR_ROW}')
    table = np.frombuffer(data, np.uint8).reshape(-1, 1 + CIFAR_ROW)
    return table[:, 1:], table[:, 0].tolist()


def _unpickle(data: bytes) -> dict[str, Any]:
    try:
        content = load_arrays(data)
        return {key.decode() if isinstance(key, bytes) else key: value for key, value in content.items()}
    except PickleError as error:
        asks = 'asks for' in str(error)
        text = (
            f'{error}, which CIFAR-10 does not need: refused'
            if asks
            else str(error).replace('no pickle', 'no CIFAR-10 pickle')
        )
        raise SourceError(text) from None
    except (AttributeError, UnicodeDecodeError) as error:
        raise SourceError(f'is no CIFAR-10 pickle ({type(error).__name__}: {error})') from None


def _python(data: bytes) -> tuple[np.ndarray, list[int]]:
    batch = _unpickle(data)
    rows: Any = batch.get('data')
    labels: Any = batch.get('labels')
    good = isinstance(labels, list) and all(type(label) is int and label >= 0 for label in labels)
    if not good or not isinstance(rows, np.ndarray) or (rows.dtype, rows.shape) != (np.uint8, (len(labels), CIFAR_ROW)):
        raise SourceError(f'does not hold {CIFAR_ROW} bytes of picture and a label for each row')
    return rows, labels


def _class_names(data: bytes, meta: str) -> list[str]:
    if meta.endswith('.txt'):
        return parse_names(data.decode('utf-8', 'replace'))
    names = _unpickle(data).get('label_names')
    if not isinstance(names, list) or not names:
        raise SourceError(f'needs the names in {meta}, which has none')
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]
