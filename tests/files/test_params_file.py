"""mxnet's .params files: what mxnet writes is read, what is written mxnet reads, and damage is an error with a name."""

import struct
import tracemalloc

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx.files import atomic, params_file

TYPES = ['float32', 'float64', 'float16', 'uint8', 'int32', 'int8', 'int64']
SHAPES = [(3,), (2, 3), (1, 2, 3, 4), (5, 1)]
HEAD = struct.pack('<QQQ', params_file.LIST, 0, 1)
TAIL = struct.pack('<QQ', 1, 1) + b'w'


def samples():
    draw = np.random.RandomState(0)
    return {f'arg:{kind}-{shape}': draw.randint(0, 100, shape).astype(kind) for kind in TYPES for shape in SHAPES}


def same(one, other):
    assert list(one) == list(other)
    for name in one:
        assert one[name].dtype == other[name].dtype
        np.testing.assert_array_equal(one[name], other[name])


def test_what_mxnet_writes_is_read(tmp_path):
    mx.nd.save(str(tmp_path / 'a'), {name: mx.nd.array(a, dtype=a.dtype) for name, a in samples().items()})
    same(params_file.read_params(tmp_path / 'a'), samples())


def test_what_is_written_mxnet_reads(tmp_path):
    atomic.write_file(tmp_path / 'a', params_file.encode_params(samples()))
    found = mx.nd.load(str(tmp_path / 'a'))
    same({name: array.asnumpy() for name, array in found.items()}, samples())


def test_bytes_are_those_of_mxnet(tmp_path):
    mx.nd.save(str(tmp_path / 'a'), {name: mx.nd.array(a, dtype=a.dtype) for name, a in samples().items()})
    assert (tmp_path / 'a').read_bytes() == params_file.encode_params(samples())


def test_nothing_at_all_is_a_file_too(tmp_path):
    """The state of an optimiser without momentum."""
    atomic.write_file(tmp_path / 'a', params_file.encode_params({}))
    assert params_file.read_params(tmp_path / 'a') == {}


@pytest.mark.parametrize(
    'shape',
    [
        struct.pack('<III', 2, 2, 3),
        struct.pack('<IIqq', params_file.V1, 2, 2, 3),
        struct.pack('<IIqq', params_file.V3, 2, 2, 3),
    ],
    ids=['before-v1', 'v1', 'v3'],
)
def test_older_and_newer_encodings_are_read_as_mxnet_does(tmp_path, shape):
    if shape[:4] == struct.pack('<I', params_file.V3):
        shape = shape[:4] + struct.pack('<i', 0) + shape[4:]  # storage type: dense
    values = np.arange(6, dtype='<f4').reshape(2, 3)
    record = shape + struct.pack('<iii', 1, 0, 0) + values.tobytes()
    (tmp_path / 'a').write_bytes(HEAD + record + TAIL)
    same(params_file.read_params(tmp_path / 'a'), {'w': values})
    if shape[:4] != struct.pack('<I', params_file.V3):  # mxnet reads that in its numpy mode only
        same({name: a.asnumpy() for name, a in mx.nd.load(str(tmp_path / 'a')).items()}, {'w': values})


def test_both_encodings_of_an_old_network_are_the_same(shared):
    new, old = (
        params_file.read_params(shared / 'golden' / f'legacy-cifar20{kind}-0000.params') for kind in ('', '-oldfmt')
    )
    same(new, old)
    assert len(new) > 50


def refused(path, data):
    """The text of the refusal; next to no memory is taken for it."""
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f'^{path} ') as error:
            params_file.read_params(path)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()
    return str(error.value)


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path):
    data = params_file.encode_params({'a': np.ones((4, 5), 'f'), 'b': np.ones(7, 'f')})
    for size in [*range(0, len(data), 10), len(data) - 1]:
        refused(tmp_path / 'a', data[:size])
    assert 'is no .params file' in refused(tmp_path / 'a', b'not one of mxnet, but long enough')
    assert 'damaged' in refused(tmp_path / 'a', data + b'x')


def test_flipped_bits_give_arrays_or_a_refusal(tmp_path):
    """No other exception, and no array that the file has no bytes for; a checksum finds the silent ones."""
    data, path = params_file.encode_params({'ab': np.ones((2, 3), 'f'), 'c': np.ones(2, 'f2')}), tmp_path / 'a'
    refusals = passed = 0
    for at in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            path.write_bytes(changed)
            try:
                found = params_file.read_params(path)
            except ValueError as error:
                refusals += str(error).startswith(f'{path} ')
            else:
                passed += 1
                assert sum(a.nbytes for a in found.values()) <= len(data)
    assert refusals + passed == 8 * len(data)
    assert refusals > passed


HUGE = 2**62


@pytest.mark.parametrize(
    'data',
    [
        struct.pack('<QQQ', params_file.LIST, 0, HUGE) + bytes(64),
        HEAD + struct.pack('<IiI', params_file.V2, 0, 2**31) + bytes(64),
        HEAD + struct.pack('<IiIqqiii', params_file.V2, 0, 2, HUGE, HUGE, 1, 0, 0) + TAIL,
        HEAD + struct.pack('<IiIqqiii', params_file.V2, 0, 2, HUGE, 0, 1, 0, 0) + TAIL,
        HEAD + struct.pack('<IiIqqiii', params_file.V2, 0, 2, -2, -3, 1, 0, 0) + bytes(24) + TAIL,
        HEAD + struct.pack('<IiIqiii', params_file.V2, 0, 1, 1, 1, 0, 99) + bytes(4) + TAIL,
        HEAD + struct.pack('<Ii', params_file.V2, 1) + bytes(64),
        HEAD
        + struct.pack('<IiIqiii', params_file.V2, 0, 1, 1, 1, 0, 0)
        + bytes(4)
        + struct.pack('<QQ', 1, HUGE)
        + b'w',
        HEAD
        + struct.pack('<IiIqiii', params_file.V2, 0, 1, 1, 1, 0, 0)
        + bytes(4)
        + struct.pack('<QQ', 1, 1)
        + b'\xff',
        HEAD + struct.pack('<IiIqiii', params_file.V2, 0, 1, 1, 1, 0, 0) + bytes(4) + struct.pack('<Q', 0),
    ],
    ids=['arrays', 'dimensions', 'sides', 'side-beside-0', 'negative', 'type', 'sparse', 'name', 'no-text', 'nameless'],
)
def test_numbers_that_cannot_be_are_refused(tmp_path, data):
    refused(tmp_path / 'a', data)


def test_two_arrays_of_one_name_are_refused(tmp_path):
    data = params_file.encode_params({'a': np.ones(1, 'f'), 'b': np.ones(1, 'f')})
    assert '2 arrays, 1 names' in refused(tmp_path / 'a', data[:-1] + b'a')


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / 'none', tmp_path):
        with pytest.raises(ValueError, match=f'^{path} cannot be read: '):
            params_file.read_params(path)
