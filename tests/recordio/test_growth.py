"""Millions of records: the index, the order and the steps are the same as before, in less time and memory."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import pytest

from ibnnet_mx.cli import records as command
from ibnnet_mx.recordio.fast import native
from ibnnet_mx.recordio.format import RecordError, RecordFile, encode, write_index
from ibnnet_mx.recordio.opening import index
from ibnnet_mx.recordio.opening.index import read_columns, read_index
from ibnnet_mx.recordio.pixels import render
from ibnnet_mx.recordio.pixels.augment import Augment
from ibnnet_mx.recordio.reading import reader
from ibnnet_mx.recordio.reading.options import Options
from ibnnet_mx.recordio.reading.reader import Reader
from ibnnet_mx.recordio.reading.sampler import EachOnce, cut_steps, epoch_order
from tests.record_sets import jpeg, marked, photograph, png, write

LINES = b''.join(b'%d\t%d\n' % (i * 3, i * 1000) for i in range(3000))


@pytest.mark.parametrize('block', [64, 1 << 20])
@pytest.mark.parametrize(
    'change',
    [
        lambda text: text,
        lambda text: text.replace(b'\n', b'\r\n'),
        lambda text: text.replace(b'\t', b'  '),
        lambda text: text[:-1],
        lambda text: text.replace(b'\n9\t', b'\n 9\t'),
        lambda text: text.replace(b'\n', b'\r'),
    ],
)
def test_the_index_is_read_in_blocks_as_line_by_line(tmp_path, change, block, monkeypatch):
    monkeypatch.setattr(index, 'BLOCK', block)
    (tmp_path / 'a.idx').write_bytes(change(LINES))
    ids, offsets = read_index(tmp_path / 'a.idx')
    assert ids.dtype == offsets.dtype == np.int64
    np.testing.assert_array_equal(ids, np.arange(3000) * 3)
    np.testing.assert_array_equal(offsets, np.arange(3000) * 1000)
    assert read_columns(tmp_path / 'a.idx')[0].dtype == np.int32


@pytest.mark.parametrize('large', [2**31, -(2**31) - 1, 2**62])
def test_large_ids_stay(tmp_path, large, monkeypatch):
    monkeypatch.setattr(index, 'BLOCK', 64)
    write_index(tmp_path / 'a.idx', [1, 2, 3] * 20 + [large], range(61))
    ids, offsets = read_index(tmp_path / 'a.idx')
    assert ids.tolist() == [1, 2, 3] * 20 + [large]
    assert offsets.tolist() == list(range(61))


@pytest.mark.parametrize('wrong', [b'7', b'7\t8\t9', b'', b'a\tb', b'1\t99999999999999999999'])
def test_a_wrong_line_is_named_wherever_it_stands(tmp_path, wrong, monkeypatch):
    monkeypatch.setattr(index, 'BLOCK', 64)
    lines = LINES.split(b'\n')
    lines[2000] = wrong
    (tmp_path / 'a.idx').write_bytes(b'\n'.join(lines))
    with pytest.raises(RecordError, match='line 2001 is .*not "id<tab>offset": delete the index'):
        read_index(tmp_path / 'a.idx')


def as_before(count, shuffle, seed, epoch):
    positions = np.arange(count)
    if shuffle:
        np.random.Generator(np.random.Philox(key=[seed, epoch])).shuffle(positions)
    return positions


@pytest.mark.parametrize('count', [0, 1, 7, 8, 1000])
@pytest.mark.parametrize('shares', [1, 3, 9])
def test_steps_are_those_of_cutting_all_at_once(count, shares):
    positions = as_before(count, True, 3, 5)
    np.testing.assert_array_equal(epoch_order(count, True, 3, 5), positions)
    for batch in (1, 8, 2000):
        pieces = np.split(positions, range(batch, count, batch))
        for rank in range(shares):
            steps = cut_steps(positions, batch, (rank, shares))
            wanted = [np.array_split(piece, shares)[rank] for piece in pieces]
            assert len(steps) == len(wanted)
            assert all(step.dtype == np.int64 and np.array_equal(step, one) for step, one in zip(steps, wanted))
            assert [one.tolist() for one in steps[1:3]] == [one.tolist() for one in wanted[1:3]]
            assert steps[-1].tolist() == wanted[-1].tolist()
            with pytest.raises(IndexError):
                steps[len(wanted)]


@pytest.mark.skipif(native.functions() is None, reason='the C library is not built')
@pytest.mark.parametrize('count', [0, 1, 2, 3, 127, 128, 129, 130, 255, 256, 257, 4096, 4097, 100_003])
@pytest.mark.parametrize(('seed', 'epoch'), [(0, 0), (3, 5), (2**32 - 1, 10**6)])
def test_the_order_in_c_is_that_of_numpy(monkeypatch, count, seed, epoch):
    in_c = epoch_order(count, True, seed, epoch)
    monkeypatch.setenv('IBNNET_MX_NATIVE', '0')
    np.testing.assert_array_equal(in_c, epoch_order(count, True, seed, epoch))


@pytest.mark.parametrize('with_c', ['0', '1'])
def test_the_order_is_that_of_every_run_so_far(monkeypatch, with_c):
    monkeypatch.setenv('IBNNET_MX_NATIVE', with_c)
    positions = epoch_order(50_000, True, 3, 5)
    assert sorted(positions) == list(range(50_000))
    assert hashlib.sha256(positions.astype('<i8').tobytes()).hexdigest()[:16] == '5383313febed5a26'


@pytest.mark.parametrize('every', [1, 3])
@pytest.mark.parametrize('limit', [None, 5, 1000])
def test_the_number_of_pictures_is_known_without_the_order(every, limit):
    for count in (0, 1, 16, 17):
        sampler = EachOnce(1, True, every, limit)
        steps = sampler.batches(np.zeros((count, 1)), 2, 4, (0, 1))
        assert sampler.pictures(count) == sum(map(len, steps))
        wanted = as_before(count, True, 1, 2)[::every][:limit]
        assert np.concatenate(steps).tolist() == wanted.tolist()


def test_the_length_of_a_reader_makes_no_order(tmp_path, monkeypatch):
    path = write(tmp_path / 'a.rec', [png(marked(i)) for i in range(11)])
    one = Reader(path, 8, 4, Augment(), options=Options(threads=1))
    monkeypatch.setattr(one, '_batches', None)
    assert (one.count, one.steps) == (11, 3)
    one.close()


def epochs(path, **options):
    one = Reader(path, 24, 5, Augment(), options=Options(threads=1, seed=4, **options))
    data = np.concatenate([batch.data for epoch in range(2) for batch in one.epoch(epoch)])
    one.close()
    return data


@pytest.mark.parametrize('several', [False, True])
def test_places_that_are_made_for_each_batch_give_the_same_pictures(tmp_path, several, monkeypatch):
    payloads = [jpeg(photograph(i, 30, 40)) if i % 3 else png(marked(i, 32)) for i in range(12)]
    paths = [write(tmp_path / 'a.rec', payloads[:7]), write(tmp_path / 'b.rec', payloads[7:])]
    wanted = epochs(paths if several else paths[0])
    np.testing.assert_array_equal(epochs(paths if several else paths[0], keep=False), wanted)
    for module in (render, reader):
        monkeypatch.setattr(module, 'MOST_NOTED', 0)
    np.testing.assert_array_equal(epochs(paths if several else paths[0]), wanted)


def test_a_single_pass_keeps_nothing(tmp_path):
    path = write(tmp_path / 'a.rec', [png(marked(i)) for i in range(11)])
    for keep in (True, False):
        one = Reader(path, 8, 4, options=Options(threads=1, keep=keep))
        assert len(one._pictures.cached()) == 11 * keep
        one.close()
    with pytest.raises(ValueError, match='keep'):
        Reader(path, 8, 4, options=Options(keep='no'))


def verified(path, capsys, *words):
    code = command.main([str(path), '--headers-only', '--json', str(path.with_suffix('.json')), *words])
    return code, capsys.readouterr().out, json.loads(path.with_suffix('.json').read_text())['files'][0]


def test_headers_are_verified_without_the_pictures(tmp_path, capsys):
    path = write(tmp_path / 'a.rec', [b'no picture'] * 5, [0, 1, 1, 2, 0])
    code, out, report = verified(path, capsys)
    assert code == 0
    assert report['records'] == 5
    assert report['classes'] == {'0': 2, '1': 2, '2': 1}
    assert 'no picture was read' in out
    assert 'sound' in out


def test_headers_only_finds_what_headers_tell(tmp_path, capsys):
    path = write(tmp_path / 'a.rec', [bytes(8)] * 5, [0, 1, -1, 2.5, 0])
    write_index(path.with_suffix('.idx'), [0, 1, 2, 3, 9], np.arange(5) * len(encode(bytes(8), 0, 0)))
    code, out, report = verified(path, capsys)
    assert code == 1
    assert [line.split('label ')[1][:3] for line in report['wrong']] == ['-1,', '2.5']
    assert 'another id than the index gives them: 1' in out
    os.truncate(path, os.path.getsize(path) - 8)
    code, _, report = verified(path, capsys)
    assert code == 1
    assert 'is cut off by the end of the file' in report['wrong'][0]


def test_headers_only_has_no_meaning_with_a_sheet(tmp_path, capsys):
    path = write(tmp_path / 'a.rec', [png(marked(1))])
    with pytest.raises(SystemExit):
        command.main([str(path), '--headers-only', '--sheet', str(tmp_path / 'a.png')])
    assert '--headers-only has no meaning with --sheet' in capsys.readouterr().err


def test_opening_takes_few_bytes_a_record(tmp_path):
    """A few arrays of 1 to 8 bytes, and no array of heads of 32 bytes."""
    path = write(tmp_path / 'a.rec', [b''] * 2000, range(2000))
    with RecordFile(path) as records:
        arrays = [value for value in vars(records._heads).values() if isinstance(value, np.ndarray)]
        assert sum(array.nbytes for array in arrays) + records.ids.nbytes <= 17 * 2000
