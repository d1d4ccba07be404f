"""Pictures into records: what becomes of each kind of file, and of a packing that is cut short."""

from __future__ import annotations

import io
import json
import os
import zlib

import cv2
import numpy as np
import pytest

from ibnnet_mx.recordio.format import RecordFile
from ibnnet_mx.recordio.packing import pack
from ibnnet_mx.recordio.packing.pack import Packer, PackError
from ibnnet_mx.recordio.packing.worker import Output
from ibnnet_mx.recordio.pixels import pictures
from ibnnet_mx.recordio.pixels.jpeg import complete
from ibnnet_mx.recordio.pixels.pictures import PictureError
from ibnnet_mx.recordio.sources import Sample, SourceError, Store, split

SMALL = Output('small_q90', 64, 90)
LARGE = Output('large_q80', 128, 80)


def picture(height=60, width=80, seed=0):
    """Smooth colours, which JPEG keeps to a few levels."""
    coarse = np.random.RandomState(seed).randint(0, 256, (4, 5, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def jpeg(image, *options):
    return cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 95, *options])[1].tobytes()


def png(image):
    return cv2.imencode('.png', image)[1].tobytes()


def pillow(image, kind, mode='RGB', **options):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image[:, :, ::-1]).convert(mode).save(file, kind, **options)
    return file.getvalue()


def exif(orientation):
    from PIL import Image

    tags = Image.Exif()
    tags[0x112] = orientation
    return tags.tobytes()


def with_png_alpha(image):
    return np.dstack([image, np.zeros(image.shape[:2], np.uint8)])


IMAGE = picture()
GREY = cv2.cvtColor(IMAGE, cv2.COLOR_BGR2GRAY)
ORDINARY = {  # file -> pixels that it must become, mean difference that its coding costs
    'jpeg': (jpeg(IMAGE), IMAGE, 2),
    'progressive': (jpeg(IMAGE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), IMAGE, 2),
    'png': (png(IMAGE), IMAGE, 0),
    'grey jpeg': (jpeg(GREY), np.dstack([GREY] * 3), 2),
    'grey png': (png(GREY), np.dstack([GREY] * 3), 0),
    'palette png': (pillow(IMAGE, 'PNG', 'P', bits=8), IMAGE, 30),
    'cmyk jpeg': (pillow(IMAGE, 'JPEG', 'CMYK', quality=95), IMAGE, 4),
    '16-bit png': (png(IMAGE.astype(np.uint16) * 257), IMAGE, 0),
    '16-bit grey png': (png(GREY.astype(np.uint16) * 257), np.dstack([GREY] * 3), 0),
    'alpha is dropped': (png(with_png_alpha(IMAGE)), IMAGE, 0),
    'grey with alpha': (pillow(IMAGE, 'PNG', 'LA'), np.dstack([GREY] * 3), 2),
    'turned by exif': (pillow(np.rot90(IMAGE), 'JPEG', quality=95, exif=exif(6)), IMAGE, 4),
    'bytes after the end': (jpeg(IMAGE) + b'more', IMAGE, 2),
    'webp': (pillow(IMAGE, 'WEBP', quality=95), IMAGE, 6),
    'bmp': (pillow(IMAGE, 'BMP'), IMAGE, 0),
}


@pytest.mark.parametrize('kind', ORDINARY)
def test_every_kind_of_picture_becomes_three_channels(kind):
    data, expected, tolerance = ORDINARY[kind]
    found = pictures.decode(data)
    assert (found.dtype, found.shape) == (np.uint8, expected.shape)
    assert np.abs(found.astype(int) - expected).mean() <= tolerance


def broken_png():
    data = bytearray(png(IMAGE))
    data[len(data) // 2] ^= 1
    return bytes(data)


NEEDS_PACKER = ('jpeg with its second half missing', 'strip')  # seen by a packing process only
HALF = len(jpeg(IMAGE)) // 2
BAD = {  # file -> why it is skipped
    'empty': (b'', 'is empty'),
    'truncated jpeg': (jpeg(IMAGE)[:HALF], 'is truncated'),
    'jpeg without its end': (jpeg(IMAGE)[:-2], 'is truncated'),
    'truncated progressive': (jpeg(IMAGE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)[:HALF], 'is truncated'),
    'jpeg header only': (jpeg(IMAGE)[:100], 'is truncated'),
    'truncated png': (png(IMAGE)[:-30], 'is truncated'),
    'png without its end': (png(IMAGE)[:-12], 'is truncated'),
    'flipped bit in a png': (broken_png(), 'is truncated'),
    'text': (b'this is no picture', 'cannot be decoded (it is no picture of a known format)'),
    'truncated bmp': (pillow(IMAGE, 'BMP')[:-4000], 'cannot be decoded (BMP)'),
    'jpeg with its second half missing': (jpeg(IMAGE)[:HALF] + b'\xff\xd9', 'is damaged (Corrupt JPEG data'),
    'strip': (jpeg(picture(20, 3000)), 'is a strip of 3000x20: 19200 pixels long at a short side of 128'),
}


@pytest.mark.parametrize('kind', [kind for kind in BAD if kind not in NEEDS_PACKER])
def test_a_picture_that_is_not_whole_is_refused(kind):
    with pytest.raises(PictureError) as caught:
        pictures.decode(BAD[kind][0])
    assert str(caught.value) == BAD[kind][1]


def test_complete_looks_behind_thumbnails_and_ignores_what_follows():
    whole = jpeg(IMAGE)
    thumbnail = jpeg(picture(16, 16))
    app1 = b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2, 'big') + thumbnail
    assert complete(whole[:2] + app1 + whole[2:])
    assert not complete(whole[:2] + app1 + whole[2:-2])
    assert complete(whole + b'\0' * 100)
    assert all(complete(data) for data, _, _ in ORDINARY.values())
    assert not any(complete(whole[:length]) for length in range(2, len(whole), 7))
    assert not any(complete(png(IMAGE)[:length]) for length in range(8, len(png(IMAGE)), 7))
    assert complete(b'anything else')


def test_png_needs_right_checksums_of_its_critical_chunks_only():
    whole = png(IMAGE)
    text = b'tEXtkey\0value'
    chunk = (len(text) - 4).to_bytes(4, 'big') + text + (zlib.crc32(text) ^ 1).to_bytes(4, 'big')
    assert complete(whole[:33] + chunk + whole[33:])
    assert not complete(whole[:29] + b'\0\0\0\0' + whole[33:])


@pytest.mark.parametrize(('height', 'width', 'size'), [(60, 80, (64, 85)), (80, 60, (85, 64)), (64, 64, (64, 64))])
def test_short_side_is_exact_and_the_other_rounded_down_as_im2rec_does(height, width, size):
    image = picture(height, width)
    found = pictures.to_short_side(image, 64)
    assert found.shape[:2] == size
    assert (found == cv2.resize(image, size[::-1])).all()


@pytest.mark.parametrize('width', [640, 81, 65, 16])
def test_restart_markers_change_no_pixel(width):
    image = picture(64, width)
    data = pictures.encode_jpeg(image, 90)
    at = data.index(b'\xff\xdd')
    assert int.from_bytes(data[at + 4 : at + 6], 'big') == 1
    plain = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    assert (pictures.decode(data) == cv2.imdecode(plain, 1)).all()


def test_cifar_pictures_are_kept_bit_for_bit():
    image = picture(32, 32)
    assert (pictures.decode(pictures.encode_cifar(image)) == image).all()
    assert pictures.decode(pictures.encode_cifar(picture(100, 40))).shape == (32, 32, 3)


@pytest.mark.parametrize(('count', 'ratio', 'train'), [(10, 0.8, 8), (100, 0.29, 29), (2, 0.99, 1), (3, 0.01, 1)])
def test_split_takes_the_floor_and_leaves_no_side_empty(count, ratio, train):
    samples = [Sample((0.0,), str(i), i) for i in range(count)]
    sides = split(samples, ratio, 5)
    assert (len(sides[0]), len(sides[1])) == (train, count - train)
    assert sorted(sides[0] + sides[1], key=lambda sample: sample.key) == samples
    assert split(samples, ratio, 5) == sides
    assert count < 10 or split(samples, ratio, 6) != sides
    with pytest.raises(SourceError, match='1 picture cannot be split'):
        split(samples[:1], ratio, 5)


def folder_of(tmp_path, files):
    """Samples of files written below `tmp_path`/in, in their order."""
    (tmp_path / 'in').mkdir()
    (tmp_path / 'out').mkdir()
    for name, data in files.items():
        (tmp_path / 'in' / name).write_bytes(data)
    return [Sample((float(i),), name, name) for i, name in enumerate(files)], Store(str(tmp_path / 'in'))


def run(tmp_path, samples, store, outputs=(SMALL,), jobs=1, max_bad=0):
    with Packer(str(tmp_path / 'out'), jobs, max_bad) as packer:
        packer.side(samples, store, list(outputs))
    return packer.results


def contents(folder):
    return {name: (folder / name).read_bytes() for name in os.listdir(folder)}


def test_bad_pictures_are_named_counted_and_skipped(tmp_path, capfd):
    files = {'first.jpg': jpeg(IMAGE), **{kind: data for kind, (data, _) in BAD.items()}, 'last.jpg': jpeg(IMAGE)}
    samples, store = folder_of(tmp_path, files)
    samples.insert(1, Sample((9.0,), 'gone.jpg', 'gone.jpg'))
    small, large = run(tmp_path, samples, store, [SMALL, LARGE], max_bad=len(BAD) + 1)
    assert (small.records, small.skipped) == (large.records, large.skipped) == (2, len(BAD) + 1)
    said = capfd.readouterr().err
    assert 'skipped: gone.jpg cannot be read: No such file or directory' in said
    for kind, (_, why) in BAD.items():
        assert f'skipped: {kind} {why}' in said
    assert said.count('skipped: ') == len(BAD) + 1
    with RecordFile(small.path) as records:
        assert records.labels()[:, 0].tolist() == [0, len(BAD) + 1]
        assert records.ids.tolist() == [0, len(BAD) + 2]
    lines = (tmp_path / 'out' / 'small_q90.lst').read_text().splitlines()
    assert lines == ['0\t0\tfirst.jpg', f'{len(BAD) + 2}\t{len(BAD) + 1}\tlast.jpg']


def test_too_many_bad_pictures_are_an_error_and_leave_nothing(tmp_path):
    files = {'a.jpg': jpeg(IMAGE), 'b.jpg': b'', 'c.jpg': jpeg(IMAGE)[:HALF], 'd.jpg': jpeg(IMAGE)}
    samples, store = folder_of(tmp_path, files)
    with Packer(str(tmp_path / 'out'), 1, 1) as packer:
        packer.side(samples[:2], store, [SMALL])
        assert (tmp_path / 'out' / 'small_q90.rec').exists()
        with pytest.raises(PackError, match=r'max_bad=1 .*c\.jpg is one more \(is truncated\)'):
            packer.side(samples[2:], store, [LARGE])
    assert [name for name in os.listdir(tmp_path / 'out') if name != 'packed.json'] == []
    with pytest.raises(PackError, match='none of the 1 pictures for small_q90 could be read'):
        run(tmp_path, samples[1:2], store, max_bad=5)


def test_bytes_do_not_depend_on_the_number_of_processes_or_chunks(tmp_path, monkeypatch):
    files = {f'{i}.jpg': jpeg(picture(50 + i, 90 - i, i)) for i in range(40)}
    samples, store = folder_of(tmp_path, files)
    run(tmp_path, samples, store, [SMALL, LARGE])
    alone = contents(tmp_path / 'out')
    (tmp_path / 'out' / 'packed.json').unlink()
    monkeypatch.setattr(pack, 'CHUNK', 3)
    results = run(tmp_path, samples, store, [SMALL, LARGE], jobs=2)
    assert all(result.fresh for result in results)
    assert contents(tmp_path / 'out') == alone
    with RecordFile(tmp_path / 'out' / 'small_q90.rec') as records:
        for i in (0, 17, 39):
            image = pictures.to_short_side(picture(50 + i, 90 - i, i), 64)
            assert np.abs(pictures.decode(records.read(i).payload).astype(int) - image).mean() < 3


def test_finished_files_are_left_alone_until_something_changes(tmp_path):
    samples, store = folder_of(tmp_path, {**{f'{i}.jpg': jpeg(picture(seed=i)) for i in range(3)}, 'bad.jpg': b''})
    out = tmp_path / 'out'

    def fresh(samples=samples, outputs=(SMALL,), max_bad=1):
        return [result.fresh for result in run(tmp_path, samples, store, outputs, max_bad=max_bad)]

    assert fresh() == [True]
    before = os.stat(out / 'small_q90.rec').st_ino
    assert fresh() == [False]
    assert os.stat(out / 'small_q90.rec').st_ino == before
    assert fresh(samples[::-1]) == [True]
    assert fresh(outputs=(SMALL._replace(quality=50),)) == [True]
    assert fresh() == [True]
    (tmp_path / 'in' / '1.jpg').write_bytes(jpeg(picture(seed=9)))
    assert fresh() == [True]
    (out / 'small_q90.idx').unlink()
    assert fresh() == [True]
    (out / 'small_q90.rec').write_bytes(b'short')
    assert fresh() == [True]
    (out / 'packed.json').write_text('{"small_q90": [')
    assert fresh() == [True]
    with pytest.raises(PackError, match='max_bad=0'):
        fresh(max_bad=0)


def test_only_the_unfinished_file_of_a_side_is_packed(tmp_path):
    samples, store = folder_of(tmp_path, {f'{i}.jpg': jpeg(picture(seed=i)) for i in range(3)})
    run(tmp_path, samples, store, [LARGE, SMALL])
    whole = contents(tmp_path / 'out')
    (tmp_path / 'out' / 'small_q90.rec').unlink()
    assert {result.path[-13:]: result.fresh for result in run(tmp_path, samples, store, [LARGE, SMALL])} == {
        'large_q80.rec': False,
        'small_q90.rec': True,
    }
    assert contents(tmp_path / 'out') == whole
    entries = json.loads(whole['packed.json'])
    assert {name: entry['records'] for name, entry in entries.items()} == {'large_q80': 3, 'small_q90': 3}


def test_a_full_disk_leaves_the_old_files(tmp_path, monkeypatch):
    samples, store = folder_of(tmp_path, {'a.jpg': jpeg(IMAGE)})
    run(tmp_path, samples, store)
    before = contents(tmp_path / 'out')

    def full(self, *_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(pack._Writer, 'add', full)
    with pytest.raises(OSError, match='No space left'):
        run(tmp_path, samples, store, [SMALL._replace(quality=10)])
    assert contents(tmp_path / 'out') == before
