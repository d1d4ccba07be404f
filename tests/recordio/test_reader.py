"""Epochs of batches: every picture once, the same for any number of threads, and damage named."""

from __future__ import annotations

import threading
from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibnnet_mx.recipe import AUGMENT
from ibnnet_mx.recordio.fast import native
from ibnnet_mx.recordio.format import RecordError
from ibnnet_mx.recordio.pixels import opencv
from ibnnet_mx.recordio.pixels.augment import Augment
from ibnnet_mx.recordio.reading import reader as reader_module
from ibnnet_mx.recordio.reading import sampler
from ibnnet_mx.recordio.reading.options import Options
from ibnnet_mx.recordio.reading.reader import Reader
from tests.record_sets import jpeg, marked, png, scene, write

PLAIN = Augment(mirror=False)
COUNT = 23


@pytest.fixture(autouse=True, params=['C', 'OpenCV'])
def maker(request, monkeypatch):
    """Everything here holds for both ways to make pictures."""
    if request.param == 'OpenCV':
        monkeypatch.setattr(native, 'functions', lambda: None)
    elif native.functions() is None:
        pytest.skip('the C reader is not built')
    return request.param


@pytest.fixture(scope='module')
def numbered(tmp_path_factory):
    """23 records of 8x8 that say which they are; the labels are other numbers."""
    payloads = [png(marked(i)) for i in range(COUNT)]
    return write(tmp_path_factory.mktemp('numbered') / 'a.rec', payloads, [100 + i for i in range(COUNT)])


@pytest.fixture(scope='module')
def photographs(tmp_path_factory):
    payloads = [jpeg(scene(i, 80 + i, 96), 3) for i in range(11)]
    return write(tmp_path_factory.mktemp('photographs') / 'a.rec', payloads)


def stream(path, changes=PLAIN, batch=5, epoch=0, start=0, size=8, **options):
    reader = Reader(path, size, batch, changes, options=Options(**{'threads': 1, **options}))
    batches = list(reader.epoch(epoch, start))
    reader.close()
    return batches


def numbers(batches):
    """Which pictures came; the labels must be theirs."""
    seen = []
    for data, label, real in batches:
        ids = (data[:real, 0, 0, 0] + 256 * data[:real, 1, 0, 0]).astype(int)
        np.testing.assert_array_equal(label[:real], 100 + ids)
        seen += ids.tolist()
    return seen


@settings(max_examples=300, deadline=None)
@given(
    count=st.integers(1, 200),
    batch=st.integers(1, 64),
    workers=st.integers(1, 5),
    shuffle=st.booleans(),
    epoch=st.integers(0, 3),
)
def test_every_picture_once_and_equal_steps(count, batch, workers, shuffle, epoch):
    positions = sampler.epoch_order(count, shuffle, 7, epoch)
    parts = [sampler.cut_steps(positions, batch, (rank, workers)) for rank in range(workers)]
    assert len({len(part) for part in parts}) == 1
    together = [np.concatenate(step) for step in zip(*parts)]
    np.testing.assert_array_equal(np.concatenate(together), positions)
    assert sorted(positions) == list(range(count))
    assert all(len(step) == batch for step in together[:-1])
    assert all(max(map(len, step)) - min(map(len, step)) <= 1 for step in zip(*parts))


@pytest.mark.parametrize('changes', [PLAIN, None])
@pytest.mark.parametrize('workers', [1, 2, 3])
@pytest.mark.parametrize('batch', [1, 4, 23, 50])
def test_the_reader_gives_every_picture_once(numbered, changes, workers, batch):
    parts = [stream(numbered, changes, batch, share=(rank, workers)) for rank in range(workers)]
    assert len({len(part) for part in parts}) == 1
    assert Counter(i for part in parts for i in numbers(part)) == Counter(range(COUNT))


def test_each_epoch_and_seed_has_its_own_order(numbered):
    orders = {tuple(numbers(stream(numbered, epoch=epoch, seed=seed))) for epoch in range(4) for seed in range(3)}
    assert len(orders) == 12
    assert numbers(stream(numbered, epoch=2)) == numbers(stream(numbered, epoch=2))


@pytest.mark.parametrize('level', [1, 2, 3, 'rrc'])
def test_the_stream_is_the_same_for_any_threads_and_start(photographs, level):
    changes = Augment(**AUGMENT[level])
    whole = stream(photographs, changes, 4, epoch=1, size=48)
    assert [batch.real for batch in whole] == [4, 4, 3]
    for threads, start in ((2, 0), (5, 0), (1, 1), (5, 2), (2, 3)):
        other = stream(photographs, changes, 4, epoch=1, size=48, threads=threads, start=start)
        assert len(other) == 3 - start
        for a, b in zip(whole[start:], other):
            np.testing.assert_array_equal(a.data, b.data)
            np.testing.assert_array_equal(a.label, b.label)
    another = stream(photographs, changes, 4, epoch=2, size=48)
    assert not np.array_equal(another[0].data, whole[0].data)


def test_steps_and_count_are_those_of_the_epoch(numbered):
    for batch, limit, steps in ((5, None, 5), (23, None, 1), (5, 11, 3), (50, 1, 1)):
        reader = Reader(numbered, 8, batch, PLAIN, options=Options(threads=1, limit=limit))
        batches = list(reader.epoch(0))
        assert reader.steps == steps == len(batches)
        assert reader.count == (limit or COUNT) == sum(batch.real for batch in batches)
        reader.close()


def test_validation_keeps_the_order_and_does_not_count_padding(numbered):
    for workers in (1, 2):
        seen = []
        for rank in range(workers):
            batches = stream(numbered, None, 10, share=(rank, workers))
            assert all(len(b.data) == len(b.label) == 10 // workers for b in batches)
            assert [b.real for b in batches[:2]] == [10 // workers] * 2
            assert np.isfinite(np.concatenate([b.data for b in batches])).all()
            seen += numbers(batches)
        assert sorted(seen) == list(range(COUNT))
        assert workers == 2 or seen == list(range(COUNT))
    again = stream(numbered, None, 10, epoch=5, seed=9)
    assert numbers(again) == list(range(COUNT))


def test_pixels_are_rgb_raw_or_normalised(tmp_path):
    picture = scene(1, 16, 16)
    path = write(tmp_path / 'a.rec', [png(picture)])
    rgb = picture[..., ::-1].transpose(2, 0, 1).astype(np.float64)
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    for pixels, wanted in (
        (((0.0,) * 3, (1.0,) * 3), rgb),
        ((mean, std), (rgb - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))),
    ):
        reader = Reader(path, 16, 1, None, pixels, Options(threads=1))
        (batch,) = reader.epoch()
        reader.close()
        assert batch.data.dtype == batch.label.dtype == np.float32
        np.testing.assert_array_equal(batch.data[0], wanted.astype(np.float32))


def test_small_pictures_are_decoded_once_and_look_the_same(numbered, monkeypatch):
    changes, options = Augment(pad=2), Options(threads=1)
    reader = Reader(numbered, 8, 5, changes, options=options)
    assert reader._pictures.cached() == list(range(COUNT))
    kept = [batch for epoch in range(2) for batch in reader.epoch(epoch)]
    reader.close()
    monkeypatch.setattr(reader_module, 'CACHED_SIDE', 4)
    reader = Reader(numbered, 8, 5, changes, options=options)
    assert reader._pictures.cached() == []
    for a, b in zip(kept, [batch for epoch in range(2) for batch in reader.epoch(epoch)]):
        np.testing.assert_array_equal(a.data, b.data)
    reader.close()


def test_a_small_picture_among_large_ones_does_not_fill_the_memory(tmp_path):
    path = write(tmp_path / 'a.rec', [png(marked(0)), jpeg(scene(0, 100, 100), 1), png(marked(2))])
    reader = Reader(path, 8, 3, None, options=Options(threads=1))
    assert reader._pictures.cached() == [0, 2]
    assert [batch.real for batch in reader.epoch()] == [3]
    reader.close()


def damaged_payload(kind):
    whole = jpeg(scene(3, 90, 96), 3)
    return {
        'half': (whole[: len(whole) // 2], 'is truncated'),
        'empty': (b'', 'is empty'),
        'garbage': (b'no picture at all', 'cannot be decoded'),
        'no tables': (whole[:2] + whole[20:30] + whole[-40:], 'is truncated|cannot be decoded'),
        'half png': (png(scene(3, 90, 96))[:900], 'is truncated'),
    }[kind]


@pytest.mark.parametrize('changes', [Augment(**AUGMENT[2]), None])
@pytest.mark.parametrize('kind', ['half', 'empty', 'garbage', 'no tables', 'half png'])
@pytest.mark.parametrize('place', [0, 3])
def test_a_damaged_picture_is_named_and_refused_or_skipped(tmp_path, changes, kind, place):
    payloads = [jpeg(scene(i, 80, 96), 3) for i in range(7)]
    payloads[place], why = damaged_payload(kind)
    path = write(tmp_path / 'a.rec', payloads)
    with pytest.raises(RecordError, match=rf'a\.rec: record {place} \(id {place}, byte \d+\) ({why}).* 0 allowed'):
        stream(path, changes, 3, size=48)
    said = []
    reader = Reader(path, 48, 3, changes, options=Options(threads=2, max_bad=1, report=said.append))
    for epoch in range(2):
        batches = list(reader.epoch(epoch))
        labels = [label for batch in batches for label in batch.label[: batch.real]]
        assert sorted(labels) == [i for i in range(7) if i != place]
        assert changes is None or all(len(batch.data) == batch.real for batch in batches)
    reader.close()
    assert len(said) == 1, 'said once, not in each epoch'
    assert f'a.rec: record {place} (id {place}, byte ' in said[0]


def test_more_damage_than_allowed_is_refused(tmp_path):
    path = write(tmp_path / 'a.rec', [b'', png(marked(1)), b'x', png(marked(3))])
    assert sum(batch.real for batch in stream(path, max_bad=2)) == 2
    with pytest.raises(RecordError, match='2 such records, `max_bad` 1 allowed'):
        stream(path, max_bad=1)


def test_a_damaged_first_record_does_not_switch_the_cache_off(tmp_path):
    path = write(tmp_path / 'a.rec', [b'', png(marked(1)), png(marked(2))])
    reader = Reader(path, 8, 3, PLAIN, options=Options(threads=1, max_bad=1))
    assert reader._pictures.cached() == [1, 2]
    reader.close()


def test_a_batch_without_a_readable_picture_is_left_out_of_training(tmp_path):
    path = write(tmp_path / 'a.rec', [b'', png(marked(1))])
    assert [batch.real for batch in stream(path, batch=1, max_bad=1)] == [1]
    validation = stream(path, None, batch=1, max_bad=1)
    assert [batch.real for batch in validation] == [0, 1]
    assert not validation[0].data.any()


def test_a_record_that_changes_under_the_reader_is_named(tmp_path):
    path = write(tmp_path / 'a.rec', [jpeg(scene(i, 80, 96), 3) for i in range(4)])
    reader = Reader(path, 48, 4, None, options=Options(threads=1))
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(RecordError, match=r'a\.rec: record 3 at byte \d+: .*truncated') as caught:
        list(reader.epoch())
    assert str(caught.value).count('a.rec') == 1
    reader.close()


@pytest.mark.parametrize('taken', [0, 1, 9])
def test_an_abandoned_epoch_leaves_nothing_behind(photographs, taken):
    before = set(threading.enumerate())
    reader = Reader(photographs, 48, 1, Augment(**AUGMENT[2]), options=Options(threads=3))
    for number, _ in enumerate(reader.epoch(0)):
        if number == taken:
            break
    assert len(list(reader.epoch(1))) == 11
    reader.close()
    assert set(threading.enumerate()) <= before


def test_abandoning_an_epoch_hides_no_error_and_raises_none(tmp_path):
    path = write(tmp_path / 'a.rec', [png(marked(0)), b'', b'', b''])
    reader = Reader(path, 8, 1, None, options=Options(threads=1))
    batches = reader.epoch()
    assert next(batches).real == 1
    batches.close()
    reader.close()


def test_a_batch_is_not_written_to_again(photographs):
    reader = Reader(photographs, 48, 2, Augment(**AUGMENT[2]), options=Options(threads=2))
    kept = [(batch.data, batch.data.copy()) for epoch in range(2) for batch in reader.epoch(epoch)]
    assert all(np.array_equal(a, b) for a, b in kept)
    reader.close()


def test_records_of_different_label_counts_are_refused(tmp_path):
    mixed = write(tmp_path / 'b.rec', [png(marked(i)) for i in range(3)], [[1, 2], [1, 2], 3])
    with pytest.raises(RecordError, match=r'b\.rec: record 2 .*1 labels, the first record has 2'):
        stream(mixed)


def test_a_picture_that_opencv_refuses_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / 'a.rec', [jpeg(scene(0, 70, 70), 1)])

    def refuse(*_):
        cv2.resize(np.empty((0, 0, 3), np.uint8), (2, 2))

    monkeypatch.setattr(native, 'functions', lambda: None)
    monkeypatch.setattr(opencv, 'views', refuse)
    with pytest.raises(RecordError, match=r'a\.rec: record 0 \(id 0, byte 0\) cannot be used \(.*empty'):
        stream(path, None)
