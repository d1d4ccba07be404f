"""Read PyTorch's files of weights in both formats without running any code in them, and write them without torch.

zip (torch >= 1.6): NAME/data.pkl is the object, with storages as persistent ids; NAME/data/KEY has a storage's bytes.
legacy: pickles of a magic number, a protocol, sys_info, the object and the list of storage keys. Then each storage
follows as an int64 count and raw bytes. Both follow torch/serialization.py of torch 2.13.
"""

from __future__ import annotations

import io
import itertools
import math
import re
import struct
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np

from ibnnet_mx.convert import choose, torch_pickle
from ibnnet_mx.convert.torch_pickle import TYPES, WAY_OUT, Fault, Storage, Tensor, whole
from ibnnet_mx.files import atomic

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
MOST_SHARING = 16  # all tensors may take so many times the file's size, because they may share a storage
ALIGNMENT = 64  # bytes, of a storage in the file; torch needs it for mmap=True


def read_torch(path, use_torch=None, key=None) -> choose.Weights:
    """Return the Weights of a .pth file, or of the state_dict inside one such as {'state_dict': {...}, 'epoch': 3}.

    key: which of several, as in choose.choose_table().

    Keys are as in the file, arrays are contiguous copies, bfloat16 becomes float32. Values other than tensors are
    ignored. use_torch: torch reads the checked file; None: if torch >= 2.6 is installed, because weights_only ran code
    before (CVE-2025-32434). Even 2.6 reads beyond a storage whose size in the pickle is too large, so every file is
    checked here first. A sound file that torch refuses is read here.
    Raises ValueError, which starts with the path and says what is wrong.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f'{path} cannot be read: {error.strerror}') from None
    try:
        content, fetch = _open_zip(data) if data[:4] == b'PK\3\4' else _open_legacy(data)
        tensors = _weights(content, Tensor, key)
        if sum(tensor.nbytes for tensor in tensors.values()) > MOST_SHARING * len(data):
            raise Fault(f'is refused: its tensors take more than {MOST_SHARING} times the memory of the file')
        if _torch_is_safe() if use_torch is None else use_torch:
            loaded = _by_torch(data, key)
            if loaded is not None:
                return choose.Weights(loaded, tensors.notes, tensors.chosen, tensors.names)
        storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
        numbers = {key: _numbers(fetch(key), storage.kind) for key, storage in storages.items()}
        arrays = {name: _array(tensor, numbers[tensor.storage.key]) for name, tensor in tensors.items()}
        return choose.Weights(arrays, tensors.notes, tensors.chosen, tensors.names)
    except Fault as fault:
        raise ValueError(f'{path} {fault}') from None
    except Exception as error:  # pickletools, zipfile and _Machine raise many kinds for damaged bytes
        raise ValueError(f'{path} is damaged or cut short: {type(error).__name__} {str(error)[:200]}') from error


def _weights(content, kind, key=None):
    """Return the Weights with tensors as values. kind: the class of a tensor. key: see choose.choose_table()."""
    if not isinstance(content, dict):
        raise Fault(f'holds a {type(content).__name__}, not a state_dict: {WAY_OUT}')
    chosen = choose.choose_table(content, kind, key)
    if chosen:
        return chosen
    keys = ', '.join(repr(key[:60]) for key in itertools.islice(content, 5) if type(key) is str)
    raise Fault(f'has no tensors under its names ({keys or "none"}): {WAY_OUT}')


def _open_zip(data):
    """Return the object, and a function(key) -> bytes of a storage."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    members = {info.filename: info for info in archive.infolist()}
    if len(members) != len(archive.infolist()):
        raise Fault('is damaged: a zip file with two entries of one name')
    if any(info.compress_type or info.flag_bits & 1 for info in members.values()):
        raise Fault('is a zip file whose entries are compressed, which torch never writes: unpack it, or save it again')
    if sum(info.file_size for info in members.values()) > len(data):
        raise Fault('is damaged: a zip file that announces more bytes than it has')
    roots = [name[: -len('data.pkl')] for name in members if name.endswith('/data.pkl')]
    if len(roots) != 1:
        raise Fault('is not a PyTorch file: a zip file without exactly one data.pkl')
    root = roots[0]
    if any(name == f'{root}constants.pkl' or name.startswith(f'{root}code/') for name in members):
        raise Fault(f'is a TorchScript archive, which is a program: in PyTorch load it with torch.jit.load, {WAY_OUT}')
    if f'{root}byteorder' in members and archive.read(f'{root}byteorder') != b'little':
        raise Fault('was written by a big-endian machine: save it again on a little-endian one')
    seen: dict[str, Storage] = {}

    def persistent(identity):
        storage = _storage(seen, *identity)
        entry = members.get(f'{root}data/{storage.key}')
        if entry is None or entry.file_size != storage.numbers * storage.itemsize:
            raise Fault(f'is damaged or cut short: storage {storage.key[:60]!r} does not have the announced size')
        return storage

    def fetch(key):
        stored = archive.read(f'{root}data/{key}')
        if len(stored) != members[f'{root}data/{key}'].file_size:
            raise Fault(f'is damaged or cut short: storage {key[:60]!r} does not have the announced size')
        return stored

    content = torch_pickle.load(io.BytesIO(archive.read(f'{root}data.pkl')), persistent)
    return content, fetch


def _open_legacy(data):
    """Return the object of a legacy file, and a function(key) -> bytes of a storage."""
    if data[:1] != b'\x80':
        if data[257:262] == b'ustar':
            raise Fault(f'is a tar file (of torch before 0.1.10, or packed later): unpack it, or in PyTorch {WAY_OUT}')
        raise Fault(f'is not a PyTorch file: it begins with {data[:16]!r}')
    stream = io.BytesIO(data)
    magic = torch_pickle.load(stream)
    if type(magic) is not int or magic != MAGIC:
        raise Fault('is not a PyTorch file, but another pickle')
    protocol, system = torch_pickle.load(stream), torch_pickle.load(stream)
    if type(protocol) is not int or protocol != PROTOCOL or type(system) is not dict:
        raise Fault('has an unknown protocol of PyTorch')
    if system.get('little_endian') is False:
        raise Fault('was written by a big-endian machine: save it again on a little-endian one')
    seen: dict[str, Storage] = {}
    content = torch_pickle.load(stream, lambda identity: _view(seen, *identity))
    runs, keys = {}, torch_pickle.load(stream)
    if type(keys) is not list or any(type(key) is not str for key in keys):  # no tuples: torch_pickle._pairs()
        raise Fault('is damaged: its storages have no names')
    for key in keys:
        (count,) = struct.unpack('<q', stream.read(8))
        start, size = stream.tell(), count * seen[key].itemsize
        if count != seen[key].numbers or size > len(data) - start or key in runs:
            raise Fault(f'is damaged or cut short: storage {key[:60]!r} does not have the announced size')
        runs[key] = memoryview(data)[start : start + size]
        stream.seek(size, io.SEEK_CUR)
    if len(runs) != len(seen) or stream.tell() != len(data):
        raise Fault(f'is damaged: {len(runs)} storages for {len(seen)}, {len(data) - stream.tell()} bytes left over')
    return content, runs.__getitem__


def _storage(seen, tag, kind, key, device, count):
    """Return the storage of a persistent id. A key must always name the same type and size."""
    if tag != 'storage' or type(kind) is not torch_pickle.Global or type(key) is not str:
        raise Fault('is damaged: a persistent id that is not a storage')
    whole(count)
    storage = Storage(key, kind.name.split(' ')[-1], count)
    if storage.kind not in TYPES or seen.setdefault(key, storage) != storage:
        raise Fault(f'is damaged: storage {key[:60]!r} is announced in two ways')
    return storage


def _view(seen, tag, kind, key, device, count, view=None):
    """Return the storage of a persistent id; torch before 0.4 may name a part of it: (key, start, count)."""
    storage = _storage(seen, tag, kind, key, device, count)
    if view is None:
        return storage
    _, start, part = view
    whole(start, part)
    if start + part > count:
        raise Fault(f'is damaged: a view beyond the end of storage {key[:60]!r}')
    return storage._replace(start=start, numbers=part)


def _numbers(data, kind):
    """Return the bytes of a storage as numbers of a type that numpy has."""
    numbers = np.frombuffer(data, TYPES[kind])
    if kind == 'BFloat16Storage':
        return (numbers.astype('<u4') << 16).view('<f4')
    return numbers.view('u1') != 0 if kind == 'BoolStorage' else numbers


def _array(tensor, numbers):
    if not math.prod(tensor.size):
        return np.zeros(tensor.size, numbers.dtype)
    start = tensor.storage.start + tensor.offset
    # the stride of an axis of length 1 is never used, and may be too large for numpy
    strides = [step * numbers.itemsize if n > 1 else 0 for n, step in zip(tensor.size, tensor.stride)]
    return np.array(np.lib.stride_tricks.as_strided(numbers[start:], tensor.size, strides), order='C')


def _torch_is_safe():
    try:
        version = re.match(r'(\d+)\.(\d+)', metadata.version('torch'))
    except metadata.PackageNotFoundError:
        return False
    return version is not None and (int(version[1]), int(version[2])) >= (2, 6)


def _by_torch(data, key):
    """Return {key: array} of a checked file, or None if torch refuses it."""
    try:
        import torch

        content = torch.load(io.BytesIO(data), map_location='cpu', weights_only=True)
        tensors = {name: tensor.detach() for name, tensor in _weights(content, torch.Tensor, key).items()}
        plain = {name: t.float() if t.dtype == torch.bfloat16 else t for name, t in tensors.items()}
        return {name: np.array(tensor.numpy(), order='C') for name, tensor in plain.items()}
    except Exception:  # it refuses numpy's scalars and other objects that are harmless here
        return None


def write_torch(path, arrays) -> None:
    """Write {key: array} as torch.save() of torch >= 1.6 writes a state_dict. Every call writes the same bytes.

    Raises ValueError for a type that torch has no storage of. Raises OSError as atomic.write_file() does; an old file
    then stays.
    """
    kinds = {np.dtype(layout): kind for kind, layout in TYPES.items() if kind != 'BFloat16Storage'}
    plain = {name: np.asarray(array) for name, array in arrays.items()}
    plain = {name: np.array(a, a.dtype.newbyteorder('<'), order='C') for name, a in plain.items()}
    for name, array in plain.items():
        if array.dtype not in kinds:
            raise ValueError(f'{path}: {name} is {array.dtype}, and torch has no storage of it: use float32 or int64')
    records = {'data.pkl': _pickle({name: (kinds[array.dtype], array) for name, array in plain.items()})}
    records.update({'.format_version': b'1', '.storage_alignment': b'%d' % ALIGNMENT, 'byteorder': b'little'})
    records.update((f'data/{n}', array.tobytes()) for n, array in enumerate(plain.values()))
    records['version'] = b'3\n'
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        for name, record in records.items():
            entry = zipfile.ZipInfo(f'archive/{name}')  # dated 1980: a real time would make the bytes differ
            # before a record lie a header of 30 bytes, its name, and the padding with a header of 4 bytes
            pad = -(file.tell() + 30 + len(entry.filename) + 4) % ALIGNMENT
            entry.extra = struct.pack('<2sH', b'FB', pad) + b'Z' * pad
            archive.writestr(entry, record)
    atomic.write_file(path, file.getvalue())


def _pickle(typed):
    """Return data.pkl for {key: (storage type, array)}: protocol 2, one storage for each tensor, named 0, 1, ..."""
    parts = [b'\x80\2ccollections\nOrderedDict\n)R(']
    for number, (name, (kind, array)) in enumerate(typed.items()):
        strides = [step // array.itemsize for step in array.strides]
        parts += [_text(name), b'ctorch._utils\n_rebuild_tensor_v2\n((', _text('storage')]
        parts += [b'ctorch\n%s\n' % kind.encode(), _text(str(number)), _text('cpu'), _number(array.size), b'tQ']
        parts += [_number(0), b'(', *map(_number, array.shape), b't(', *map(_number, strides), b't']
        parts += [b'\x89ccollections\nOrderedDict\n)RtR']  # requires_grad, hooks
    return b''.join([*parts, b'u.'])


def _text(text):
    return b'X' + struct.pack('<I', len(text.encode())) + text.encode()


def _number(number):
    return b'J' + struct.pack('<i', number) if number < 2**31 else b'\x8a\x08' + struct.pack('<q', number)
