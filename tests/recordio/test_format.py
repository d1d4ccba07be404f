"""RecordIO framing, image record headers and indices, against mxnet's own reader and writer."""

from __future__ import annotations

import os
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ibnnet_mx.recordio.format import RecordError, RecordFile, encode, read_index, scan_records, write_index

MAGIC = struct.pack('<I', 0xCED7230A)
pieces = st.lists(st.one_of(st.binary(max_size=9), st.just(MAGIC), st.just(MAGIC * 2)), max_size=8).map(b''.join)
labels = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=4),
)


def write(folder, records, name='a'):
    """NAME.rec and NAME.idx of framed records; the offsets."""
    offsets = [0, *np.cumsum([len(record) for record in records])[:-1]]
    (folder / f'{name}.rec').write_bytes(b''.join(records))
    write_index(folder / f'{name}.idx', range(len(records)), offsets)
    return folder / f'{name}.rec', offsets


def small(count=5, size=10):
    return [encode(bytes([i]) * (size + i), i, i) for i in range(count)]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(st.tuples(pieces, labels, st.integers(0, 2**63 - 1)), min_size=1, max_size=5))
def test_what_is_encoded_is_read(tmp_path, items):
    path = tmp_path / 'h.rec'
    path.write_bytes(b''.join(encode(*item) for item in items))
    with RecordFile(path) as records:
        assert records.ids.tolist() == [item[2] for item in items]
        for i, (payload, label, record_id) in enumerate(items):
            found = records.read(i)
            assert (found.payload, found.id) == (payload, record_id)
            np.testing.assert_array_equal(found.label, np.float32(label).reshape(-1))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(st.tuples(pieces, labels), min_size=1, max_size=4))
def test_bytes_are_those_that_mxnet_writes(tmp_path, items):
    recordio = pytest.importorskip('mxnet').recordio
    theirs = recordio.MXRecordIO(str(tmp_path / 'm.rec'), 'w')
    for i, (payload, label) in enumerate(items):
        label = label if not isinstance(label, list) or len(label) > 1 else label[0]
        theirs.write(recordio.pack(recordio.IRHeader(0, label, i, 0), payload))
    theirs.close()
    assert (tmp_path / 'm.rec').read_bytes() == b''.join(encode(*item, i) for i, item in enumerate(items))


def test_mxnet_reads_our_files_and_we_read_its_files(tmp_path):
    recordio = pytest.importorskip('mxnet').recordio
    payloads = [b'x' * 7, MAGIC + b'abcd' + MAGIC, b'', b'12345' + MAGIC]
    path, _ = write(tmp_path, [encode(payload, [i, i + 0.5], i) for i, payload in enumerate(payloads)])
    theirs = recordio.MXIndexedRecordIO(str(tmp_path / 'a.idx'), str(path), 'r')
    for i in (2, 0, 3, 1):
        header, payload = recordio.unpack(theirs.read_idx(i))
        assert (payload, header.id, header.label.tolist()) == (payloads[i], i, [i, i + 0.5])
    written = recordio.MXIndexedRecordIO(str(tmp_path / 'b.idx'), str(tmp_path / 'b.rec'), 'w')
    for i, payload in enumerate(payloads):
        written.write_idx(10 + i, recordio.pack(recordio.IRHeader(0, 3.5, 10 + i, 0), payload))
    written.close()
    with RecordFile(tmp_path / 'b.rec') as ours:
        assert [ours.read(i).payload for i in range(4)] == payloads
        assert ours.ids.tolist() == [10, 11, 12, 13]
        assert ours.labels().tolist() == [[3.5]] * 4


def test_scan_index_and_labels_agree(tmp_path):
    records = [encode(MAGIC * i, [i, -i], 7 * i) for i in range(9)]
    path, offsets = write(tmp_path, records)
    found, ids = scan_records(path)
    assert found.dtype == ids.dtype == np.int64
    assert (found.tolist(), ids.tolist()) == (offsets, [7 * i for i in range(9)])
    with RecordFile(path) as indexed, RecordFile(path, '') as scanned:
        assert indexed.ids.tolist() == list(range(9))
        for opened in (indexed, scanned):
            assert len(opened) == 9
            assert opened.labels().dtype == np.float32
            assert opened.labels().tolist() == [[i, -i] for i in range(9)]


def test_order_of_the_index_is_the_order_of_the_records(tmp_path):
    path, offsets = write(tmp_path, small())
    order = [3, 0, 4, 2, 1]
    write_index(tmp_path / 'a.idx', order, [offsets[i] for i in order])
    with RecordFile(path) as records:
        assert records.labels()[:, 0].tolist() == order
        assert [records.read(i).id for i in range(5)] == order


def test_threads_read_the_same_file_at_once(tmp_path):
    path, _ = write(tmp_path, [encode(os.urandom(3000), i, i) for i in range(200)])
    with RecordFile(path) as records, ThreadPoolExecutor(8) as threads:
        alone = [records.read(i).payload for i in range(200)]
        assert [item.payload for item in threads.map(records.read, list(range(200)) * 5)] == alone * 5


def patched(at, value):
    def change(data, offsets):
        changed = bytearray(data)
        changed[offsets[2] + at : offsets[2] + at + len(value)] = value
        return bytes(changed)

    return change


DAMAGES = {  # what is done to the third of five records -> what is said without an index
    'bad magic': (patched(0, b'\0\0\0\0'), r'record 2 at byte \d+: has 0x00000000 where the magic number'),
    'continuation at the start': (patched(7, b'\x40'), r'record 2 at byte \d+: has continuation flag 2 in its first'),
    'first part without a next': (patched(7, b'\x20'), r'record 2 at byte \d+: has continuation flag 0 in its next'),
    'length beyond the file': (patched(4, b'\xff\xff\xff\x1f'), r'record 2 at byte \d+: is cut off by the end'),
    'length of a header cut': (patched(4, b'\x04\0\0\0'), r'record 3 at byte \d+: has 0x'),
    'truncated payload': (lambda data, offsets: data[:-4], r'record 4 at byte \d+: is cut off by the end of the file'),
    'truncated header': (lambda data, offsets: data[: offsets[4] + 6], r'record 4 at byte \d+: is cut off by the end'),
}


@pytest.mark.parametrize('indexed', [False, True])
@pytest.mark.parametrize('name', DAMAGES)
def test_damage_is_named_when_the_file_is_opened(tmp_path, name, indexed):
    path, offsets = write(tmp_path, small())
    change, text = DAMAGES[name]
    path.write_bytes(change(path.read_bytes(), offsets))
    if not indexed:
        (tmp_path / 'a.idx').unlink()
    with pytest.raises(RecordError, match=r'a\.idx does not fit: delete it' if indexed else text) as caught:
        RecordFile(path)
    assert str(path) in str(caught.value)
    assert 'record ' in str(caught.value)


@pytest.mark.parametrize('name', ['bad magic', 'continuation at the start', 'first part without a next'])
def test_damage_after_opening_is_an_error_of_its_record_only(tmp_path, name):
    path, offsets = write(tmp_path, small())
    with RecordFile(path) as records:
        path.write_bytes(DAMAGES[name][0](path.read_bytes(), offsets))
        assert records.read(1).id == 1
        with pytest.raises(RecordError, match=r'a\.rec: record 2 at byte'):
            records.read(2)
        path.write_bytes(path.read_bytes()[: offsets[4] + 30])
        with pytest.raises(RecordError, match='record 4 .* is truncated'):
            records.read(4)


def test_record_without_a_whole_header_or_with_labels_cut_is_named(tmp_path):
    path = tmp_path / 'a.rec'
    path.write_bytes(encode(b'', 1, 0) + struct.pack('<II', 0xCED7230A, 20) + bytes(20) + encode(b'', 1, 2))
    with pytest.raises(RecordError, match='record 1 at byte 32: has 20 bytes, less than the 24 of an image record'):
        RecordFile(path)
    path.write_bytes(encode(b'', 1, 0) + struct.pack('<III', 0xCED7230A, 28, 1000) + bytes(24))
    with RecordFile(path) as records, pytest.raises(RecordError, match='record 1 .* the 1000 labels'):
        records.labels()


def test_labels_of_different_widths_are_named(tmp_path):
    path, _ = write(tmp_path, [encode(b'', 1, 0), encode(b'', [1, 2], 1)])
    with RecordFile(path) as records, pytest.raises(RecordError, match='record 1 .* 2 labels, the first record has 1'):
        records.labels()


def test_missing_and_empty_files_are_named(tmp_path):
    with pytest.raises(RecordError, match=r'none\.rec: cannot open the records: No such file'):
        RecordFile(tmp_path / 'none.rec')
    (tmp_path / 'empty.rec').touch()
    with pytest.raises(RecordError, match=r'empty\.rec is empty'):
        RecordFile(tmp_path / 'empty.rec')
    with pytest.raises(RecordError, match='cannot open the records: it is a folder, not a regular file'):
        RecordFile(tmp_path)
    path, _ = write(tmp_path, small())
    with pytest.raises(RecordError, match=r'other\.idx: cannot open the index'):
        RecordFile(path, tmp_path / 'other.idx')


def lines(offsets):
    return [f'{i}\t{at}' for i, at in enumerate(offsets)]


INDICES = {  # lines of a wrong index -> what is said
    'empty': (lambda at: [], 'the index is empty'),
    'words': (lambda at: [*lines(at)[:2], 'two\twords', *lines(at)[3:]], "line 3 is 'two\\\\twords'"),
    'one column': (lambda at: ['0', *lines(at)[1:]], "line 1 is '0'"),
    'huge number': (lambda at: [*lines(at)[:4], f'4\t{2**64}'], 'line 5 is'),
    'not a start': (lambda at: lines([*at[:3], at[3] + 4, at[4]]), 'record 3 .* where the magic number .* delete it'),
    'beyond the end': (lambda at: lines([*at[:4], 10**6]), r'record 4 at byte 1000000: is not within'),
    'negative': (lambda at: lines([*at[:4], -4]), r'record 4 at byte -4: is not within'),
    'too few': (lambda at: lines(at[:4]), 'record 3 .* but the file ends at'),
    'a gap': (lambda at: lines([*at[:2], *at[3:]]), 'record 1 .* but the next record of the index starts at'),
    'no first': (lambda at: lines(at[1:]), 'record 0 .* is the first of the index, but not of the file'),
    'duplicate': (lambda at: lines([*at, at[2]]), 'record 2 .* but the next record of the index starts at'),
}


@pytest.mark.parametrize('name', INDICES)
def test_wrong_index_is_named_and_a_scan_helps(tmp_path, name):
    path, offsets = write(tmp_path, small())
    change, text = INDICES[name]
    (tmp_path / 'a.idx').write_text(''.join(line + '\n' for line in change(offsets)))
    with pytest.raises(RecordError, match=text) as caught:
        RecordFile(path)
    assert 'a.idx' in str(caught.value)
    assert 'delete' in str(caught.value)
    (tmp_path / 'a.idx').unlink()
    with RecordFile(path) as records:
        assert len(records) == 5


def test_index_of_another_file_is_refused(tmp_path):
    path, _ = write(tmp_path, small())
    write(tmp_path, small(size=50), 'b')
    with pytest.raises(RecordError, match=r'b\.idx does not fit'):
        RecordFile(path, tmp_path / 'b.idx')


def test_index_is_text_as_mxnet_has_it(tmp_path):
    write_index(tmp_path / 'a.idx', [5, 6], np.array([0, 2**40]))
    assert (tmp_path / 'a.idx').read_text() == f'5\t0\n6\t{2**40}\n'
    ids, offsets = read_index(tmp_path / 'a.idx')
    assert (ids.tolist(), offsets.tolist()) == ([5, 6], [0, 2**40])
    assert os.listdir(tmp_path) == ['a.idx']


def test_records_behind_four_gigabytes(tmp_path):
    gap = 2**29 - 4  # eight sparse records with the longest length carry the last one past 2**32
    path = tmp_path / 'big.rec'
    with open(path, 'wb') as file:
        for i in range(9):
            file.seek(i * (8 + gap))
            file.write(struct.pack('<II', 0xCED7230A, gap) + struct.pack('<IfQQ', 0, i, i, 0))
        file.seek(9 * (8 + gap))
        file.write(encode(b'last', 9, 9))
    with RecordFile(path) as records:
        assert records.offsets[9] > 2**32
        assert records.read(9).payload == b'last'
        assert records.labels()[:, 0].tolist() == list(range(10))


def test_what_the_format_cannot_hold_is_refused():
    with pytest.raises(ValueError, match='record 3 has no label'):
        encode(b'', [], 3)
    with pytest.raises(ValueError, match='record id -1 does not fit'):
        encode(b'', 1, -1)
    with pytest.raises(ValueError, match='the format ends at'):
        encode(bytes(2**29), 1, 0)
