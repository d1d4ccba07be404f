"""Record with which builds of libmxnet.so a library of operators was tried, and check that before it is loaded.

The operators use mxnet's internals, so with another build of mxnet they may compute nonsense or kill the process.
Therefore build.py tries them and adds the identity of the libmxnet.so to the record; loaded() checks it. The record is
a line of JSON behind the end of the library's file, where the dynamic loader does not look. So a library and its record
are always replaced together.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import BinaryIO, Iterator, NamedTuple

from mxnet import libinfo

WHEELS = {  # the identities of mxnet's own wheels for Linux on x86-64
    'build-id:472988f6268780302be9ee15d6c53d9a07b534f5': 'mxnet 1.9.1',
    'build-id:9523fbda21d9ef14722537c1896afda0cdd1778e': 'mxnet-cu112 1.9.1',
}
MARK = b'\nibnnet_mx '  # the record begins with this
LONGEST = 1 << 16  # bytes of a record
MEGABYTE = 1 << 20
ELF64 = b'\x7fELF\x02\x01'  # 64 bits, little endian
PT_NOTE, NT_GNU_BUILD_ID = 4, 3


class Record(NamedTuple):
    """sources: SHA-256 of a library's sources. tried_with: identities of the libmxnet.so's that it was tried with."""

    sources: str
    tried_with: tuple


def path() -> Path:
    """Return the libmxnet.so of this process."""
    return Path(libinfo.find_lib_path()[0])


def identify(library: Path) -> str:
    """Return 'build-id:...', the GNU build-id that the linker wrote into a library.

    If there is none, return 'size-sha256:...' of the file's size and its first and last megabyte, because hashing all
    150 MB of a libmxnet.so would take longer than the rest of the import.
    """
    with open(library, 'rb') as file:
        for build_id in _build_ids(file):
            return f'build-id:{build_id.hex()}'
        size = file.seek(0, 2)
        file.seek(0)
        first = file.read(MEGABYTE)
        file.seek(max(size - MEGABYTE, 0))
        return 'size-sha256:' + hashlib.sha256(b'%d ' % size + first + file.read(MEGABYTE)).hexdigest()


def _build_ids(file: BinaryIO) -> Iterator[bytes]:
    """Yield the build-ids of an ELF file. A build-id is a note named GNU in a segment of notes."""
    header = file.read(64)
    if len(header) < 64 or header[:6] != ELF64:
        return
    (table,) = struct.unpack_from('<Q', header, 32)
    entry_size, count = struct.unpack_from('<HH', header, 54)
    for number in range(count):
        file.seek(table + number * entry_size)
        entry = file.read(56)
        if len(entry) < 56:
            return
        kind, _, offset, _, _, size = struct.unpack_from('<IIQQQQ', entry)
        if kind == PT_NOTE:
            file.seek(offset)
            yield from _gnu_build_ids(file.read(min(size, MEGABYTE)))


def _gnu_build_ids(notes: bytes) -> Iterator[bytes]:
    """Yield the build-ids among notes. A note: size of name, size of content, kind, name, content, each padded."""
    position = 0
    while position + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from('<III', notes, position)
        name = position + 12
        content = name + (name_size + 3) // 4 * 4
        position = content + (size + 3) // 4 * 4
        if kind == NT_GNU_BUILD_ID and notes[name : name + name_size] == b'GNU\0' and position <= len(notes):
            yield notes[content : content + size]


def describe(identity: str) -> str:
    """Return the name of mxnet's wheel with that identity, else the identity."""
    return WHEELS.get(identity, identity)


def read_record(library: Path) -> Record | None:
    """Return a library's record; None if there is none, or it is damaged."""
    with open(library, 'rb') as file:
        file.seek(max(file.seek(0, 2) - LONGEST, 0))
        _, mark, line = file.read().rpartition(MARK)
    try:
        fields = json.loads(line) if mark else {}
        return Record(fields['sources'], tuple(fields['tried_with']))
    except (ValueError, KeyError, TypeError):
        return None


def add_record(library: Path, record: Record) -> None:
    """Append a record to a library. Only the last record counts."""
    fields = {'sources': record.sources, 'tried_with': sorted(set(record.tried_with))}
    with open(library, 'ab') as file:
        file.write(MARK + json.dumps(fields).encode() + b'\n')


def refusal(library: Path) -> str | None:
    """Return the reason why a library must not be loaded into this process, or None if it may be loaded."""
    record, present = read_record(library), path()
    if record is None:
        return 'it has no record of the libmxnet.so that it was tried with'
    if identify(present) in record.tried_with:
        return None
    tried_with = ', '.join(describe(identity) for identity in record.tried_with) or 'none'
    return f'it was tried with {tried_with}, not with {present} ({describe(identify(present))})'
