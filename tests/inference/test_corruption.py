"""evaluate.py on shifted pictures and on several domains: exact numbers, the text, the drawings, and mistakes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ibnnet_mx import data, shift
from ibnnet_mx.inference import corruption, domains, evaluation
from ibnnet_mx.recordio.reading.options import Options
from tests.graded_pictures import CLASSES, Model, picture, write_graded
from tests.record_sets import png, write

ONE = Options(threads=1)


@pytest.fixture(scope='module')
def records(tmp_path_factory):
    return write_graded(tmp_path_factory.mktemp('shifted'))


def measured(records, models, wanted, batch_size=7, workers=1, seed=0):
    pictures = data.evaluation_iter(records, models[0].input, batch_size, None, 1, ONE, raw=True)
    try:
        with shift.Workers(workers) as pool:
            return corruption.measure(models, pictures, wanted, pool, seed)
    finally:
        pictures.close()


def test_raw_pictures_become_what_the_reader_feeds(records):
    """So that the errors of the clean pictures are those of an evaluation without shifts."""
    for source in (data.Input(32, (124.0, 117.0, 104.0), (58.0, 57.0, 57.0)), data.Input(24, (0.0,) * 3, (1.0,) * 3)):
        usual = data.evaluation_iter(records, source, 7, None, 1, ONE)
        raw = data.evaluation_iter(records, source, 11, None, 1, ONE, raw=True)
        fed = np.concatenate([batch.asnumpy()[:real] for batch, _, real in usual.epoch()])
        made = np.concatenate([data.normalise(pictures, source).asnumpy() for pictures, _, _ in raw.raw()])
        assert np.array_equal(fed, made)
        positions = np.concatenate([places for _, places, _ in raw.raw()])
        assert positions.tolist() == list(range(30))
        usual.close()
        raw.close()


def test_the_clean_part_is_the_report_without_shifts(records):
    for model in (Model(), Model(mean=120.0, std=60.0)):
        found = corruption.report_of(measured(records, [model], [('fog', 1)]), ['a'], 0)
        assert found['clean'] == pytest.approx(1 - evaluation.report_of(model, records, options=ONE)['top1'])


@pytest.mark.parametrize('batch_size', [1, 30])
def test_any_batch_size_and_number_of_processes_gives_the_same_errors(records, batch_size):
    wanted = shift.chosen('gaussian_noise:5,exposure,color_cast:5')
    expected = measured(records, [Model()], wanted)
    other = measured(records, [Model()], wanted, batch_size, workers=2 if batch_size == 30 else 1)
    assert list(expected) == list(other) == [('clean', 0), *wanted]
    for key, (result,) in expected.items():
        assert np.array_equal(result.predicted, other[key][0].predicted)
        assert np.allclose(result.confidence, other[key][0].confidence)
    assert not np.allclose(
        expected['exposure', 5][0].confidence, measured(records, [Model()], wanted, seed=1)['exposure', 5][0].confidence
    )


def test_a_part_of_the_pictures_sees_what_it_sees_among_all(records):
    """--every 3: pictures 0, 3, 6 ..., each with the noise that it has in the whole."""
    wanted = [('gaussian_noise', 5)]
    whole = measured(records, [Model()], wanted)[wanted[0]][0]
    pictures = data.evaluation_iter(records, Model().input, 4, None, 1, ONE._replace(every=3), raw=True)
    with shift.Workers(1) as pool:
        part = corruption.measure([Model()], pictures, wanted, pool)[wanted[0]][0]
    pictures.close()
    assert pictures.count == part.count == 10
    assert np.allclose(part.confidence, whole.confidence[::3])
    assert part.labels.tolist() == whole.labels[::3].tolist()


def test_a_damaged_picture_changes_no_other(tmp_path):
    payloads = [png(picture(n)[..., ::-1]) for n in range(12)]
    write(tmp_path / 'whole.rec', payloads, [0] * 12)
    write(tmp_path / 'hurt.rec', [*payloads[:4], payloads[4][:50], *payloads[5:]], [0] * 12)
    found = {}
    for name, every in (('whole', 1), ('hurt', 1), ('hurt', 2)):
        options = ONE._replace(every=every, max_bad=1)
        pictures = data.evaluation_iter(tmp_path / f'{name}.rec', Model().input, 5, None, 1, options, raw=True)
        with shift.Workers(1) as pool:
            batches = list(pool.over(pictures.raw(), 'gaussian_noise', 5))
        found[name, every] = {int(at): one.sum() for seen, places, _ in batches for one, at in zip(seen, places)}
        pictures.close()
    assert list(found['hurt', 1]) == [0, 1, 2, 3, *range(5, 12)]
    assert list(found['hurt', 2]) == [0, 2, 6, 8, 10]
    for part in (found['hurt', 1], found['hurt', 2]):
        assert part.items() <= found['whole', 1].items()


def test_errors_are_means_over_severities_then_names(records):
    wanted = shift.chosen('exposure:1,exposure:5,brightness:3')
    found = measured(records, [Model()], wanted)
    told = corruption.report_of(found, ['a'], 3)
    errors = {key: 1 - result.top1 for key, (result,) in found.items()}
    exposure = (errors['exposure', 1] + errors['exposure', 5]) / 2
    assert told['error']['exposure'] == {'1': errors['exposure', 1], '5': errors['exposure', 5]}
    assert told['mean'] == pytest.approx((exposure + errors['brightness', 3]) / 2)
    assert told['groups'] == pytest.approx({'weather': errors['brightness', 3], 'appearance': exposure})
    assert told['seed'] == 3
    assert 'mCE' not in told
    assert json.loads(json.dumps(told)) == told


def test_the_relative_numbers_are_those_of_the_paper(records):
    """Sums over severities, ratios by name, then their mean; relative: what is lost beyond the clean error."""
    names = ('impulse_noise', 'brightness', 'snow')
    found = measured(records, [Model(offset=18.0), Model(offset=22.0)], shift.chosen(','.join([*names, 'exposure'])))
    told = corruption.report_of(found, ['a', 'b'], 0)
    sums = {
        name: [sum(1 - found[name, level][model].top1 for level in range(1, 6)) for model in range(2)] for name in names
    }
    clean = [1 - result.top1 for result in found['clean', 0]]
    assert told['mCE'] == pytest.approx(np.mean([ours / theirs for ours, theirs in sums.values()]))
    lost = [(ours - 5 * clean[0]) / (theirs - 5 * clean[1]) for ours, theirs in sums.values()]
    assert told['relative_mCE'] == pytest.approx(np.mean(lost))
    same = corruption.report_of(measured(records, [Model(), Model()], shift.chosen('brightness')), ['a', 'b'], 0)
    assert (same['mCE'], same['relative_mCE']) == (1, 1)
    assert same['baseline']['mean'] == same['mean']


def test_all_corruptions_at_all_severities_are_the_whole(records):
    found = measured(records, [Model(), Model()], [('brightness', 5)])
    some = found['brightness', 5]
    every = {('clean', 0): found['clean', 0], **dict.fromkeys(shift.chosen('all'), some)}
    told = corruption.report_of(every, ['a', 'b'], 0)
    assert told['whole'] is True
    assert '  mCE 100.00 % (100 %: b)' in list(corruption.lines(told))
    every.pop(('fog', 3))
    assert corruption.report_of(every, ['a', 'b'], 0)['whole'] is False


def test_a_baseline_that_loses_nothing_gives_no_ratio(records):
    told = corruption.report_of(measured(records, [Model(), Model()], [('jpeg_compression', 1)]), ['a', 'b'], 0)
    assert (told['mCE'], told['relative_mCE']) == (None, None)
    lines = list(corruption.lines(told))
    assert '  mCE of these shifts only not defined: jpeg_compression costs the baseline no accuracy (100 %: b)' in lines
    told = corruption.report_of(measured(records, [Model(), Model()], [('exposure', 5)]), ['a', 'b'], 0)
    assert told['why_not'] == 'none of the shifts is one of the 15 corruptions'


def test_the_table_has_a_row_a_shift_and_a_column_a_severity(records):
    told = corruption.report_of(
        measured(records, [Model()], shift.chosen('exposure:1,exposure:5,brightness:3')), ['a'], 0
    )
    rows = list(corruption.lines(told))
    assert rows[0].split()[-4:] == ['1', '3', '5', 'mean']
    bright, exposed = (next(row.split() for row in rows if row.startswith(f'    {name}')) for name in ('bri', 'exp'))
    assert [bright[1], bright[3]] == ['-', '-']
    assert exposed[2] == '-'
    assert exposed[3] == f'{100 * told["error"]["exposure"]["5"]:.2f}'


@pytest.mark.parametrize(
    ('asked', 'titles'),
    [
        ('fog,noise', ['all of noise']),
        ('fog,snow:2', ['2 of 4 of weather']),
        ('hue:1', []),
    ],
)
def test_a_group_has_a_row_that_says_how_much_of_it_there_is(records, asked, titles):
    told = corruption.report_of(measured(records, [Model()], shift.chosen(asked)), ['a'], 0)
    first = [line[4:23].strip() for line in corruption.lines(told)]
    assert [title for title in first if ' of ' in title and 'mean' not in title and 'error' not in title] == titles


def test_the_calibration_error_is_of_shifted_pictures_alone(records):
    found = measured(records, [Model(offset=20.0)], shift.chosen('exposure:1,exposure:5,brightness:3'))
    gaps = {key: result.calibration_error() for key, (result,) in found.items()}
    expected = (gaps['brightness', 3] + (gaps['exposure', 1] + gaps['exposure', 5]) / 2) / 2
    assert corruption.report_of(found, ['a'], 0)['calibration_error'] == pytest.approx(expected)
    assert gaps['clean', 0] != pytest.approx(expected)


def test_domains_have_a_row_each_and_a_mean(records, tmp_path):
    write(tmp_path / 'few.rec', [png(picture(n)[..., ::-1]) for n in range(7)], [n % CLASSES for n in range(7)])
    places = {'a': (0, records), 'b': (30, tmp_path / 'few.rec')}
    reports = {name: evaluation.report_of(Model(offset=by), path, options=ONE) for name, (by, path) in places.items()}
    told = domains.report_of(reports)
    assert told['worst'] == 'b'
    assert told['mean']['top1'] == pytest.approx((reports['a']['top1'] + reports['b']['top1']) / 2)
    rows = list(domains.lines(told))
    assert rows[2].split()[:3] == ['a', '30', '100.00']
    assert rows[-1] == '  worst: b'
    theirs = dict(reports, b=reports['a'])
    beside = list(domains.lines(domains.report_of(reports, theirs)))
    assert [row.split()[-1] for row in beside[3:6]] == ['100.00', '100.00', '100.00']


@pytest.mark.parametrize('word', ['a', '=x', 'a=', 'a=1'])
def test_a_domain_needs_a_name_and_data(word):
    with pytest.raises(ValueError, match=f"domains='{word}': (write NAME=DATA|a is given twice)"):
        domains.read_domains(['a=0', word])
