"""Restart markers added without loss: to a JPEG, and to a .rec whatever interrupts it."""

from __future__ import annotations

import os
import struct
import subprocess
import sys

import cv2
import numpy as np
import pytest

from ibnnet_mx.recordio.fast import native
from ibnnet_mx.recordio.format import RecordError, RecordFile, read_index, write_index
from ibnnet_mx.recordio.framing import MAGIC_BYTES, encode
from ibnnet_mx.recordio.packing import restart
from ibnnet_mx.recordio.packing.restart import ADDED, DAMAGED, FOREIGN, MARKED, SEQUENTIAL, UNCUTTABLE, rewrite_jpeg
from ibnnet_mx.recordio.pixels.jpeg import headers
from ibnnet_mx.recordio.pixels.pictures import PictureError
from ibnnet_mx.recordio.pixels.region import layout
from tests.record_sets import jpeg, png, scene, write

pytestmark = pytest.mark.skipif(native.functions() is None, reason='the C library is not built')

S420, S422, S444, S411 = (getattr(cv2, f'IMWRITE_JPEG_SAMPLING_FACTOR_{name}') for name in (420, 422, 444, 411))


def pixels(payload):
    return cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR)


def segment(marker, data):
    return bytes([0xFF, marker]) + struct.pack('>H', len(data) + 2) + data


def after_start(payload, extra):
    return payload[:2] + extra + payload[2:]


@pytest.mark.parametrize('progressive', [0, 1])
@pytest.mark.parametrize('interval', [0, 2, 7])
@pytest.mark.parametrize('sampling', [S420, S422, S444])
def test_coefficients_stay(sampling, interval, progressive):
    before = jpeg(scene(1, 70, 150), interval, sampling, progressive)
    after = rewrite_jpeg(before, 1)
    np.testing.assert_array_equal(pixels(before), pixels(after))
    assert rewrite_jpeg(before, 0) == rewrite_jpeg(after, 0)  # the coefficients, in the only way to write them
    assert restart.interval_of(after) == 1
    assert restart.interval_of(rewrite_jpeg(after, 0)) == 0
    assert layout(after) is not None


def test_what_else_is_in_the_headers_stays():
    extra = [segment(0xE1, b'Exif\0\0' + bytes(5000)), segment(0xE2, b'ICC_PROFILE\0\1\1' + bytes(range(200)))]
    extra += [segment(0xFE, b'a comment'), segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x/>')]
    before = after_start(jpeg(scene(2, 50, 60)), b''.join(extra))
    after = rewrite_jpeg(before, 1)
    for part in extra:
        assert after.count(part) == 1
    assert after.count(b'JFIF\0') == 1
    np.testing.assert_array_equal(pixels(before), pixels(after))


NO_JPEGS = {
    'empty': (lambda good: b'', 'is empty'),
    'png': (lambda good: png(scene(0, 9, 9)), 'is no JPEG'),
    'start alone': (lambda good: good[:2], 'cannot be decoded'),
    'cut off': (lambda good: good[:-30], 'is truncated'),
    'ends in the middle': (lambda good: good[: len(good) // 2] + b'\xff\xd9' + good[len(good) // 2 :], 'is damaged ('),
    'no size': (lambda good: good.replace(b'\xff\xc0', b'\xff\xe3', 1), 'cannot be decoded'),
    'huge': (lambda good: good.replace(struct.pack('>HH', 70, 150), b'\xff\xff\xff\xff', 1), 'has 65535x65535 pixels'),
}


@pytest.mark.parametrize('name', NO_JPEGS)
def test_damage_is_said(name):
    change, text = NO_JPEGS[name]
    with pytest.raises(PictureError) as caught:
        rewrite_jpeg(change(jpeg(scene(1, 70, 150))), 2)
    assert str(caught.value).startswith(text)


def test_damage_that_shows_while_writing_is_said_too(tmp_path):
    """A difference of brightness that no encoder may write, behind headers for which libjpeg's memory had to grow."""
    tables = segment(0xDB, bytes(1) + bytes([1] * 64)) + segment(0xC0, b'\x08\0\x08\0\x08\x01\x01\x11\0')
    codes = segment(0xC4, b'\0\x01' + bytes(15) + b'\x0f') + segment(0xC4, b'\x10\x01' + bytes(15) + b'\0')
    scan = segment(0xDA, b'\x01\x01\0\0\x3f\0') + b'\x40\0\x7f\xff\xd9'
    file = tmp_path / 'x.jpg'
    file.write_bytes(b'\xff\xd8' + segment(0xFE, bytes(60000)) + tables + codes + scan)
    code = (
        'import sys; from ibnnet_mx.recordio.packing.restart import rewrite_jpeg; '
        'rewrite_jpeg(open(sys.argv[1], "rb").read(), 1)'
    )
    done = subprocess.run([sys.executable, '-c', code, str(file)], capture_output=True, text=True)  # it may crash
    assert done.returncode == 1, done.stderr
    assert done.stderr.endswith('is damaged (DCT coefficient out of range)\n')


def test_headers_that_lie_about_their_length_end():
    assert list(headers(b'\xff\xd8\xff\xe0\0\0' + bytes(20))) == []
    assert list(headers(b'\xff\xd8\xff\xff\xe0\0\x03\0\xff\xfe\0\x09')) == [(0xE0, 3, 8), (0xFE, 8, 19)]
    assert restart.interval_of(b'\xff\xd8\xff\xdd\0\4') == 0


def test_without_the_library_it_says_how_to_build_it(monkeypatch, tmp_path):
    monkeypatch.setattr(native, 'functions', lambda: None)
    for call in (lambda: rewrite_jpeg(b'', 1), lambda: restart.add_markers(str(tmp_path / 'a.rec'), 1, print)):
        with pytest.raises(ValueError, match='ibnnet build reader'):
            call()


# Files


def mixed():
    """Payloads of each kind, and what becomes of them."""
    plain = jpeg(scene(0, 60, 90))
    inner = [MAGIC_BYTES * 2 + bytes(1)] * 4  # wherever the comment begins, one pair is at a multiple of 4
    kinds = [
        (png(scene(2, 20, 20)), FOREIGN),
        (plain, ADDED),
        (jpeg(scene(1, 50, 70), progressive=1), SEQUENTIAL),
        (after_start(plain, segment(0xFE, b''.join(inner))), ADDED),
        (rewrite_jpeg(plain, 3), MARKED),
        (jpeg(scene(3, 40, 40), sampling=S411), UNCUTTABLE),
        (plain[:-40], DAMAGED),
        (jpeg(scene(4, 64, 150), 7), ADDED),  # with markers that are of no use: they do not divide a row
        (b'', FOREIGN),
    ]
    return [payload for payload, _ in kinds], [became for _, became in kinds]


def add(path, jobs=2):
    """What became of the records, what was said of them, bytes before and after."""
    told = []
    sizes = restart.add_markers(str(path), jobs, lambda became, why: told.append((became, why)))
    return [became for became, _ in told], [why for _, why in told if why], sizes


def contents(path):
    with RecordFile(path) as records:
        items = [records.read(i) for i in range(len(records))]
        return records.ids.tolist(), [item.label.tolist() for item in items], [item.payload for item in items]


@pytest.fixture
def packed(tmp_path):
    """A file of all kinds with two labels; its index lists the records backwards, under ids that are not theirs."""
    path = write(tmp_path / 'a.rec', mixed()[0], [[i, 0.25] for i in range(9)])
    data = bytearray(path.read_bytes())
    _, offsets = read_index(path.with_suffix('.idx'))
    for number, at in enumerate(offsets):
        data[at + 24 : at + 32] = struct.pack('<Q', 1000 + number)  # the second id
    path.write_bytes(data)
    write_index(path.with_suffix('.idx'), range(50, 50 + len(offsets)), offsets[::-1])
    return path


def test_only_the_payloads_change(packed):
    payloads, kinds = mixed()
    ids, labels, before = contents(packed)
    became, said, sizes = add(packed)
    assert (became, said) == (kinds, [f'{packed}: record 2 (id 52) is truncated'])
    assert contents(packed)[:2] == (ids, labels)
    for kind, old, new in zip(reversed(kinds), before, contents(packed)[2]):
        assert (old == new) == (kind not in restart.CHANGED)
        if kind in restart.CHANGED:
            np.testing.assert_array_equal(pixels(old), pixels(new))
            assert layout(new) is not None
    data, (_, offsets) = packed.read_bytes(), read_index(packed.with_suffix('.idx'))
    assert [struct.unpack_from('<Q', data, at + 24)[0] for at in sorted(offsets)] == list(range(1000, 1009))
    assert sizes[1] == len(data)
    assert sorted(os.listdir(packed.parent)) == ['a.idx', 'a.rec']


def test_records_in_parts_are_framed_as_by_the_packer(tmp_path):
    payloads, _ = mixed()
    path = write(tmp_path / 'a.rec', payloads[3:4], [[1, 2]])
    add(path)
    assert path.read_bytes() == encode(rewrite_jpeg(payloads[3], 1), [1, 2], 0)
    assert struct.unpack_from('<I', path.read_bytes(), 4)[0] >> 29 == 1


def test_the_number_of_threads_changes_nothing(tmp_path):
    payloads = mixed()[0] * 5
    one, many = write(tmp_path / 'a.rec', payloads), write(tmp_path / 'b.rec', payloads)
    add(one, 1)
    add(many, 8)
    assert one.read_bytes() == many.read_bytes()


def test_a_second_time_nothing_is_touched(packed):
    add(packed)
    before = {path: (path.stat().st_ino, path.read_bytes()) for path in packed.parent.iterdir()}
    became, _, sizes = add(packed)
    assert set(became) == {MARKED, FOREIGN, UNCUTTABLE, DAMAGED}
    assert sizes[0] == sizes[1]
    assert before == {path: (path.stat().st_ino, path.read_bytes()) for path in packed.parent.iterdir()}


class Killed(BaseException):
    """Nothing after it is done, as after SIGKILL."""


STEPS = ['written', 'old index away', 'records in place', 'index in place']


@pytest.mark.parametrize('indexed', [True, False])
@pytest.mark.parametrize('step', range(len(STEPS)), ids=STEPS)
def test_killed_anywhere_the_file_is_read_and_the_next_run_ends_it(packed, monkeypatch, step, indexed):
    if not indexed:
        packed.with_suffix('.idx').unlink()
    ids, labels, _ = contents(packed)
    names = {name.name for name in packed.parent.iterdir()}
    replace, done = restart._Files.replace, []

    def move(old, new, rename=os.replace):
        if len(done) == step:
            raise Killed
        done.append(rename(old, new))

    def killed(files):
        patch.setattr(os, 'replace', move)
        patch.setattr(restart._Files, 'mend', lambda files: None)
        replace(files)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(restart._Files, 'replace', killed)
        with pytest.raises(Killed):
            add(packed)
    found = contents(packed)
    gone = step in (1, 2) and indexed  # then the records are found by a scan, under their own ids
    assert found[1] == (labels[::-1] if gone else labels)
    assert packed.with_suffix('.idx').exists() == (indexed and not gone)
    packed.with_suffix('.idx.part.part').write_text('0\t')
    add(packed)
    assert contents(packed)[:2] == (ids, labels)
    assert {name.name for name in packed.parent.iterdir()} == names
    assert set(add(packed)[0]) == {MARKED, FOREIGN, UNCUTTABLE, DAMAGED}


def test_an_index_that_was_moved_away_comes_back(packed):
    before = contents(packed)
    packed.with_suffix('.idx').rename(packed.with_suffix('.idx.before'))
    add(packed)
    assert contents(packed)[:2] == before[:2]


@pytest.mark.parametrize('largest', [0, 4000, 12000])
def test_a_full_disk_is_said_and_changes_nothing(packed, largest):
    resource = pytest.importorskip('resource')
    before = {path.name: path.read_bytes() for path in packed.parent.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, limits[1]))  # instead of a disk that is full
    try:
        with pytest.raises(
            RecordError, match='a.rec.part could not be written \\(File too large\\): .* was not changed'
        ):
            add(packed)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in packed.parent.iterdir()} == before


def test_too_little_room_is_seen_before_it_is_filled(packed, monkeypatch):
    usage = restart.shutil.disk_usage(packed.parent)._replace(free=100)
    monkeypatch.setattr(restart.shutil, 'disk_usage', lambda folder: usage)
    with pytest.raises(RecordError, match='a.rec.part needs about [0-9]+ bytes, 100 are free: nothing was changed'):
        add(packed)
    assert sorted(os.listdir(packed.parent)) == ['a.idx', 'a.rec']


def test_two_at_once_do_not_meet(packed):
    fcntl = pytest.importorskip('fcntl')
    with open(packed, 'rb') as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RecordError, match='a.rec is being converted by another process: wait for it'):
            add(packed)
    assert ADDED in add(packed)[0]


def test_links_and_permissions_stay(packed, tmp_path):
    (tmp_path / 'links').mkdir()
    for suffix in ('.rec', '.idx'):
        packed.with_suffix(suffix).chmod(0o640)
        (tmp_path / 'links' / f'b{suffix}').symlink_to(packed.with_suffix(suffix))
    add(tmp_path / 'links' / 'b.rec')
    for suffix in ('.rec', '.idx'):
        assert (tmp_path / 'links' / f'b{suffix}').is_symlink()
        assert packed.with_suffix(suffix).stat().st_mode & 0o777 == 0o640
