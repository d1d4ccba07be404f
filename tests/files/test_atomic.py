"""Files are written whole or not at all, and one file of the package does it."""

import errno
import os
from pathlib import Path

import pytest

from ibnnet_mx.files import atomic
from ibnnet_mx.files.atomic import AtomicFile
from tests.conftest import ROOT


def test_bytes_and_pieces_are_written(tmp_path):
    for data in (b'abc', bytearray(b'abc'), [b'a', b'', b'bc'], (piece for piece in (b'ab', b'c'))):
        atomic.write_file(tmp_path / 'a', data)
        assert (tmp_path / 'a').read_bytes() == b'abc'
    assert os.listdir(tmp_path) == ['a']


@pytest.mark.parametrize('call', ['fsync', 'replace'])
def test_a_full_disk_is_an_error_with_a_name_and_leaves_the_old_file(tmp_path, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    path = tmp_path / 'a'
    atomic.write_file(path, b'old')
    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match='cannot be written: No space left on device') as error:
        atomic.write_file(path, b'new')
    assert error.value.filename == str(path)
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['a']


def test_a_folder_that_is_missing_is_an_error_with_the_name_of_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='cannot be written: No such file') as error:
        atomic.write_file(tmp_path / 'none' / 'a', b'')
    assert error.value.filename == str(tmp_path / 'none' / 'a')


def test_an_interruption_leaves_the_old_file(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    atomic.write_file(tmp_path / 'a', b'old')
    monkeypatch.setattr(os, 'fsync', stop)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_file(tmp_path / 'a', b'new')
    assert (tmp_path / 'a').read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['a']


def test_pieces_that_fail_leave_the_old_file(tmp_path):
    def pieces():
        yield b'half'
        raise ValueError('no more')

    atomic.write_file(tmp_path / 'a', b'old')
    with pytest.raises(ValueError, match='no more'):
        atomic.write_file(tmp_path / 'a', pieces())
    assert (tmp_path / 'a').read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['a']


def test_a_file_has_its_name_once_it_is_committed(tmp_path):
    file = AtomicFile(tmp_path / 'a')
    file.write(b'abc')
    file.seal()
    assert os.listdir(tmp_path) == ['a.part']
    assert (tmp_path / 'a.part').read_bytes() == b'abc'
    file.commit()
    assert os.listdir(tmp_path) == ['a']


def test_a_file_that_is_dropped_leaves_nothing(tmp_path):
    file = AtomicFile(tmp_path / 'a')
    file.write(b'abc')
    file.drop()
    assert os.listdir(tmp_path) == []


def test_a_file_system_that_syncs_no_folders_is_no_error(tmp_path, monkeypatch):
    fsync = os.fsync

    def refuse_folders(fd):
        if Path(f'/proc/self/fd/{fd}').resolve().is_dir():
            raise OSError(errno.EINVAL, 'Invalid argument')
        fsync(fd)

    monkeypatch.setattr(os, 'fsync', refuse_folders)
    atomic.write_file(tmp_path / 'a', b'abc')
    assert (tmp_path / 'a').read_bytes() == b'abc'


ALLOWED = {'files/atomic.py', 'operators/build.py', 'recordio/fast/build.py'}  # the builds sync nothing


def test_one_file_renames_and_syncs():
    package = ROOT / 'ibnnet_mx'
    users = {
        str(path.relative_to(package))
        for path in package.rglob('*.py')
        if any(call in path.read_text() for call in ('os.replace(', 'os.rename(', 'os.fsync('))
    }
    assert users == ALLOWED
