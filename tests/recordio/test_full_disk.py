"""Packing onto a full disk: one line with the file's name, and nothing left behind."""

import os
import resource
import subprocess
import sys

import pytest

from ibnnet_mx.errors import OptionError
from ibnnet_mx.files import outputs
from tests.conftest import ROOT, tiny_picture
from tests.record_sets import png


@pytest.mark.parametrize('pictures', [2, 24])  # the error shows with the last bytes, or between pictures
def test_a_packing_without_room_leaves_nothing(tmp_path, pictures):
    import numpy as np

    for number in range(pictures):
        folder = tmp_path / 'source' / 'ab'[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f'{number}.png').write_bytes(png(tiny_picture(number % 4, np.random.RandomState(number))))
    done = subprocess.run(
        [sys.executable, str(ROOT / 'tools' / 'im2rec_wrapper.py'), 'source', 'out', '--jobs', '1'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr.splitlines()[-1] == 'im2rec_wrapper: out/train_32.rec: cannot be written: File too large'
    assert os.listdir(tmp_path / 'out') == []


def test_an_output_is_whole_or_not_there(tmp_path, monkeypatch):
    outputs.write_output('sheet', str(tmp_path / 'new' / 'a.png'), b'first')
    monkeypatch.setattr(outputs.atomic.os, 'fsync', lambda number: os.write(number + 1000, b'x'))
    with pytest.raises(
        OptionError, match="^sheet='.*a.png' cannot be written: Bad file descriptor; name another file$"
    ):
        outputs.write_output('sheet', str(tmp_path / 'new' / 'a.png'), b'second')
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['a.png']
    assert (tmp_path / 'new' / 'a.png').read_bytes() == b'first'
