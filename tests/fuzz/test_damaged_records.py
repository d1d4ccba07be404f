"""Damaged and hostile input: a fast slice of tests/fuzz under sanitizers, and what it has found."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ibnnet_mx.recordio.fast import native
from ibnnet_mx.recordio.packing import restart
from ibnnet_mx.recordio.pixels import opencv, view
from ibnnet_mx.recordio.pixels.pictures import PictureError, decode
from ibnnet_mx.recordio.pixels.region import Decoded
from tests.fuzz import cases, corpus, run
from tests.fuzz.targets import Held
from tests.record_sets import jpeg, scene

built = pytest.mark.skipif(native.functions() is None, reason='the C reader is not built')


@pytest.fixture(scope='module')
def sanitizers(tmp_path_factory):
    try:
        run.environment()
        return run.sanitized(tmp_path_factory.mktemp('sanitized'))
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        pytest.skip(f'the C reader cannot be built with sanitizers here: {str(error)[:200]}')


def test_damage_does_no_harm(sanitizers, tmp_path):
    result = run.Result(1, tmp_path / 'findings')
    run.work(sanitizers, result, range(300), until=float('inf'))
    assert not result.findings, result.summary()
    assert result.done == 300
    assert len(result.outcomes) > 30, result.summary()  # many ways were gone, not one refusal of all
    assert result.outcomes['accepted'] > 10


def test_harm_is_found(sanitizers, tmp_path, capsys):
    for kind, report in (('overrun', 'AddressSanitizer'), ('unknown', 'AttributeError'), ('jpeg', 'is no JPEG')):
        cases.save(tmp_path / kind, cases.Case(kind, 0, (bytes(5000),)))
        assert run.replay(sanitizers, tmp_path / kind) == (kind != 'jpeg')
        assert report in capsys.readouterr().out


def test_a_child_that_does_not_begin_is_a_finding(sanitizers, tmp_path):
    result = run.Result(1, tmp_path)
    run.work(Path(os.devnull), result, range(2), until=float('inf'))
    assert result.findings == [-1]
    assert result.done == 0


def test_a_case_is_written_down_and_read_again(tmp_path):
    case = cases.make(3, 39)
    cases.save(tmp_path / 'case.npz', case)
    assert cases.load(tmp_path / 'case.npz') == case == cases.make(3, 39)


def told(payload, decoder=None):
    held = Held(payload)
    return held.refused or (decoder or native.Decoder()).check(held.source)


@built
def test_a_second_header_that_only_libjpeg_sees_is_refused():
    """Its picture is larger than the planes that were made for the first."""
    assert told(corpus.two_headers()) == 'is damaged (its headers contradict each other)'


@built
def test_a_picture_does_not_see_the_tables_of_the_one_before():
    good = jpeg(scene(0, 40, 50))
    at = good.index(b'\xff\xdb')
    length = int.from_bytes(good[at + 2 : at + 4], 'big')
    bare = good[:at] + good[at + 2 + length :]
    decoder = native.Decoder()
    assert told(good, decoder) == ''
    assert 'was not defined' in told(bare, decoder)


@built
def test_segments_of_rgb_are_cut_where_they_are():
    payload = corpus.pictures()['rgb in segments']
    held = Held(payload)
    rows = np.ascontiguousarray(view.view_rows(held.size, 24, view.View()))
    out, wanted = np.zeros((1, 1, 3, 24, 24), np.uint8), np.zeros((3, 24, 24), np.uint8)
    native.Decoder().render(held.source, rows, np.zeros(1, native.PIXELS), out, held.why)
    (seen,) = opencv.views(Decoded(decode(payload)), rows[0])
    opencv.planes(seen, None, wanted)
    np.testing.assert_array_equal(out[0, 0], wanted)


@built
@pytest.mark.parametrize('make', [corpus.progressive, corpus.arithmetic])
def test_scans_are_counted_by_the_size_of_the_picture(make):
    assert told(make(64, 64, 100)) == ''
    assert told(make(64, 64, 101)) == 'has more than 100 scans'
    assert told(make(6000, 6000, 40)) == 'has more than 37 scans'


@built
def test_a_rewriter_that_fails_late_frees_what_it_has():
    with pytest.raises(PictureError, match='coefficient'):
        restart.rewrite_jpeg(corpus.loud(), 1)
    with pytest.raises(PictureError, match='are refused'):
        restart.rewrite_jpeg(corpus.limits()['empty 60000 c0'], 1)


@built
def test_what_is_no_jpeg_is_said_to_be_none():
    decoder = native.Decoder()
    told(jpeg(scene(0, 40, 50))[:-9] + b'\xff\xd9', decoder)
    assert decoder.check(Held(b'\x89PNG').source) == 'is no JPEG'
