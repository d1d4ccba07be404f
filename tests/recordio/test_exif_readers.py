"""Every way from files to batches and records turns pictures upright, in C and by OpenCV alike."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from ibnnet_mx.recordio.fast import native
from ibnnet_mx.recordio.format import RecordFile
from ibnnet_mx.recordio.inspection import sheet, verify
from ibnnet_mx.recordio.packing import restart
from ibnnet_mx.recordio.packing.pack import Packer
from ibnnet_mx.recordio.packing.worker import Output
from ibnnet_mx.recordio.pixels import exif
from ibnnet_mx.recordio.pixels.augment import Augment
from ibnnet_mx.recordio.pixels.jpeg import headers
from ibnnet_mx.recordio.pixels.pictures import decode, read_picture
from ibnnet_mx.recordio.reading.loader import Loader
from ibnnet_mx.recordio.reading.options import Options
from ibnnet_mx.recordio.reading.reader import Reader
from ibnnet_mx.recordio.sources import Sample, Store
from tests.exif_pictures import by_opencv, stored, tiff, with_exif
from tests.record_sets import jpeg, photograph, png, write

ALL = range(1, 9)
SAMPLING = {
    '420': cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    '422': cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    '440': cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    '411': cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
}
KINDS = [{}, {'progressive': 1}, {'interval': 1}, *({'sampling': value} for value in SAMPLING.values())]
built = pytest.mark.skipif(native.functions() is None, reason='the C reader is not built')


def payloads(height=75, width=91):
    """A JPEG of each orientation and kind, all upright in 75x91 pixels."""
    return [
        with_exif(jpeg(stored(photograph(number, height, width), number), **options), number)
        for options in KINDS
        for number in ALL
    ]


@pytest.fixture(scope='module')
def records(tmp_path_factory):
    return write(tmp_path_factory.mktemp('turned') / 'a.rec', payloads())


def batches(path, size, changes=None, **options):
    reader = Reader(path, size, 16, changes, None, Options(**options))
    data = np.concatenate([batch.data[: batch.real] for batch in reader.epoch()])
    reader.close()
    return data


@built
@pytest.mark.parametrize('changes', [None, Augment()])
def test_c_and_opencv_give_the_same_upright_pictures(records, changes):
    one, other = (batches(records, 48, changes, native=native) for native in (True, False))
    np.testing.assert_array_equal(one, other)
    stored_alike = batches(records, 48, changes, native=True, exif='ignore')
    np.testing.assert_array_equal(stored_alike, batches(records, 48, changes, native=False, exif='ignore'))
    assert (one != stored_alike).any(axis=(1, 2, 3)).sum() >= len(one) * 6 // 8


@built
def test_warped_views_of_turned_pictures_are_near_in_c_and_opencv(records):
    changes = Augment(scale=(0.6, 1.2), aspect=0.2, rotate=10, shear=0.1)
    one, other = (batches(records, 48, changes, native=native).astype(int) for native in (True, False))
    assert np.abs(one - other).mean() < 0.5


@pytest.mark.parametrize('c', [False, pytest.param(True, marks=built)])
def test_crops_of_records_are_those_of_mxnets_reader(tmp_path, c):
    mx = pytest.importorskip('mxnet')

    path = write(tmp_path / 'a.rec', payloads(64, 64))
    theirs = mx.io.ImageRecordIter(
        path_imgrec=str(path), data_shape=(3, 48, 48), batch_size=56, preprocess_threads=1, dtype='uint8', verbose=False
    )
    ours, theirs = batches(path, 48, native=c), next(theirs).data[0].asnumpy()
    other = np.repeat([options.get('sampling') == SAMPLING['440'] for options in KINDS], 8)
    np.testing.assert_array_equal(ours[~other], theirs[~other])
    # mxnet's libjpeg of 2018 interpolates the colours of 4:4:0 in another way, turned or not
    assert np.abs(ours[other].astype(int) - theirs[other]).mean() < 0.3


def test_small_pictures_are_kept_upright(tmp_path):
    pictures = [with_exif(jpeg(stored(photograph(n, 32, 32), n)), n) for n in ALL]
    path = write(tmp_path / 'a.rec', pictures)
    wanted = np.stack([by_opencv(payload)[..., ::-1].transpose(2, 0, 1) for payload in pictures])
    np.testing.assert_array_equal(batches(path, 32), wanted)


def test_the_public_loader_knows_exif(tmp_path):
    upright = photograph(0, 40, 40)
    path = write(tmp_path / 'a.rec', [with_exif(jpeg(stored(upright, 6)), 6)])
    (turned, _), (plain, _) = (next(iter(Loader(path, 1, 40, dtype='uint8', exif=one))) for one in exif.CHOICES)
    np.testing.assert_array_equal(np.rot90(turned[0], axes=(1, 2)), plain[0])
    with pytest.raises(ValueError, match='exif'):
        Loader(path, 1, 40, exif='no')


def folder_of(tmp_path):
    folder = tmp_path / 'pictures' / 'a'
    folder.mkdir(parents=True)
    for n in ALL:
        (folder / f'{n}.jpg').write_bytes(with_exif(jpeg(stored(photograph(0, 60, 90), n)), n))
    (folder / '9.tif').write_bytes(tiff(photograph(0, 60, 90), 6))
    return folder


def test_folders_are_read_upright(tmp_path):
    data = batches(folder_of(tmp_path).parent, 48).astype(int)
    assert np.abs(data - data[:1]).mean() < 4


@pytest.mark.parametrize('choice', exif.CHOICES)
def test_packed_jpegs_are_turned_and_say_nothing_of_it(tmp_path, choice):
    folder, store = folder_of(tmp_path), Store(str(tmp_path / 'pictures' / 'a'))
    samples = [Sample((0.0,), name, name) for name in sorted(path.name for path in folder.iterdir())]
    with Packer(str(tmp_path), 1, 0, choice) as packer:
        packer.side(samples, store, [Output('a', 60, 90)])
    with RecordFile(tmp_path / 'a.rec') as file:
        for number, sample in enumerate(samples):
            payload = file.read(number).payload
            assert 0xE1 not in {marker for marker, _, _ in headers(payload)}
            wanted = read_picture(folder / sample.name, exif=choice)
            short = cv2.resize(wanted, (90, 60) if wanted.shape[0] == 60 else (60, 90))
            assert np.abs(decode(payload).astype(int) - short).mean() < 4


def packing(folder, source, choice='apply'):
    samples = [Sample((0.0,), path.name, path.name) for path in sorted(source.iterdir())]
    with Packer(str(folder), 1, 0, choice) as packer:
        packer.side(samples, Store(str(source)), [Output('a', 32, 90)])
    return packer.results[0].fresh


def forget(folder):
    """Make packed.json one of a version that knew no orientation."""
    path = folder / 'packed.json'
    entries = json.loads(path.read_text())
    assert entries['a'].pop('exif')
    path.write_text(json.dumps(entries))


def test_files_of_older_versions_stay_finished_unless_a_picture_is_turned(tmp_path):
    plain, turned = tmp_path / 'plain', tmp_path / 'turned'
    for folder, payload in ((plain, jpeg(photograph(0, 40, 50))), (turned, with_exif(jpeg(photograph(0, 40, 50)), 6))):
        folder.mkdir()
        (folder / '0.png').write_bytes(png(photograph(1, 40, 50)))
        (folder / '1.jpg').write_bytes(payload)
        for again in (True, False):
            assert packing(folder.parent, folder) is again
        forget(tmp_path)
        assert packing(tmp_path, folder) is (folder is turned)
        assert packing(tmp_path, folder) is False
        assert packing(tmp_path, folder, 'ignore') is (folder is turned)


@built
def test_restart_markers_keep_the_orientation(tmp_path):
    path = write(tmp_path / 'a.rec', payloads()[:8])
    before = batches(path, 48)
    restart.add_markers(str(path), 1, lambda became, why: None)
    with RecordFile(path) as file:
        assert [exif.orientation(file.read(n).payload) for n in range(8)] == list(ALL)
        assert all(restart.interval_of(file.read(n).payload) for n in range(8))
    np.testing.assert_array_equal(batches(path, 48), before)


def test_verification_and_sheets_see_upright_pictures(records):
    with verify.hushed() as (complaints, _):
        report = verify.verify_file(records, 1, complaints, lambda done, total: None)
    assert (report.wrong, report.width, report.height) == ([], (91, 91, 91), (75, 75, 75))
    with RecordFile(records) as file:
        drawn = sheet.draw_sheet(file, 8, 112, [])
    assert drawn.ndim == 3
