"""Heads of records: read in blocks and kept in few bytes, the same as one by one; and the file that notes them."""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest

from ibnnet_mx.recordio import format as records_format
from ibnnet_mx.recordio.fast import native
from ibnnet_mx.recordio.format import RecordError, RecordFile, encode, write_index
from ibnnet_mx.recordio.framing import MAGIC_BYTES
from ibnnet_mx.recordio.opening import head_cache, heads

KINDS = {  # name: payload and label of record i
    'plain': lambda i: (bytes(i % 7), float(i)),
    'wide': lambda i: (bytes(i % 7), [i, i + 0.5]),
    'in parts': lambda i: (MAGIC_BYTES + bytes(i % 7) if i % 3 == 1 else b'x', float(i)),
    'in parts and wide': lambda i: (MAGIC_BYTES * 2 + b'y', [i, 1.0, 2.0]),
    'large': lambda i: (bytes(9000 + i), float(i)),
}
COUNT = 40


def write(folder, kind='plain', order=None, first_id=0, count=COUNT):
    """a.rec and a.idx of `count` records, the index in any order."""
    data = [encode(*KINDS[kind](i), first_id + i) for i in range(count)]
    offsets = np.cumsum([0] + [len(one) for one in data])[:-1]
    order = np.arange(count) if order is None else order
    (folder / 'a.rec').write_bytes(b''.join(data))
    write_index(folder / 'a.idx', order + first_id, offsets[order])
    return folder / 'a.rec'


def seen(records):
    """All that a reader needs of records."""
    positions = np.arange(len(records))
    items = [records.read(int(i)) for i in positions]
    spans = [part.tolist() for part in records.spans(positions)[1:]]
    return (
        records.ids.tolist(),
        records.offsets.tolist(),
        records.sizes.tolist(),
        records.labels().tolist(),
        spans,
        [(item.id, item.label.tolist(), item.payload) for item in items],
    )


@pytest.mark.parametrize('shuffled', [False, True])
@pytest.mark.parametrize('kind', KINDS)
def test_heads_are_those_of_the_records(tmp_path, kind, shuffled):
    order = np.random.RandomState(0).permutation(COUNT) if shuffled else None
    with RecordFile(write(tmp_path, kind, order)) as records:
        ids, _, sizes, labels, (offsets, starts, lengths), items = seen(records)
        data = (tmp_path / 'a.rec').read_bytes()
        assert sum(sizes) == len(data)
        for i, (record_id, label, payload) in enumerate(items):
            assert (ids[i], labels[i]) == (record_id, label)
            assert payload == KINDS[kind](record_id)[0]
            if starts[i]:
                assert data[offsets[i] + starts[i] :][: lengths[i]] == payload
            else:
                assert MAGIC_BYTES in payload
        assert records.header_ids().tolist() == ids
        some_positions = np.array([7, 3, 3])
        for part, whole in zip(records.spans(some_positions), records.spans()):
            assert part.tolist() == whole[some_positions].tolist()


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('way', ['near', 'far', 'without C', 'small blocks'])
def test_each_way_to_read_heads_gives_the_same(tmp_path, kind, way, monkeypatch):
    path = write(tmp_path, kind)
    with RecordFile(path) as records:
        wanted = seen(records)
    if way == 'small blocks':
        monkeypatch.setattr(heads, 'BLOCK', 3)
        monkeypatch.setattr(heads, 'TOGETHER', 100)
    else:
        monkeypatch.setattr(heads, 'NEAR', {'near': 1 << 40}.get(way, -1))
    if way == 'without C':
        monkeypatch.setattr(native, 'functions', lambda: None)
    with RecordFile(path) as records:
        assert seen(records) == wanted


@pytest.fixture
def eager(monkeypatch):
    """Files of any number of records are noted, however young."""
    monkeypatch.setattr(head_cache, 'LEAST', 1)
    monkeypatch.setattr(head_cache, 'SETTLED', -1e9)


def noted(path):
    return path.with_name(path.name + head_cache.SUFFIX)


def no_index(*_):
    raise AssertionError('the index was parsed')


@pytest.mark.parametrize('shuffled', [False, True])
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('first_id', [0, 1 << 40])
def test_the_second_opening_takes_what_is_noted(tmp_path, kind, shuffled, first_id, eager, monkeypatch):
    order = np.random.RandomState(0).permutation(COUNT) if shuffled else None
    path = write(tmp_path, kind, order, first_id)
    with RecordFile(path) as records:
        wanted = seen(records)
    assert sorted(os.listdir(tmp_path)) == ['a.idx', 'a.rec', 'a.rec.heads']
    monkeypatch.setattr(records_format, 'read_columns', no_index)
    with RecordFile(path) as records:
        assert seen(records) == wanted
    with pytest.raises(AssertionError, match='the index was parsed'):
        RecordFile(path, cached=False)


def test_records_without_an_index_are_noted_too(tmp_path, eager, monkeypatch):
    path = write(tmp_path)
    (tmp_path / 'a.idx').unlink()
    with RecordFile(path) as records:
        wanted = seen(records)
    monkeypatch.setattr(records_format, '_scan', no_index)
    with RecordFile(path) as records:
        assert seen(records) == wanted


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def touch(path):
    os.utime(path, ns=(1, os.stat(path).st_mtime_ns + 1))


SPOILT = {
    'index touched': lambda path: touch(path.with_suffix('.idx')),
    'records touched': touch,
    'cut off': lambda path: noted(path).write_bytes(noted(path).read_bytes()[:-1]),
    'empty': lambda path: noted(path).write_bytes(b''),
    'a bit of an id': lambda path: flip(noted(path), head_cache.HEADER.size + 1),
    'a bit of a label': lambda path: flip(noted(path), -1),
    'a bit of the count': lambda path: flip(noted(path), 50),
    'a folder': lambda path: (noted(path).unlink(), noted(path).mkdir()),
    'a FIFO': lambda path: (noted(path).unlink(), os.mkfifo(noted(path))),
}


@pytest.mark.parametrize('kind', SPOILT)
def test_what_is_stale_or_damaged_is_never_taken(tmp_path, kind, eager, monkeypatch):
    path = write(tmp_path)
    with RecordFile(path) as records:
        wanted = seen(records)
    SPOILT[kind](path)
    with monkeypatch.context() as patch:
        patch.setattr(records_format, 'read_columns', no_index)
        with pytest.raises(AssertionError, match='the index was parsed'):
            RecordFile(path)
    with RecordFile(path) as records:
        assert seen(records) == wanted


def test_other_records_of_the_same_size_and_time_are_seen(tmp_path, eager):
    path = write(tmp_path)
    RecordFile(path).close()
    times = [os.stat(path.with_suffix(suffix)).st_mtime_ns for suffix in ('.rec', '.idx')]
    data = bytearray(path.read_bytes())
    data[12:16] = struct.pack('<f', 9)  # the first record's label
    path.write_bytes(data)
    for suffix, time in zip(('.rec', '.idx'), times):
        os.utime(path.with_suffix(suffix), ns=(time, time))
    with RecordFile(path) as records:
        assert records.labels()[0, 0] == 9


@pytest.mark.parametrize('cut', [4, 40])
def test_a_file_that_was_truncated_since_is_refused(tmp_path, cut, eager):
    path = write(tmp_path)
    RecordFile(path).close()
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(RecordError, match='does not fit'):
        RecordFile(path)


def test_nothing_is_noted_where_it_cannot_be_or_is_too_early(tmp_path, eager, monkeypatch):
    def refuse(*_):
        raise OSError('read-only')

    path = write(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(head_cache.atomic, 'write_file', refuse)
        RecordFile(path).close()
    monkeypatch.setattr(head_cache, 'SETTLED', 1e9)  # a file that may change within the same tick of the clock
    RecordFile(path).close()
    monkeypatch.setattr(head_cache, 'SETTLED', -1e9)
    monkeypatch.setattr(head_cache, 'LEAST', COUNT + 1)
    RecordFile(path).close()
    assert sorted(os.listdir(tmp_path)) == ['a.idx', 'a.rec']


def forge(path, change):
    """Write what is noted anew, with a right sum, after change(ids, heads)."""
    with RecordFile(path) as records:
        ids, kept = records.ids, records._heads
        change(kept)
        head_cache.save(records._frames, str(path.with_suffix('.idx')), ids, kept)


@pytest.mark.parametrize('shuffled', [False, True])
@pytest.mark.parametrize('at', [-8, 1 << 60, 5])
def test_a_forged_file_leads_nowhere(tmp_path, at, shuffled, eager):
    path = write(tmp_path, order=np.arange(COUNT)[::-1] if shuffled else None)
    with RecordFile(path) as records:
        wanted = seen(records)

    def change(kept):
        kept.offsets[7] = at
        if kept.follows is not None:
            kept.follows[8] = at

    forge(path, change)
    with RecordFile(path) as records:
        assert seen(records) == wanted


@pytest.mark.parametrize('place', range(0, head_cache.HEADER.size, 3))
def test_any_byte_of_the_header_may_be_wrong(tmp_path, place, eager):
    path = write(tmp_path)
    with RecordFile(path) as records:
        wanted = seen(records)
    data = bytearray(noted(path).read_bytes())
    data[place] ^= 0xFF
    noted(path).write_bytes(data)
    with RecordFile(path) as records:
        assert seen(records) == wanted
