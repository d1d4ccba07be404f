"""Verification sets of faces: read as they are written by Python 2 and 3, and nothing in them is run."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from ibnnet_mx.cli import records
from ibnnet_mx.recordio.format import RecordError
from ibnnet_mx.recordio.reading.pairs import read_pairs
from tests.picture_sets import encoded

PICTURES = [encoded(i, (112, 112)) for i in range(6)]
SAME = [True, False, True]


@pytest.mark.parametrize('protocol', [0, 2, 4])
@pytest.mark.parametrize('kind', ['bytes', 'arrays', 'numpy bools'])
def test_pairs_come_back(tmp_path, protocol, kind, capsys):
    pictures = PICTURES if kind == 'bytes' else [np.frombuffer(one, np.uint8) for one in PICTURES]
    same = list(np.array(SAME)) if kind == 'numpy bools' else SAME
    (tmp_path / 'lfw.bin').write_bytes(pickle.dumps((pictures, same), protocol))
    pairs = read_pairs(tmp_path / 'lfw.bin')
    assert pairs.pictures == PICTURES
    assert pairs.same.tolist() == SAME
    assert records.main([str(tmp_path / 'lfw.bin')]) == 0
    assert 'pairs    3: 2 of one person, 1 of two\n  size     112x112' in capsys.readouterr().out


class Evil:
    def __reduce__(self):
        return os.system, ('echo evil > "$EVIL_FILE"',)


def test_nothing_in_a_file_is_run(tmp_path, monkeypatch):
    monkeypatch.setenv('EVIL_FILE', str(tmp_path / 'evil'))
    (tmp_path / 'lfw.bin').write_bytes(pickle.dumps((PICTURES, [Evil()] * 3)))
    with pytest.raises(
        RecordError, match='lfw.bin is a pickle that asks for posix.system, which a verification set does'
    ):
        read_pairs(tmp_path / 'lfw.bin')
    assert not (tmp_path / 'evil').exists()


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'junk',
        pickle.dumps(3),
        pickle.dumps((PICTURES, [True])),
        pickle.dumps(([3, 4], [1])),
        pickle.dumps((3, 4)),
    ],
)
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / 'lfw.bin').write_bytes(content)
    with pytest.raises(RecordError, match='lfw.bin'):
        read_pairs(tmp_path / 'lfw.bin')
