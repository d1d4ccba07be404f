"""The container of mxnet's .params files: read within its bounds, encoded to bytes. No mxnet.

Layout, little endian (src/ndarray/ndarray.cc of mxnet 1.9.1): uint64 0x112, uint64 0, uint64 count, the arrays, uint64
count, the names (uint64 length, bytes). mxnet's own loader trusts every length that it reads and may ask for all
memory. Its writer may report success on a full disk.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Iterator, Mapping

import numpy as np

LIST = 0x112
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
TYPES = [np.dtype(t) for t in ('<f4', '<f8', '<f2', 'u1', '<i4', 'i1', '<i8')]
MOST_DIMENSIONS = 32


class _Bytes:
    def __init__(self, path: Any, data: memoryview) -> None:
        self.path, self.data, self.at = path, data, 0

    def take(self, count: int) -> memoryview:
        if not 0 <= count <= len(self.data) - self.at:
            raise ValueError(
                f'{self.path} is damaged or cut short: byte {self.at} announces {count} more than there are'
            )
        self.at += count
        return self.data[self.at - count : self.at]

    def unpack(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack('<' + layout, self.take(struct.calcsize('<' + layout)))

    def array(self) -> np.ndarray:
        (magic,) = self.unpack('I')
        if magic in (V2, V3) and self.unpack('i')[0] != 0:
            raise ValueError(f'{self.path} holds a sparse array, which no network here has')
        known = magic in (V1, V2, V3)
        dims = self.unpack('I')[0] if known else magic  # before V1 a record began with its number of dimensions
        if dims > MOST_DIMENSIONS:
            raise ValueError(f'{self.path} is damaged: an array of {dims} dimensions at byte {self.at}')
        shape = self.unpack(('q' if known else 'I') * dims)
        if not dims:
            return np.zeros((0,), np.float32)
        _, _, kind = self.unpack('iii')
        if not 0 <= kind < len(TYPES) or min(shape) < 0 or max(shape) > len(self.data):
            raise ValueError(f'{self.path} is damaged: type {kind}, shape {shape} at byte {self.at}')
        size = 1
        for side in shape:
            size *= side
        return np.frombuffer(self.take(size * TYPES[kind].itemsize), TYPES[kind]).reshape(shape)


def read_params(path: Any) -> dict[str, np.ndarray]:
    """Return {name: array} of a .params file, old encodings included. Raises ValueError, which names the file."""
    try:
        return parse(path, Path(path).read_bytes())
    except OSError as error:
        raise ValueError(f'{path} cannot be read: {error.strerror}') from None


def parse(path: Any, content: bytes) -> dict[str, np.ndarray]:
    """Return {name: array} of the bytes of a .params file. Raises ValueError, which names `path`."""
    data = _Bytes(path, memoryview(content))
    if len(data.data) < 24 or data.unpack('QQ')[0] != LIST:
        raise ValueError(f'{path} is no .params file of mxnet')
    arrays = [data.array() for _ in range(_count(data))]
    try:
        names = [bytes(data.take(data.unpack('Q')[0])).decode() for _ in range(_count(data))]
    except UnicodeDecodeError:
        raise ValueError(f'{path} is damaged: a name at byte {data.at} is no text') from None
    if len(names) != len(arrays) or len(set(names)) != len(names) or data.at != len(data.data):
        raise ValueError(f'{path} is damaged: {len(arrays)} arrays, {len(set(names))} names, {len(data.data)} bytes')
    return dict(zip(names, arrays))


def _count(data: _Bytes) -> int:
    (count,) = data.unpack('Q')
    if count > len(data.data):
        raise ValueError(f'{data.path} is damaged: it announces {count} entries')
    return count


def pieces(arrays: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the bytes of a .params file of {name: numpy array or NDArray}, one array at a time."""
    yield struct.pack('<QQQ', LIST, 0, len(arrays))
    for given in arrays.values():
        array = np.ascontiguousarray(given if isinstance(given, np.ndarray) else given.asnumpy())
        kind = TYPES.index(array.dtype)
        yield struct.pack(f'<IiI{array.ndim}qiii', V2, 0, array.ndim, *array.shape, 1, 0, kind)
        yield array.reshape(-1).view(np.uint8).data
    yield struct.pack('<Q', len(arrays))
    for name in arrays:
        text = name.encode()
        yield struct.pack('<Q', len(text)) + text


def encode_params(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the bytes of a .params file of {name: array}, which mx.nd.load reads."""
    return b''.join(pieces(arrays))
