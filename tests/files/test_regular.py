"""Files of strangers: only regular ones are read, up to a bound, and nothing waits."""

from __future__ import annotations

import os
import socket

import pytest

from ibnnet_mx.files.regular import open_regular, read_regular


@pytest.mark.parametrize('content', [b'', b'x', bytes(range(256)) * 5000])
def test_a_regular_file_is_read(tmp_path, content):
    (tmp_path / 'a').write_bytes(content)
    assert read_regular(tmp_path / 'a', len(content)) == content
    assert read_regular(str(tmp_path / 'a'), 1 << 40) == content


def test_a_larger_file_is_refused_without_reading_it(tmp_path):
    with open(tmp_path / 'a', 'wb') as file:
        file.truncate(200 << 30)
    with pytest.raises(OSError, match='it has 214748364800 bytes, more than 1000 are not read') as caught:
        read_regular(tmp_path / 'a', 1000)
    assert caught.value.filename == str(tmp_path / 'a')


def test_a_file_that_says_it_is_empty_is_read_to_its_end():
    assert read_regular('/proc/self/stat', 1 << 16)
    with pytest.raises(OSError, match='more than 3 are not read'):
        read_regular('/proc/self/stat', 3)


def special(folder, kind):
    path = folder / kind
    if kind == 'a FIFO':
        os.mkfifo(path)
    elif kind == 'a folder':
        path.mkdir()
    elif kind == 'a socket':
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(os.path.relpath(path))  # a name of a socket must be short
    else:
        os.symlink('/dev/zero', path)
    return path


@pytest.mark.parametrize('kind', ['a FIFO', 'a folder', 'a socket', 'a device'])
def test_what_is_no_regular_file_is_told_and_never_waited_for(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = special(tmp_path, kind)
    for read in (lambda: read_regular(path, 100), lambda: open_regular(path)):
        with pytest.raises(OSError, match=f'it is {kind}, not a regular file'):
            read()


def test_a_missing_file_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / 'none', 1)
