"""Two processes at one output: the second ends in one line, and a lock ends with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from ibnnet_mx.files import atomic, locks
from tests.picture_sets import class_folders, run, tree
from tests.refusals import refused

HOLDER = """
import sys, time
from ibnnet_mx.files import locks
with locks.alone(sys.argv[1], 'DATA_DIR', sys.argv[1], 'wait'):
    print('held', flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that packs into tmp_path/out."""
    (tmp_path / 'out').mkdir()
    words = [sys.executable, '-c', HOLDER, str(tmp_path / 'out' / 'packing')]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'held\n'
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_two_packers_of_one_folder(holder, tmp_path, capsys):
    source = tree(tmp_path / 'in', class_folders())
    assert run(source, tmp_path / 'out') == 2
    said = capsys.readouterr().err.splitlines()
    user = f'process {holder.pid}: wait for it, or name another folder'
    assert said[-1] == f'im2rec_wrapper: DATA_DIR {tmp_path}/out is in use by {user}'
    assert os.listdir(tmp_path / 'out') == ['packing.lock']
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert run(source, tmp_path / 'out') == 0  # the lock of a killed process needs no hand
    assert not (tmp_path / 'out' / 'packing.lock').exists()


def test_the_lock_is_free_again_after_an_error(tmp_path):
    with pytest.raises(KeyError), locks.alone(str(tmp_path / 'a'), 'out', 'a', 'wait'):
        raise KeyError
    with locks.alone(str(tmp_path / 'a'), 'out', 'a', 'wait'):
        (tmp_path / 'a.lock').write_text('half a li\xffne', encoding='latin1')
        with refused('--out a is in use by another process: wait'), locks.alone(
            str(tmp_path / 'a'), 'out', 'a', 'wait'
        ):
            pass
    assert os.listdir(tmp_path) == []


def test_a_file_is_written_by_one_process_at_a_time(tmp_path):
    first = atomic.AtomicFile(tmp_path / 'a')
    first.write(b'first')
    with pytest.raises(OSError, match='cannot be written: another process is writing it') as error:
        atomic.write_file(tmp_path / 'a', b'second')
    assert error.value.filename == str(tmp_path / 'a')
    first.commit()
    assert (tmp_path / 'a').read_bytes() == b'first'
    atomic.write_file(tmp_path / 'a', b'2')
    assert (tmp_path / 'a').read_bytes() == b'2'


def test_a_part_file_is_no_link_to_another_file(tmp_path):
    (tmp_path / 'precious').write_text('precious')
    (tmp_path / 'a.part').symlink_to(tmp_path / 'precious')
    atomic.write_file(tmp_path / 'a', b'new')
    assert (tmp_path / 'precious').read_text() == 'precious'
    assert (tmp_path / 'a').read_bytes() == b'new'
    assert not (tmp_path / 'a').is_symlink()
