"""Read the pickles in a PyTorch file without running any code. No pickle module, no mxnet, no torch.

pickle.load() calls any function that a file names. Here a name is only looked up in the table NAMES. Only the opcodes
that torch.save() writes are known (protocols 2 to 4, Python 2 included). Layout: Lib/pickletools.py of CPython.
"""

from __future__ import annotations

import math
import pickletools
from typing import Any, Callable, NamedTuple

import numpy as np

TYPES = {
    'FloatStorage': '<f4',
    'DoubleStorage': '<f8',
    'HalfStorage': '<f2',
    'BFloat16Storage': '<u2',  # the upper half of a float32
    'LongStorage': '<i8',
    'IntStorage': '<i4',
    'ShortStorage': '<i2',
    'CharStorage': 'i1',
    'ByteStorage': 'u1',
    'BoolStorage': '?',
    'ComplexFloatStorage': '<c8',
    'ComplexDoubleStorage': '<c16',
}
DTYPES = 'float16 bfloat16 float32 float64 uint8 int8 int16 int32 int64 bool complex64 complex128'.split()  # noqa: SIM905
MOST_DIMENSIONS = 32  # of an array of numpy
VALUES = {  # opcodes that push their argument as pickletools decodes it
    'NONE',
    'BININT',
    'BININT1',
    'BININT2',
    'LONG1',
    'BINFLOAT',
    'BINUNICODE',
    'SHORT_BINUNICODE',
    'BINUNICODE8',
    'BINSTRING',
    'SHORT_BINSTRING',
    'BINBYTES',
    'SHORT_BINBYTES',
}
MAKERS: dict[str, Callable[[], Any]] = {
    'EMPTY_LIST': list,
    'EMPTY_DICT': dict,
    'EMPTY_TUPLE': tuple,
    'NEWTRUE': lambda: True,
    'NEWFALSE': lambda: False,
}
TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}
KEYS = (str, int, float, bool, bytes, type(None))
WAY_OUT = 'save the weights alone with torch.save(model.state_dict(), ...)'


class Fault(ValueError):
    """A fault in a file. Its text follows the file's path, which the caller adds."""


class Global:
    """A class or a function that a file names, as 'module name'."""

    __slots__ = ('name',)

    def __init__(self, name):
        self.name = name


class Storage(NamedTuple):
    """A part of a storage: `numbers` numbers from `start` on in the storage with this key."""

    key: str
    kind: str  # a key of TYPES
    numbers: int
    start: int = 0

    @property
    def itemsize(self):
        return np.dtype(TYPES[self.kind]).itemsize


class Tensor(NamedTuple):
    """A tensor as a file describes it, checked against its storage. The numbers are fetched later."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def nbytes(self):
        return math.prod(self.size) * self.storage.itemsize


def whole(*numbers):
    """Raise Fault unless all are whole numbers that a size, stride or offset can be."""
    if any(type(n) is not int or not 0 <= n < 2**63 for n in numbers):
        raise Fault('is damaged: a size, stride or offset is not a whole number from 0 on')


def _tensor(storage, offset, size, stride, *_):
    """Return the Tensor that torch._utils._rebuild_tensor_v2 would build. It must lie within its storage."""
    if type(storage) is not Storage or len(size) != len(stride) or len(size) > MOST_DIMENSIONS:
        raise Fault('is damaged: a tensor without storage, or of sizes and strides that do not fit')
    whole(offset, *size, *stride)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride))
    if math.prod(size) and (last >= storage.numbers or math.prod(size) > storage.numbers):
        raise Fault(f'is damaged: a tensor of shape {size} does not fit in its storage of {storage.numbers} numbers')
    return Tensor(storage, offset, tuple(size), tuple(stride))


def _pairs(pairs):
    """Return a dict without tuples as keys: hash() of one that is nested 100000 deep would end the process."""
    return {key: value for key, value in pairs if type(key) in KEYS}


def _mapping(items=()):
    """Return the dict of a dict, or of Python 2's list of pairs. No copy is made, because copies could fill memory."""
    if type(items) is dict:
        return items
    made = _pairs(items)
    if items:
        items.clear()
    return made


def _inert(*_):
    """Return None in place of an object that is not a weight but occurs beside weights."""


NAMES: dict[str, Callable[..., Any]] = {
    'collections OrderedDict': _mapping,
    'collections Counter': _mapping,  # holds the milestones of a MultiStepLR
    'torch._utils _rebuild_tensor': _tensor,
    'torch._utils _rebuild_tensor_v2': _tensor,
    'torch._utils _rebuild_parameter': lambda data, *_: data,
    'torch._utils _rebuild_parameter_with_state': lambda data, *_: data,
    'torch Size': lambda sides: sides,
    'torch device': _inert,
    'numpy dtype': _inert,
    'numpy ndarray': _inert,
    '_codecs encode': _inert,  # bytes, in protocol 2
}
NAMES.update((f'{module} {kind}', _inert) for module in ('torch', 'torch.cuda') for kind in TYPES)
NAMES.update((f'numpy.{core}.multiarray {f}', _inert) for core in ('core', '_core') for f in ('scalar', '_reconstruct'))
NAMES.update((f'torch {kind}', _inert) for kind in DTYPES)


def load(stream, persistent=None):
    """Return the object of the pickle at the stream's position, and leave the stream behind it.

    persistent: function(id) -> Storage. A tensor becomes a Tensor, any other object None or an object without state.
    Raises Fault for the first global or opcode that is not allowed, and other exceptions for damaged bytes.
    """
    return _Machine(persistent).run(stream)


class _Machine:
    """A pickle machine whose methods are the allowed opcodes."""

    def __init__(self, persistent):
        self.persistent = persistent
        self.stack, self.outer = [], []  # values since the last MARK; lists of values before it
        self.memo = {}  # a dict: the file chooses indices, and a huge one would need a huge list

    def run(self, stream):
        for opcode, value, position in pickletools.genops(stream):
            name = opcode.name
            if name == 'STOP':
                return self.stack.pop()
            if name in VALUES:
                self.stack.append(value)
            elif name in MAKERS:
                self.stack.append(MAKERS[name]())
            elif name in TUPLES:
                self.stack.append(self.top(TUPLES[name]))
            else:
                step = self.STEPS.get(name)
                if step is None:
                    raise Fault(f'has the pickle opcode {name} at byte {position}, which no tensor needs: {WAY_OUT}')
                step(self, value)
        return None  # genops ends at STOP or raises

    def since_mark(self):
        items, self.stack = self.stack, self.outer.pop()
        return items

    def top(self, count):
        items = tuple(self.stack[-count:])
        if len(items) != count:
            raise IndexError('more values are taken off the stack than it has')
        del self.stack[-count:]
        return items

    def mark(self, _):
        self.outer.append(self.stack)
        self.stack = []

    def to_tuple(self, _):
        items = tuple(self.since_mark())
        self.stack.append(items)

    def append(self, _):
        self.extend([self.stack.pop()])

    def appends(self, _):
        self.extend(self.since_mark())

    def extend(self, items):
        if type(self.stack[-1]) is not list:
            raise TypeError('append to an object that is not a list')
        self.stack[-1].extend(items)

    def setitem(self, _):
        self.update(self.top(2))

    def setitems(self, _):
        self.update(self.since_mark())

    def update(self, items):
        if type(self.stack[-1]) is not dict or len(items) % 2:
            raise TypeError('items for an object that is not a dict')
        self.stack[-1].update(_pairs(zip(items[::2], items[1::2])))

    def put(self, index):
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]

    def get(self, index):
        self.stack.append(self.memo[index])

    def named(self, name):
        if name not in NAMES:
            shown = ascii(name.replace(' ', '.')[:200])[1:-1]
            raise Fault(f'holds {shown}, which is not a tensor; code in a file is never run here: {WAY_OUT}')
        self.stack.append(Global(name))

    def stack_global(self, _):
        module, name = self.top(2)
        if type(module) is not str or type(name) is not str:  # the text of another object may be endless
            raise TypeError('a global without a name')
        self.named(f'{module} {name}')

    def instance(self, name):
        self.named(name)
        raise Fault(f'has the pickle opcode INST, which no tensor needs: {WAY_OUT}')

    def reduce(self, _):
        made, arguments = self.top(2)
        if type(arguments) is not tuple or type(made) is not Global:
            raise TypeError('a call of an object that is not a name')
        self.stack.append(NAMES[made.name](*arguments))

    def persistent_id(self, _):
        self.stack.append(self.persistent(self.stack.pop()))

    def build(self, _):
        self.stack.pop()

    def nothing(self, _):
        pass

    STEPS = {
        'PROTO': nothing,
        'FRAME': nothing,
        'MARK': mark,
        'TUPLE': to_tuple,
        'APPEND': append,
        'APPENDS': appends,
        'SETITEM': setitem,
        'SETITEMS': setitems,
        'BINPUT': put,
        'LONG_BINPUT': put,
        'MEMOIZE': put,
        'BINGET': get,
        'LONG_BINGET': get,
        'GLOBAL': named,
        'INST': instance,
        'STACK_GLOBAL': stack_global,
        'REDUCE': reduce,
        'BINPERSID': persistent_id,
        'BUILD': build,
    }
