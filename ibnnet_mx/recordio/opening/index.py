"""mxnet's text index of a .rec: a line `id<tab>offset` for each record."""

from __future__ import annotations

from typing import Any, BinaryIO, Iterable, Iterator

import numpy as np

from ibnnet_mx.files import atomic
from ibnnet_mx.files.regular import open_regular
from ibnnet_mx.recordio.framing import RecordError

BLOCK = 1 << 20  # bytes of text that are parsed at once; they fit into the processor's cache
LEAST_ID, MOST_ID = -(2**31), 2**31 - 1
ZERO, NINE, TAB, NEWLINE = b'09\t\n'


def write_index(path: Any, ids: Iterable[int], offsets: Iterable[int]) -> None:
    """Write mxnet's text index, a line `id<tab>offset` for each record, whole or not at all."""
    atomic.write_file(path, (f'{int(key)}\t{int(at)}\n'.encode() for key, at in zip(ids, offsets)))


def read_index(path: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and offsets, int64 (n,), in the order of the index's lines."""
    ids, offsets = read_columns(path)
    return ids.astype(np.int64), offsets


def read_columns(path: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return what read_index() does, but ids as int32 if all of them fit, which saves memory."""
    ids, offsets, lines = np.empty(0, np.int32), np.empty(0, np.int64), 0
    try:
        with open(open_regular(path), 'rb') as file:
            most = 1 + sum(text.count(b'\n') for text in iter(lambda: file.read(BLOCK), b''))
            ids, offsets = np.empty(most, np.int32), np.empty(most, np.int64)
            file.seek(0)
            for text in _blocks(file):
                pairs = _parse_block(text)
                if pairs is None:
                    pairs = _parse_lines(path, text.splitlines(), lines)
                if len(pairs) and (pairs[:, 0].min() < LEAST_ID or pairs[:, 0].max() > MOST_ID):
                    ids = ids.astype(np.int64)
                while lines + len(pairs) > len(ids):  # ends of lines other than \n
                    ids, offsets = (np.append(column, np.empty_like(column)) for column in (ids, offsets))
                place = slice(lines, lines + len(pairs))
                ids[place], offsets[place] = pairs[:, 0], pairs[:, 1]
                lines += len(pairs)
    except OSError as error:
        raise RecordError(f'{path}: cannot open the index: {error.strerror}') from None
    if not lines:
        raise RecordError(f'{path}: the index is empty: delete it, then the records are found by a scan')
    return ids[:lines], offsets[:lines]


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield the text in blocks of whole lines."""
    rest = b''
    while True:
        text = file.read(BLOCK)
        if not text:
            break
        end = text.rfind(b'\n') + 1
        if end:
            yield rest + text[:end]
            rest = text[end:]
        else:
            rest += text
    if rest:
        yield rest


def _parse_block(text: bytes) -> np.ndarray | None:
    """Return int64 (lines, 2) of lines of digits, a tab and digits; None if a line is written in another way."""
    signs = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(signs < ZERO)  # of the numbers, if the text is as it should be
    kinds = signs[ends]
    lengths = np.diff(ends, prepend=-1) - 1
    as_wanted = (
        len(ends) % 2 == 0
        and text[-1] == NEWLINE
        and bool((kinds[::2] == TAB).all() and (kinds[1::2] == NEWLINE).all())
        and int(signs.max()) <= NINE
        and lengths.min() >= 1
        and lengths.max() <= 18  # digits that int64 holds in any case
    )
    return np.fromstring(text, np.int64, sep=' ').reshape(-1, 2) if as_wanted else None


def _parse_lines(path: Any, lines: list[bytes], first: int) -> np.ndarray:
    """Return int64 (lines, 2) of lines in any way that Python reads. first: number of lines before these."""
    pairs = np.empty((len(lines), 2), np.int64)
    for number, line in enumerate(lines):
        try:
            key, at = line.split()
            pairs[number] = int(key), int(at)
        except (ValueError, OverflowError):
            text, place = line[:40].decode('utf-8', 'replace'), first + number + 1
            raise RecordError(f'{path}: line {place} is {text!r}, not "id<tab>offset": delete the index') from None
    return pairs
