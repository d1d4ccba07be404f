"""Whole epochs by the C reader: the stream of the OpenCV path, batches that stay, files of every size and kind."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ibnnet_mx.recipe import AUGMENT
from ibnnet_mx.recordio.fast import native
from ibnnet_mx.recordio.pixels import view
from ibnnet_mx.recordio.pixels.augment import Augment
from ibnnet_mx.recordio.reading import reader as reader_module
from ibnnet_mx.recordio.reading.options import Options
from ibnnet_mx.recordio.reading.reader import Reader
from tests.record_sets import jpeg, marked, photograph, png, scene, write

pytestmark = pytest.mark.skipif(native.functions() is None, reason='the C reader is not built')

LEVEL = {name: Augment(**values) for name, values in AUGMENT.items()}


def both(path, size, changes, pixels, **options):
    found = []
    for use in (True, False):
        reader = Reader(path, size, 4, changes, pixels, Options(threads=2, native=use, **options))
        found.append([batch for epoch in range(2) for batch in reader.epoch(epoch)])
        reader.close()
    return found


@pytest.mark.parametrize('pixels', [None, ((0.0,) * 3, (1.0,) * 3), ((123.68, 116.78, 103.94), (58.4, 57.1, 57.4))])
@pytest.mark.parametrize('encode', [png, jpeg])
def test_cifar_is_the_same_to_the_bit(tmp_path, encode, pixels):
    path = write(tmp_path / 'a.rec', [encode(scene(i, 32, 32)) for i in range(10)])
    for a, b in zip(*both(path, 32, LEVEL['cifar'], pixels)):
        assert a.data.dtype == (np.uint8 if pixels is None else np.float32)
        np.testing.assert_array_equal(a.data, b.data)
        np.testing.assert_array_equal(a.label, b.label)


@pytest.mark.parametrize('pixels', [None, ((123.68, 116.78, 103.94), (58.4, 57.1, 57.4))])
def test_a_stream_is_the_same_with_mixed_formats(tmp_path, pixels):
    pictures = [photograph(i, 90 + i, 120) for i in range(9)]
    encoders = [png, jpeg, lambda p: jpeg(p, 4), lambda p: cv2.imencode('.webp', p)[1].tobytes()]
    path = write(tmp_path / 'a.rec', [encoders[i % 4](picture) for i, picture in enumerate(pictures)])
    unit = 1 if pixels is None else 1 / 57
    for changes in (LEVEL[2], None):
        for a, b in zip(*both(path, 64, changes, pixels)):
            assert np.abs(a.data.astype(float) - b.data).mean() < unit
            np.testing.assert_array_equal(a.label, b.label)


@pytest.mark.parametrize('level', [2, 3, 'rrc'])
def test_threads_and_a_start_in_the_middle_change_nothing(tmp_path, level):
    path = write(tmp_path / 'a.rec', [jpeg(scene(i, 80 + i, 96), 3 * (i % 2)) for i in range(21)])
    streams = {}
    for threads in (1, 2, 8):
        reader = Reader(path, 48, 5, LEVEL[level], options=Options(threads=threads))
        streams[threads] = [batch.data.copy() for batch in reader.epoch(3)]
        middle = [batch.data.copy() for batch in reader.epoch(3, start=2)]
        reader.close()
        for a, b in zip(streams[threads][2:], middle):
            np.testing.assert_array_equal(a, b)
    for other in (2, 8):
        for a, b in zip(streams[1], streams[other]):
            np.testing.assert_array_equal(a, b)


def test_a_small_jpeg_that_is_damaged_is_not_kept(tmp_path):
    """OpenCV, which decodes what is kept in memory, would fill it with grey and say nothing."""
    good = jpeg(scene(0, 48, 48))
    middle = len(good) * 2 // 3
    path = write(tmp_path / 'a.rec', [good, good[:middle] + b'\xff\xd9' + good[middle:], good])
    reader = Reader(path, 32, 3, None, options=Options(threads=1, max_bad=1))
    assert reader._pictures.cached() == [0, 2]
    assert [batch.real for batch in reader.epoch()] == [2]
    reader.close()


def test_headers_longer_than_a_first_look(tmp_path):
    body = jpeg(photograph(0, 80, 120))
    long = body[:2] + b'\xff\xe1\x80\x00' + bytes(32766) + body[2:]
    path = write(tmp_path / 'a.rec', [body, long])
    ((data, _, real),) = Reader(path, 64, 2, None, options=Options(threads=1)).epoch()
    assert real == 2
    np.testing.assert_array_equal(data[0], data[1])


def test_a_batch_is_used_again_only_when_nobody_holds_it(tmp_path):
    path = write(tmp_path / 'a.rec', [jpeg(photograph(i, 70, 90)) for i in range(12)])
    reader = Reader(path, 48, 4, LEVEL[2], options=Options(threads=2))
    places, kept = set(), []
    for epoch in range(6):
        for batch in reader.epoch(epoch):
            places.add(native.address(batch.data))
            if epoch == 0:
                kept.append((batch.data[1:2], batch.data[1:2].copy()))
            assert native.address(batch.data) % 64 == 0
    assert all(np.array_equal(a, b) for a, b in kept)
    assert len(places) <= 3 + 6  # three are kept by this test, the others go round
    reader.close()


def test_records_in_parts_and_wide_labels(tmp_path):
    magic = b'\x0a\x23\xd7\xce'
    body = jpeg(photograph(2, 80, 80))
    padding = -(24 + 8 + 2) % 4
    commented = body[:2] + b'\xff\xfe' + (2 + padding + 8).to_bytes(2, 'big') + bytes(padding) + magic * 2 + body[2:]
    path = write(tmp_path / 'a.rec', [commented, body, png(marked(3, 80))], [[5, 1], [6, 1], [7, 1]])
    for a, b in zip(*both(path, 64, None, None, label_width=2)):
        np.testing.assert_array_equal(a.data, b.data)
        assert a.label[: a.real].tolist() == [[5, 1], [6, 1], [7, 1]]


def test_files_larger_than_32_bits(tmp_path):
    """Nine records of half a gigabyte, which take no room as the file has holes there, then a picture."""
    from ibnnet_mx.recordio.format import RecordFile, encode, write_index
    from ibnnet_mx.recordio.framing import FRAME, HEADER, MAGIC
    from ibnnet_mx.recordio.pixels.render import Native

    path, size = tmp_path / 'a.rec', (1 << 29) - 8
    body = encode(jpeg(photograph(0, 70, 90)), 3, 9)
    starts = [number * (size + FRAME.size) for number in range(10)]
    with open(path, 'wb') as file:
        for number, start in enumerate(starts[:-1]):
            file.seek(start)
            file.write(FRAME.pack(MAGIC, size) + HEADER.pack(0, 1.0, number, 0))
        file.seek(starts[-1])
        file.write(body)
    assert path.stat().st_size > 1 << 32
    write_index(path.with_suffix('.idx'), range(10), starts)
    small = write(tmp_path / 'b.rec', [jpeg(photograph(0, 70, 90))])
    views = []
    for file, position in ((path, 9), (small, 0)):
        with RecordFile(file) as records:
            out = np.empty((1, 1, 3, 48, 48), np.float32)
            plan = lambda numbers, sizes: view.view_rows(sizes, 48, view.View())  # noqa: E731
            assert Native(records, ((0,) * 3, (1,) * 3)).render(np.array([position]), plan, out) == {}
            views.append(out)
    np.testing.assert_array_equal(*views)


def test_small_pictures_are_kept_only_where_there_is_room(tmp_path, monkeypatch):
    path = write(tmp_path / 'a.rec', [png(marked(i)) for i in range(20)])
    for room, kept in ((20 * 3 * 64, 20), (20 * 3 * 64 - 1, 0)):
        monkeypatch.setattr(reader_module, 'CACHED_BYTES', room)
        reader = Reader(path, 8, 5, None)
        assert len(reader._pictures.cached()) == kept
        assert sum(batch.real for batch in reader.epoch()) == 20
        reader.close()
