"""The formats read as plainly as can be, apart from the package: what a file that it accepts really holds.

Each gives what is held, or raises any Exception where the bytes are none of the format.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
import zlib

import numpy as np

TYPES = ('<f4', '<f8', '<f2', 'u1', '<i4', 'i1', '<i8')  # of mxnet's arrays
STORAGES = dict(
    Float='<f4', Double='<f8', Half='<f2', Long='<i8', Int='<i4', Short='<i2', Char='i1', Byte='u1', Bool='?'
)
SAFE = dict(F16='<f2', F32='<f4', F64='<f8', I8='i1', I16='<i2', I32='<i4', I64='<i8', U8='u1', BOOL='?')
SAFE.update(U16='<u2', U32='<u4', U64='<u8')
MAGIC = struct.pack('<I', 0xCED7230A)


class Stream:
    def __init__(self, data):
        self.file = io.BytesIO(data)

    def take(self, count):
        data = self.file.read(count)
        if len(data) != count:
            raise ValueError('cut short')
        return data

    def numbers(self, layout):
        return struct.unpack('<' + layout, self.take(struct.calcsize('<' + layout)))


def params(data):
    """{name: array} of a .params file of the newest encoding."""
    stream = Stream(data)
    _, _, count = stream.numbers('QQQ')
    found = []
    for _ in range(count):
        _, _, dims = stream.numbers('IiI')
        shape = stream.numbers('q' * dims)
        _, _, kind = stream.numbers('iii') if dims else (1, 0, 0)
        size = int(np.prod(shape, dtype=object)) if dims else 0
        held = stream.take(size * np.dtype(TYPES[kind]).itemsize)
        found.append(np.frombuffer(held, TYPES[kind]).reshape(shape if dims else (0,)))
    (count,) = stream.numbers('Q')
    names = [stream.take(stream.numbers('Q')[0]).decode() for _ in range(count)]
    if stream.file.read(1) or len(set(names)) != len(found):
        raise ValueError('names and arrays do not fit')
    return dict(zip(names, found))


def safetensors(data):
    (size,) = struct.unpack('<Q', data[:8])
    head, body, found = json.loads(data[8 : 8 + size]), data[8 + size :], {}
    for name, entry in head.items():
        if name != '__metadata__':
            first, last = entry['data_offsets']
            held = body[first:last]
            if entry['dtype'] == 'BF16':
                array = (np.frombuffer(held, '<u2').astype('<u4') << 16).view('<f4')
            else:
                array = np.frombuffer(held, SAFE[entry['dtype']])
            found[name] = array.reshape(entry['shape'])
    return found


class _Unpickler(pickle._Unpickler):
    """Python's own, in Python; what is named is one of a few functions here."""

    def __init__(self, file, storages):
        super().__init__(file)
        self._storages = storages

    def find_class(self, module, name):
        if name.endswith('Storage'):
            return name[: -len('Storage')]
        return {
            'OrderedDict': dict,
            '_rebuild_tensor_v2': self._tensor,
            '_rebuild_tensor': self._tensor,
            '_rebuild_parameter': lambda tensor, *_: tensor,
        }[name]

    def persistent_load(self, identity):
        _, kind, key, _, count, *_ = identity
        return self._storages(kind, key, count)

    def _tensor(self, fetch, offset, size, stride, *_):
        def array():
            numbers = fetch()
            steps = [step * numbers.itemsize for step in stride]
            if 0 in size:
                return np.zeros(size, numbers.dtype)
            assert offset + sum((n - 1) * step for n, step in zip(size, stride)) < len(numbers)
            return np.lib.stride_tricks.as_strided(numbers[offset:], size, steps).copy()

        return array


def _arrays(content):
    for key in ('state_dict', 'model'):
        content = content.get(key, content)
    return {name: value() for name, value in content.items() if callable(value)}


def torch(data):
    """{key: array} of a .pth of either format; in a zip file the sums of what is read must be right."""
    if data[:2] == b'PK':
        archive = zipfile.ZipFile(io.BytesIO(data))
        (root,) = {name[: -len('data.pkl')] for name in archive.namelist() if name.endswith('/data.pkl')}

        def stored(kind, key, count):
            return lambda: np.frombuffer(archive.read(f'{root}data/{key}'), STORAGES[kind], count)

        return _arrays(_Unpickler(io.BytesIO(archive.read(f'{root}data.pkl')), stored).load())
    file, kinds, runs = io.BytesIO(data), {}, {}

    def announced(kind, key, count):
        kinds[key] = STORAGES[kind]
        return lambda: runs[key]

    *_, content, keys = (_Unpickler(file, announced).load() for _ in range(5))
    for key in keys:
        (count,) = struct.unpack('<q', file.read(8))
        runs[key] = np.frombuffer(file.read(count * np.dtype(kinds[key]).itemsize), kinds[key], count)
    return _arrays(content)


def weights(data):
    """{name: array} of a file of weights, told by what it begins with."""
    if data[8:9] == b'{':
        return safetensors(data)
    return params(data) if data[:8] == struct.pack('<Q', 0x112) else torch(data)


def records(data):
    """[(labels, payload)] of a .rec file."""
    found, parts, at = [], [], 0
    while at < len(data):
        magic, word = struct.unpack_from('<4sI', data, at)
        flag, size = word >> 29, word & ((1 << 29) - 1)
        if magic != MAGIC or at + 8 + size > len(data) or flag > 3 or (flag in (0, 1)) == bool(parts):
            raise ValueError(f'no record at byte {at}')
        parts.append(data[at + 8 : at + 8 + size])
        at += 8 + (size + 3) // 4 * 4
        if flag in (0, 3):
            whole = MAGIC.join(parts)
            count, label = struct.unpack_from('<If', whole)
            labels = struct.unpack_from(f'<{count}f', whole, 24) if count else (label,)
            found.append((labels, whole[24 + 4 * count :]))
            parts = []
    if parts or at != len(data):
        raise ValueError('the last record is cut off')
    return found


def index(data):
    """Byte offsets of a .idx file."""
    return [int(line.split()[1]) for line in data.splitlines()]


def png_is_sound(data):
    """Whether the sums of its chunks are right, up to its end."""
    at = 8
    while at + 12 <= len(data):
        (size,) = struct.unpack_from('>I', data, at)
        kind, held = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        if data[at + 8 + size : at + 12 + size] != struct.pack('>I', zlib.crc32(kind + held)) and kind[:1].isupper():
            return False
        if kind == b'IEND':
            return True
        at += 12 + size
    return False
