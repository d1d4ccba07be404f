"""PyTorch's files: what is cut, flipped, of another format or machine is an error that says what is wrong."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest

from ibnnet_mx.convert import torch_file
from tests.torch_files import (
    FORMATS,
    Pickler,
    archive,
    every_kind,
    legacy_bytes,
    legacy_pickles,
    tensor,
    zip_bytes,
)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r'none.pth cannot be read: No such file or directory$'):
        torch_file.read_torch(tmp_path / 'none.pth')
    with pytest.raises(ValueError, match=r'cannot be read: Is a directory$'):
        torch_file.read_torch(tmp_path)


def plain(value):
    """The records of a zip file, and their root."""
    zipped = zipfile.ZipFile(io.BytesIO(zip_bytes(value)))
    return [(name, zipped.read(name)) for name in zipped.namelist()]


def foreign():
    """{text of the error: file}"""
    value = {'w': np.ones(100, np.float32)}
    pickles, raw = legacy_pickles(value)
    big = Pickler().pickle({'little_endian': False})
    tar = bytearray(512)
    tar[257:262] = b'ustar'
    return {
        "is not a PyTorch file: it begins with b''": b'',
        "is not a PyTorch file: it begins with b'<!DOCTYPE html>'": b'<!DOCTYPE html>\n<html>'[:15],
        'is not a PyTorch file: it begins with b.*{"w":': struct.pack('<Q', 60) + b'{"w":{"dtype":"F32"}}',
        'is not a PyTorch file, but another pickle': pickle.dumps({'w': [1, 2]}, 2),
        'is not a PyTorch file: a zip file without': archive([('w.npy', b'123')]),
        r'is a tar file \(of torch before 0.1.10, or packed later\): unpack it, or in PyTorch': bytes(tar),
        'is a TorchScript archive, .* torch.jit.load': zip_bytes(value, {'constants.pkl': b''}),
        'is a TorchScript archive, which': zip_bytes(value, {'code/net.py': b''}),
        'was written by a big-endian machine': zip_bytes(value, {'byteorder': b'big'}),
        'was written by a big-endian machine:': b''.join([*pickles[:2], big, *pickles[3:]]) + raw,
        'has an unknown protocol': b''.join([pickles[0], Pickler().pickle(1002), *pickles[2:]]) + raw,
        'is a zip file whose entries are compressed': archive(plain(value), zipfile.ZIP_DEFLATED),
        'is damaged: 1 storages for 1, 3 bytes left over': legacy_bytes(value) + b'abc',
        'is damaged: .*two entries of one name': archive([*plain(value), plain(value)[2]]),
        'is not a PyTorch file: a zip file without exactly one data.pkl': archive([*plain(value), ('b/data.pkl', b'')]),
        "is damaged or cut short: storage '0'": archive([r for r in plain(value) if r[0] != 'archive/data/0']),
        "is damaged or cut short: storage '0' does not have": archive(
            [(n, r[:-4] if '/0' in n else r) for n, r in plain(value)]
        ),
        'is damaged or cut short: KeyError': b''.join([*pickles[:4], Pickler().pickle(['5'])]) + raw,
        'is damaged: 0 storages for 1': b''.join([*pickles[:4], Pickler().pickle([])]),
        'is damaged: storage .0. is announced in two ways': legacy_bytes({**value, 'x': tensor((1,), (1,))}),
    }


@pytest.mark.filterwarnings('ignore:Duplicate name')
@pytest.mark.parametrize('number', range(20))
def test_what_is_no_sound_file_of_torch_says_why(read, number):
    text, data = list(foreign().items())[number]
    with pytest.raises(ValueError, match=f'^{text}'):
        read(data)


def test_a_cut_file_is_an_error_at_every_length(read, encode):
    data = encode({'state_dict': every_kind()})
    for length in [*range(0, len(data), 23), len(data) - 1]:
        with pytest.raises(ValueError, match=r'is damaged|is not a PyTorch file|has no tensors'):
            read(data[:length])


def bounded(read, data, limit):
    try:
        found = read(data)
    except ValueError:
        return False
    assert sum(array.nbytes for array in found.values()) <= limit
    return True


@pytest.mark.filterwarnings('ignore:invalid escape sequence')  # pickletools, of an opcode that is refused
@pytest.mark.parametrize('name', ['zip', 'legacy', 'python2', 'zip with right sums'])
def test_flipped_bytes_are_an_error_or_other_numbers(read, name):
    """300 files each; where the sums of the zip file are right again, its pickle alone is what is damaged."""
    content = {'state_dict': every_kind(), 'epoch': 3}
    draw = np.random.RandomState(1)
    records = dict(plain(content))
    data = FORMATS[name](content) if name in FORMATS else records['archive/data.pkl']
    survived = 0
    for _ in range(300):
        hurt = bytearray(data)
        for at in draw.randint(0, len(data), draw.randint(1, 4)):
            hurt[at] ^= 1 << draw.randint(8)
        if name not in FORMATS:
            hurt = archive(list({**records, 'archive/data.pkl': bytes(hurt)}.items()))
        survived += bounded(read, bytes(hurt), torch_file.MOST_SHARING * len(hurt))
    assert survived < 290
