"""The C reader: the very pictures of the OpenCV path, whatever the JPEG, the processor and the number of threads."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ibnnet_mx.recipe import AUGMENT
from ibnnet_mx.recordio import augment, native, opencv, view
from ibnnet_mx.recordio.augment import Augment
from ibnnet_mx.recordio.pictures import PictureError, decode
from ibnnet_mx.recordio.reader import Options, Reader
from ibnnet_mx.recordio.region import Pixels
from tests.record_sets import jpeg, marked, png, scene, write

pytestmark = pytest.mark.skipif(native.library() is None, reason='the C reader is not built')

SAMPLING = {
    '420': cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    '422': cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    '440': cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    '444': cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    '411': cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
}
KINDS = {
    'plain': {},
    'segments': {'interval': 3},
    'a marker in each row': {'interval': 12},
    'progressive': {'progressive': 1},
}
LEVEL = {name: Augment(**values) for name, values in AUGMENT.items()}


def photograph(seed, height, width):
    """Smooth, as a photograph is between its edges."""
    return cv2.GaussianBlur(scene(seed, height, width), (0, 0), 1.2)


def rendered(payloads, plan, size, level=2):
    """float32 (n, views, 3, size, size) by C."""
    held = [np.frombuffer(payload, np.uint8) for payload in payloads]
    sources, why = np.zeros(len(held), native.SOURCE), np.zeros((len(held), native.WHY), np.uint8)
    sources['data'], sources['length'] = [native.address(h) for h in held], [len(h) for h in held]
    native.heads(sources, why)
    rows = plan(np.stack([sources['width'], sources['height']], axis=1).astype(np.int64))
    rows = np.ascontiguousarray(rows.reshape(len(held), -1))
    pixels = np.zeros(1, native.PIXELS)
    pixels['factor'], pixels['floats'] = 1, 1
    out = np.full((*rows.shape, 3, size, size), np.nan, np.float32)
    native.Decoder(level).render(sources, rows, pixels, out, why)
    assert native.failures(why) == {}
    return out, rows


def by_opencv(payloads, rows, size):
    out = np.empty((*rows.shape, 3, size, size), np.float32)
    table = opencv.pixel_table((0,) * 3, (1,) * 3)
    for payload, planned, one in zip(payloads, rows, out):
        for seen, planes in zip(opencv.views(Pixels(decode(payload)), planned), one):
            opencv.planes(seen, table, planes)
    return out


def drawn(level, count, size, **changes):
    u = augment.uniforms(1, 2, np.arange(count))
    return lambda sizes: augment.plan(LEVEL[level]._replace(**changes), u, sizes, size)


def payloads_of(sampling, kind, count=6):
    return [
        jpeg(photograph(i, 132 + 9 * i, 192 + 16 * (i % 2)), sampling=SAMPLING[sampling], **KINDS[kind])
        for i in range(count)
    ]


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('sampling', SAMPLING)
def test_what_is_only_cut_out_is_the_decoders_own(sampling, kind):
    payloads = payloads_of(sampling, kind)
    for plan in (
        lambda sizes: view.plan(sizes, 112, view.View()),
        lambda sizes: view.plan(sizes, 112, view.View(crops=10)),
        drawn(1, len(payloads), 112),
        drawn('cifar', len(payloads), 112),
    ):
        found, rows = rendered(payloads, plan, 112)
        np.testing.assert_array_equal(found, by_opencv(payloads, rows, 112))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('sampling', SAMPLING)
@pytest.mark.parametrize('level', [2, 3, 'rrc'])
def test_what_is_resampled_is_opencvs_to_half_a_unit(level, sampling, kind):
    payloads = payloads_of(sampling, kind)
    found, rows = rendered(payloads, drawn(level, len(payloads), 96, hls=(0, 0, 0)), 96)
    assert np.abs(found - by_opencv(payloads, rows, 96)).mean() < 0.5
    found, rows = rendered(payloads, drawn(level, len(payloads), 96, hls=(36, 50, 50)), 96)
    assert np.abs(found - by_opencv(payloads, rows, 96)).mean() < 1.0


@pytest.mark.parametrize('level', [1, 2, 3, 'rrc', 'cifar'])
@pytest.mark.parametrize('shape', [(40, 50), (20, 300), (300, 20), (63, 64), (1, 1), (5, 4)])
def test_small_pictures_are_enlarged_alike(level, shape):
    payloads = [jpeg(photograph(i, *shape)) for i in range(4)]
    found, rows = rendered(payloads, drawn(level, 4, 64, hls=(0, 0, 0)), 64)
    limit = 2.5 if LEVEL[level].warps else 0.5  # of a few pixels every value hangs on OpenCV's weights of 1/32
    assert np.abs(found - by_opencv(payloads, rows, 64)).mean() < limit


@pytest.mark.parametrize('level', [2, 3, 'rrc', 'cifar'])
def test_every_processor_makes_the_same_bits(level):
    payloads = [payload for kind in KINDS for payload in payloads_of('420', kind)]
    first, _ = rendered(payloads, drawn(level, len(payloads), 93), 93, level=0)
    for other in (1, 2):
        np.testing.assert_array_equal(first, rendered(payloads, drawn(level, len(payloads), 93), 93, level=other)[0])


def cmyk(picture):
    """As printers' programs write it: inverted, with Adobe's marker."""
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture[..., ::-1]).convert('CMYK').save(file, 'JPEG', quality=95)
    return file.getvalue()


def rgb(picture):
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture[..., ::-1]).save(file, 'JPEG', quality=95, keep_rgb=True, subsampling=0)
    return file.getvalue()


@pytest.mark.parametrize('encode', [cmyk, rgb, lambda p: jpeg(cv2.cvtColor(p, cv2.COLOR_BGR2GRAY)), jpeg])
@pytest.mark.parametrize('level', [1, 2, 3, 'rrc'])
def test_rarer_colours(encode, level):
    payloads = [encode(photograph(i, 120, 150)) for i in range(4)]
    found, rows = rendered(payloads, drawn(level, 4, 80, hls=(0, 0, 0)), 80)
    wanted = by_opencv(payloads, rows, 80)
    assert np.abs(found - wanted).mean() < 0.5
    if level == 1:
        np.testing.assert_array_equal(found, wanted)


def test_an_orientation_in_exif_is_ignored():
    from PIL import Image

    exif = Image.Exif()
    exif[274] = 6
    body = jpeg(photograph(0, 80, 120))
    turned = body[:2] + b'\xff\xe1' + (len(exif.tobytes()) + 2).to_bytes(2, 'big') + exif.tobytes() + body[2:]
    cut = lambda sizes: view.plan(sizes, 64, view.View())  # noqa: E731
    np.testing.assert_array_equal(rendered([turned], cut, 64)[0], rendered([body], cut, 64)[0])


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


def told(payload):
    return native.check(native.Decoder(), payload)


def patched(payload, marker, at, new):
    """With other bytes behind a marker."""
    place = payload.index(marker) + at
    return payload[:place] + new + payload[place + len(new) :]


def test_damage_is_named():
    good = jpeg(photograph(0, 100, 120))
    assert told(good) == ''
    assert told(good[: len(good) // 2]) == 'is truncated'
    huge = patched(good, b'\xff\xc0', 5, (60000).to_bytes(2, 'big') * 2)
    assert told(huge) == 'has 60000x60000 pixels, more than 134217728 are refused'
    with pytest.raises(PictureError, match='has 60000x60000 pixels, more than 134217728 are refused'):
        decode(huge)
    assert told(patched(good, b'\xff\xc0', 11, b'\x00')) != ''  # a sampling factor of zero
    middle = len(good) * 2 // 3
    assert told(good[:middle] + b'\xff\xd9' + good[middle:]).startswith('is damaged (')
    assert told(patched(good, b'\xff\xc0', 5, (4000).to_bytes(2, 'big'))).startswith(
        'is damaged ('
    )  # rows that are not there


def test_a_cut_sees_damage_within_it_alone():
    """Only what a view needs is decoded, so damage elsewhere stays unseen, as in every reader of regions."""
    payload = jpeg(photograph(1, 256, 256), 4)
    scan = payload.index(b'\xff\xda')
    ends = [i for i in range(scan, len(payload) - 1) if payload[i] == 0xFF and 0xD0 <= payload[i + 1] <= 0xD7]
    last = ends[-1] + 2
    damaged = payload[:last] + b'\xff\xd9'  # the last segment is empty
    assert told(damaged).startswith('is damaged (')
    top = view.plan(np.array([[256, 256]]), 64, view.View(crops=10))[:, :1]  # the upper left corner
    found, rows = rendered([damaged], lambda sizes: top, 64)
    np.testing.assert_array_equal(found, by_opencv([payload], rows, 64))


def test_a_small_jpeg_that_is_damaged_is_not_kept(tmp_path):
    """OpenCV, which decodes what is kept in memory, would fill it with grey and say nothing."""
    good = jpeg(scene(0, 48, 48))
    middle = len(good) * 2 // 3
    path = write(tmp_path / 'a.rec', [good, good[:middle] + b'\xff\xd9' + good[middle:], good])
    reader = Reader(path, 32, 3, None, options=Options(threads=1, max_bad=1))
    assert reader._pictures.kept() == [0, 2]
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
    for a, b in zip(*both(path, 64, None, None)):
        np.testing.assert_array_equal(a.data, b.data)
        assert a.label[: a.real].tolist() == [5, 6, 7]


def test_files_larger_than_32_bits(tmp_path):
    """Nine records of half a gigabyte, which take no room as the file has holes there, then a picture."""
    from ibnnet_mx.recordio.format import RecordFile, encode, write_index
    from ibnnet_mx.recordio.framing import FRAME, HEADER, MAGIC
    from ibnnet_mx.recordio.render import Native

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
            plan = lambda numbers, sizes: view.plan(sizes, 48, view.View())  # noqa: E731
            assert Native(records, ((0,) * 3, (1,) * 3)).render(np.array([position]), plan, out) == {}
            views.append(out)
    np.testing.assert_array_equal(*views)
