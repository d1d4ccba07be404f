"""Files as torch.save() writes them, without torch: the tests' own pickler, apart from the code that is tested."""

import io
import struct
import zipfile
from collections import OrderedDict

import numpy as np

from ibnnet_mx.convert import torch_file

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
KINDS = {
    'float32': 'Float',
    'float64': 'Double',
    'float16': 'Half',
    'int64': 'Long',
    'int32': 'Int',
    'int16': 'Short',
    'int8': 'Char',
    'uint8': 'Byte',
    'bool': 'Bool',
    'complex64': 'ComplexFloat',
    'complex128': 'ComplexDouble',
}


class Raw(bytes):
    """Opcodes put into the pickle as they are."""


class BFloat16:
    """A tensor of bfloat16, given as the upper halves of float32 (uint16)."""

    def __init__(self, halves):
        self.halves = halves


class Parameter:
    """torch.nn.Parameter of an array."""

    def __init__(self, array):
        self.array = array


def named(name):
    """'module name' -> the opcode that looks it up."""
    return Raw(b'c' + name.replace(' ', '\n').encode() + b'\n')


def call(name, *arguments):
    """The opcodes that call 'module name' with arguments, as a Raw value."""
    return Raw(named(name) + b'(' + b''.join(Pickler().value(a) for a in arguments) + b'tR')


class Pickler:
    """Values -> opcodes; arrays become tensors, and arrays with one base share a storage as tensors do."""

    def __init__(self, legacy=False, python2=False):
        self.legacy, self.python2 = legacy, python2
        self.storages, self.bases = [], []  # arrays, and what keeps their id()

    def pickle(self, value):
        return b'\x80\x02' + self.value(value) + b'.'

    def value(self, value):
        kind = type(value)
        if isinstance(value, Raw) or value is None or kind is bool:
            return bytes(value) if isinstance(value, Raw) else {None: b'N', True: b'\x88', False: b'\x89'}[value]
        if kind is str:
            text = value.encode()
            return (b'U' + bytes([len(text)]) if self.python2 else b'X' + struct.pack('<I', len(text))) + text
        if kind is bytes:
            return b'B' + struct.pack('<I', len(value)) + value
        if kind is int:
            return self.number(value)
        if kind is float:
            return b'G' + struct.pack('>d', value)
        if kind in (list, tuple):
            items = b''.join(map(self.value, value))
            return b'](' + items + b'e' if kind is list else b'(' + items + b't'
        if isinstance(value, dict):
            return self.mapping(value)
        return self.tensor(value)

    @staticmethod
    def number(value):
        if -(2**31) <= value < 2**31:
            return b'J' + struct.pack('<i', value)
        size = value.bit_length() // 8 + 1
        return b'\x8a' + bytes([size]) + value.to_bytes(size, 'little', signed=True)

    def mapping(self, value):
        if self.python2:
            return named('collections OrderedDict') + self.value(([list(pair) for pair in value.items()],)) + b'R'
        items = b''.join(self.value(key) + self.value(item) for key, item in value.items())
        empty = b'}' if type(value) is dict else named('collections OrderedDict') + b')R'
        return empty + b'(' + items + b'u'

    def tensor(self, value):
        if isinstance(value, Parameter):
            hooks = named('collections OrderedDict') + b')R'
            return named('torch._utils _rebuild_parameter') + b'(' + self.tensor(value.array) + b'\x88' + hooks + b'tR'
        array, kind = (value.halves, 'BFloat16') if isinstance(value, BFloat16) else (value, KINDS[str(value.dtype)])
        base = array
        while base.base is not None:
            base = base.base
        if not any(base is known for known in self.bases):
            self.bases.append(base)
        number = next(n for n, known in enumerate(self.bases) if base is known)
        identity = ('storage', named(f'torch {kind}Storage'), str(number), 'cpu', base.size)
        offset = (array.__array_interface__['data'][0] - base.__array_interface__['data'][0]) // array.itemsize
        strides = tuple(step // array.itemsize for step in array.strides)
        hooks = Raw(named('collections OrderedDict') + b')R')
        stored = Raw(self.value((*identity, None) if self.legacy else identity) + b'Q')
        rebuilt = (stored, offset, array.shape, strides, False, hooks)
        name = 'torch._utils _rebuild_tensor' + ('' if self.python2 else '_v2')
        return named(name) + self.value(rebuilt[:4] if self.python2 else rebuilt) + b'R'


def zip_bytes(value, extra=None, data_pkl=None):
    """The format of torch >= 1.6. extra: {name below the root: bytes} records to add; data_pkl: another object."""
    pickler = Pickler()
    records = {'data.pkl': pickler.pickle(value), 'byteorder': b'little'}
    records.update((f'data/{n}', base.tobytes()) for n, base in enumerate(pickler.bases))
    records.update({'version': b'3\n', **(extra or {})})
    if data_pkl is not None:
        records['data.pkl'] = data_pkl
    return archive([(f'archive/{name}', record) for name, record in records.items()])


def archive(records, compression=zipfile.ZIP_STORED):
    """A zip file of (name, bytes) pairs, which may have one name twice."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', compression) as zipped:
        for name, record in records:
            zipped.writestr(zipfile.ZipInfo(name), record, compression)
    return file.getvalue()


def legacy_pickles(value, python2=False):
    """The five pickles of the legacy format, and the storages behind them."""
    pickler = Pickler(legacy=True, python2=python2)
    content = pickler.pickle(value)
    sizes = {'short': 2, 'int': 4, 'long': 4}
    system = {'protocol_version': PROTOCOL, 'little_endian': True, 'type_sizes': sizes}
    heads = [Pickler().pickle(item) for item in (MAGIC, PROTOCOL, system)]
    keys = Pickler().pickle([str(n) for n in range(len(pickler.bases))])
    raw = b''.join(struct.pack('<q', base.size) + base.tobytes() for base in pickler.bases)
    return [*heads, content, keys], raw


def legacy_bytes(value, python2=False):
    """The format of torch < 1.6."""
    pickles, raw = legacy_pickles(value, python2)
    return b''.join(pickles) + raw


def halves(array):
    """float32 -> BFloat16, rounded to zero."""
    return BFloat16((np.asarray(array, np.float32).view(np.uint32) >> 16).astype(np.uint16))


FORMATS = {'zip': zip_bytes, 'legacy': legacy_bytes, 'python2': lambda value: legacy_bytes(value, python2=True)}


def tensor(size, stride, offset=0, count=4, view=b'', kind='Float', key='0'):
    """A tensor of a storage that has 4 numbers, as this says it were."""
    identity = (b'(' + Pickler().value('storage') + named(f'torch {kind}Storage') + Pickler().value(key)) + (
        Pickler().value('cpu') + Pickler().value(count) + view + b'tQ'
    )
    rest = b''.join(Pickler().value(part) for part in (offset, size, stride, False, None))
    return Raw(named('torch._utils _rebuild_tensor_v2') + b'(' + identity + rest + b'tR')


def every_kind():
    wide = np.random.RandomState(0).randint(-100, 100, (2, 3, 4))
    arrays = {f'module.{kind}': (wide.astype(kind) if kind != 'bool' else wide > 0) for kind in KINDS}
    base = np.arange(24, dtype=np.float32)
    views = {'turned': base.reshape(4, 6).T, 'part': base[5:9], 'steps': base[1::5], 'whole': base}
    ends = {'scalar': np.array(7), 'none': np.zeros((0, 3), np.float32), 'one': np.ones((1, 1), np.float32)}
    return OrderedDict({**arrays, **views, **ends})


def same(found, wanted):
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].flags.c_contiguous
        assert found[name].flags.owndata
        np.testing.assert_array_equal(found[name], array)


def reader(path):
    """read(bytes, use_torch=False) -> arrays of a file at path; a ValueError is given on without the path."""

    def read(data, use_torch=False):
        path.write_bytes(data)
        try:
            return torch_file.read_torch(path, use_torch=use_torch)
        except ValueError as error:
            head, text = str(error)[: len(f'{path} ')], str(error)[len(f'{path} ') :]
            raise (ValueError(text) if head == f'{path} ' else AssertionError(error)) from None

    return read
