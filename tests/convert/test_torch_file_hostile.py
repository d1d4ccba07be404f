"""PyTorch's files: nothing in them is run, and nothing they say of themselves is believed."""

import contextlib
import pickle
import time
import tracemalloc

import numpy as np
import pytest

from tests.conftest import thorough
from tests.torch_files import Pickler, Raw, call, legacy_bytes, legacy_pickles, named, same, tensor, zip_bytes


def attacks(sentinel):
    """{global that is named in the error: pickle that would make the file sentinel}"""
    word = f'touch {sentinel}'
    text = Pickler().value(word)
    return {
        'posix.system': b'\x80\x02' + call('posix system', word) + b'.',
        'os.system': b'\x80\x02' + call('os system', word) + b'.',
        'builtins.eval': b'\x80\x02' + call('builtins eval', f'open({str(sentinel)!r}, "w")') + b'.',
        '__builtin__.exec': b'\x80\x02' + call('__builtin__ exec', f'open({str(sentinel)!r}, "w")') + b'.',
        'builtins.getattr': b'\x80\x02' + call('builtins getattr', named('os path'), 'os') + b'.',
        'subprocess.call': b'\x80\x04\x8c\x0asubprocess\x8c\x04call\x93(](\x8c\x05touch' + text + b'etR.',
        'nt.system': b'\x80\x02(' + text + b'int\nsystem\n.',
        'torch.hub.load': b'\x80\x02' + call('torch.hub load', 'a/b') + b'.',
        'os.popen': b'\x80\x02' + call('os popen', word)[:-1] + b'\x81.',
        'argparse.Namespace': b'\x80\x02cargparse\nNamespace\n)\x81}b.',
        'torch._utils.os.system': b'\x80\x04\x8c\x0ctorch._utils\x8c\x09os.system\x93(' + text + b'tR.',
    }


def placed(attack):
    """The attack as, and inside, each pickle of both formats."""
    value = {'w': np.ones(2, np.float32)}
    pickles, raw = legacy_pickles(value)
    yield zip_bytes(value, data_pkl=attack)
    yield zip_bytes({**value, 'x': Raw(attack[2:-1])})
    for n in range(5):
        yield b''.join([*pickles[:n], attack, *pickles[n + 1 :]]) + raw
        yield b''.join([*pickles[:n], attack[:-1] + b'0' + pickles[n][2:], *pickles[n + 1 :]]) + raw  # popped again
    yield legacy_bytes({**value, 'x': Raw(attack[2:-1])})


@pytest.mark.parametrize('name', attacks(''))
def test_nothing_is_run_and_the_error_names_what_would_be(read, tmp_path, name):
    sentinel = tmp_path / 'sentinel'
    for data in placed(attacks(sentinel)[name]):
        for use_torch in (False, True):
            with pytest.raises(ValueError, match=f'^holds {name}, .*: save the weights alone with torch.save'):
                read(data, use_torch)
    assert not sentinel.exists()


def test_the_attack_would_do_harm(tmp_path):
    """Else the test above would prove nothing."""
    pickle.loads(attacks(tmp_path / 'sentinel')['posix.system'])
    assert (tmp_path / 'sentinel').exists()


@pytest.mark.parametrize(
    'opcodes',
    [
        b'I5\n',
        b'S"a"\n',
        b'\x82\x01',
        b'(\x8f',
        b'P1\n',
        b'2',
        b'\x96' + bytes(8),
        b'\x97',
        b')\x81',
        b'(icollections\nOrderedDict\n',
    ],
)
def test_other_opcodes_are_refused(read, opcodes):
    with pytest.raises(ValueError, match='has the pickle opcode .* which no tensor needs|is damaged'):
        read(zip_bytes({'x': Raw(opcodes), 'w': np.ones(1)}))


def test_state_changes_nothing(read):
    """OrderedDict(...).__dict__ of a hostile file would hide its own items()."""
    state = Raw(named('collections OrderedDict') + b')R' + Pickler().value({'items': 1, 'get': 2}) + b'b')
    same(read(zip_bytes({'state_dict': {'w': np.ones(1)}, 'x': state})), {'w': np.ones(1)})


HUGE = 10**9
LIES = {
    'beyond': tensor((5,), (1,)),
    'stride': tensor((2, 2), (3, 1)),
    'offset': tensor((2,), (1,), offset=3),
    'offset at the end': tensor((), (), offset=4),
    'negative offset': tensor((2,), (1,), offset=-1),
    'negative stride': tensor((2,), (-1,), offset=3),
    'negative size': tensor((-1,), (1,)),
    'stride 0': tensor((HUGE, HUGE), (0, 0)),
    'stride 0, small': tensor((5,), (0,)),
    'overflow': tensor((2**62, 4), (2**62, 2**62)),
    'long': tensor((2**100,), (1,)),
    'longer': tensor((1, 1), (2**70, 1)),
    'no stride': tensor((2, 2), (1,)),
    'dimensions': tensor((1,) * 33, (1,) * 33),
    'fraction': tensor((2.0,), (1,)),
    'truth': tensor((True,), (1,)),
    'text': tensor('ab', 'ab'),
    'more numbers': tensor((2,), (1,), count=5),
    'fewer numbers': tensor((2,), (1,), count=3),
    'no numbers': tensor((0,), (1,), count=-1),
    'most numbers': tensor((2,), (1,), count=2**61),
    'another type': tensor((2,), (1,), kind='Double'),
    'another key': tensor((2,), (1,), key='1'),
    'a path': tensor((2,), (1,), key='../../data.pkl'),
    'no storage': call('torch._utils _rebuild_tensor_v2', 1, 0, (2,), (1,)),
    'no arguments': call('torch._utils _rebuild_tensor_v2'),
    'no id': Raw(b'NQ'),
}


@pytest.mark.parametrize('lie', LIES)
def test_what_does_not_fit_the_storage_is_refused_without_memory(read, lie):
    four = np.zeros(4, np.float32)
    for data in (zip_bytes({'w': four, 'x': LIES[lie]}), legacy_bytes({'w': four, 'x': LIES[lie]})):
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match='is damaged'):
                read(data)
            assert tracemalloc.get_traced_memory()[1] < 2e6
        finally:
            tracemalloc.stop()


def test_a_tensor_of_no_account_is_no_lie(read):
    """torch itself writes any stride along a side of 1, or where there is nothing at all."""
    four = np.arange(4, dtype=np.float32)
    content = {'w': four, 'x': tensor((1, 4), (2**62, 1)), 'y': tensor((0, 9), (9, 1), offset=4)}
    same(read(zip_bytes(content)), {'w': four, 'x': four[None], 'y': np.zeros((0, 9), np.float32)})


def test_a_view_of_a_legacy_storage_is_read_within_its_bounds(read):
    """Of torch < 0.4."""
    four = np.arange(4, dtype=np.float32)
    part = {'w': four, 'x': tensor((2,), (1,), view=Pickler().value(('7', 1, 3)), offset=1)}
    same(read(legacy_bytes(part)), {'w': four, 'x': four[2:]})
    for view, offset in ((('7', 2, 3), 0), (('7', -1, 3), 0), (('7', 1, 3), 2), (('7', 1), 0)):
        part['x'] = tensor((2,), (1,), view=Pickler().value(view), offset=offset)
        with pytest.raises(ValueError, match='is damaged'):
            read(legacy_bytes(part))


def test_many_names_of_one_storage_are_refused_without_memory(read):
    base = np.zeros(200_000, np.float32)
    with pytest.raises(ValueError, match='is refused: its tensors take more than 16 times the memory of the file'):
        read(zip_bytes({f'w{n}': base[:] for n in range(5000)}))
    assert len(read(zip_bytes({f'w{n}': base[:] for n in range(3)}))) == 3


DEEP = b')' + b'\x85' * 200_000  # nested tuples, whose hash() overflows the stack of C
HOSTILE = {
    'a memo of 2**31 places': b'r\xff\xff\xff\x7f',
    'nested lists': b']' * 100_000 + b'a' * 99_999,
    'nested tuples': DEEP,
    'a tuple as key': b'}' + DEEP + b'Ns',
    'a tuple as key of a call': b'ccollections\nOrderedDict\n](](' + DEEP + b'Neee\x85R',
    'a tuple as key of a storage': b'](' + DEEP + b'e',
    'a long text': b'X\xff\xff\xff\x7fab',
    'a longer text': b'\x8d\xff\xff\xff\xff\xff\xff\xff\x7fab',
    'a long number': b'\x8b\xff\xff\xff\x7f',
    'marks': b'(' * 100_000,
    'a list of itself': b']q\0(' + b'h\0' * 1000 + b'e',
}


ALIKE = ('nested tuples', 'a tuple as key of a call', 'a tuple as key of a storage')


@pytest.mark.parametrize('name', [*(name for name in HOSTILE if name not in ALIKE), *thorough(*ALIKE)])
def test_hostile_pickles_end_soon(read, name):
    began = time.monotonic()
    for data in list(placed(b'\x80\x02' + HOSTILE[name] + b'.'))[::2]:  # without those that are popped again
        with contextlib.suppress(ValueError):
            read(data)
    assert time.monotonic() - began < 60


def test_a_dict_copied_again_and_again_stays_one(read):
    many = Pickler().value({str(n): n for n in range(20_000)}) + b'q\0'
    again = named('collections Counter') + b'h\0\x85R'
    tracemalloc.start()
    try:
        read(zip_bytes({'w': np.ones(1), 'x': Raw(b'](' + many + again * 1000 + b'e')}))
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()
