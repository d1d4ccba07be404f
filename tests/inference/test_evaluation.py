"""The report of an evaluation: exact numbers, what --json holds, the text, and what is said of a network that fails."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from ibnnet_mx import data, models
from ibnnet_mx.inference import evaluation
from ibnnet_mx.recordio.reading.options import Options
from tests.picture_sets import tree
from tests.record_sets import marked, png, write

CLASSES = 12
NAMES = [f'n{i:08d}' for i in range(CLASSES)]
ONE = Options(threads=1)


def payload(label):
    """A grey picture of a brightness that tells the class."""
    return png(np.full((32, 32, 3), 20 * label + 3, np.uint8))


@pytest.fixture(scope='module')
def records(tmp_path_factory):
    labels = [i % CLASSES for i in range(100)]
    folder = tmp_path_factory.mktemp('records')
    write(folder / 'cifar10_val.rec', [payload(label) for label in labels], labels)
    (folder / 'synset.txt').write_text('\n'.join(NAMES))
    return folder


class Model:
    """Reads the class off the brightness of the red plane, as pixels of its convention have it."""

    def __init__(self, trained='raw', fed='raw', order=range(CLASSES), names=(), classes=CLASSES):
        self.pixels, self.order, self.names, self.classes = evaluation.CONVENTIONS[trained], order, list(names), classes
        fed = evaluation.CONVENTIONS[fed]
        self.input, self.label = data.Input(32, fed.mean, fed.std), '--model made-up'

    def predict(self, pictures):
        red = pictures.asnumpy()[:, 0].mean(axis=(1, 2))
        bright = red * self.pixels.std[0] + self.pixels.mean[0]
        logits = np.zeros((len(bright), self.classes), np.float32)
        logits[:, list(self.order)] = -np.abs(bright[:, None] - 20 * np.arange(CLASSES) - 3)
        return logits


def test_a_report_holds_what_json_needs(records):
    found = evaluation.report_of(Model(), records, batch_size=7, options=ONE)
    assert list(found) == [
        *(
            'model',
            'data',
            'count',
            'every',
            'top1',
            'top5',
            'cross_entropy',
            'calibration_error',
            'crop_size',
            'resize',
            'crops',
        ),
        *('pixels', 'per_class', 'remarks'),
    ]
    assert json.loads(json.dumps(found)) == found
    assert (found['count'], found['top1'], found['top5'], found['remarks']) == (100, 1.0, 1.0, [])
    assert (found['crop_size'], found['resize'], found['crops'], found['pixels']) == (32, None, 1, 'raw')
    assert found['per_class'] == dict.fromkeys(NAMES, 1.0)
    assert found['cross_entropy'] == pytest.approx(np.log1p(2 * np.exp(-20)), rel=0.6)


@pytest.mark.parametrize('batch', [1, 7, 100])
@pytest.mark.parametrize('crops', [1, 10])
def test_any_batch_size_gives_the_same_report(records, batch, crops):
    order = [0, 1, 3, 2, *range(4, CLASSES)]
    options = dict(crop_size=24, resize=36, crops=crops)
    one, other = (
        evaluation.report_of(Model(order=order), records, batch_size=n, options=ONE, **options) for n in (batch, 33)
    )
    for name in ('cross_entropy', 'calibration_error'):
        assert one.pop(name) == pytest.approx(other.pop(name), rel=1e-12)
    assert one == other
    assert one['top1'] == pytest.approx(0.82)  # 9 pictures of class 2 and 3 each, less than the 8 or 9 of the others
    assert (one['per_class'][NAMES[2]], one['per_class'][NAMES[4]]) == (0, 1)
    assert (one['crop_size'], one['resize'], one['crops']) == (24, 36, crops)


def test_the_text_is_short_unless_every_class_is_asked_for(records):
    found = evaluation.report_of(Model(order=[1, 0, *range(2, CLASSES)]), records, options=ONE)
    text = list(evaluation.lines(found))
    assert len(text) == 18
    assert text[0] == f'--model made-up on {records}/cifar10_val.rec'
    assert '  top-1          82.00 %' in text
    assert text[-3:] == [f'    100.00 %  {NAMES[11]}', f'      0.00 %  {NAMES[0]}', f'      0.00 %  {NAMES[1]}']
    assert text[12] == '    ...'
    every = list(evaluation.lines(found, per_class=True))
    assert [line.split()[-1] for line in every[-CLASSES:]] == NAMES


def test_a_folder_of_a_few_classes_is_told_in_full(tmp_path):
    folder = tree(tmp_path / 'in', {f'{name}/a.png': payload(i) for i, name in enumerate(NAMES[:3])})
    found = evaluation.report_of(Model(names=NAMES), folder, options=ONE)
    assert (found['count'], found['top1'], found['resize']) == (3, 1.0, 32)
    assert list(evaluation.lines(found))[-3:] == [f'    100.00 %  {name}' for name in NAMES[:3]]


@pytest.mark.parametrize('crops', [1, 10])
def test_a_folder_without_a_class_is_matched_by_names(tmp_path, crops):
    """As with the folders of torchvision, whose numbers move when one is missing."""
    files = {f'{name}/{n}.png': payload(i) for i, name in enumerate(NAMES) if i not in (2, 5) for n in range(3)}
    folder = tree(tmp_path / 'in', files)
    model = Model(names=[f'{name} some, thing' for name in NAMES])
    found, result, keys = evaluation.measure(model, folder, crops=crops, options=ONE)
    assert (found['count'], found['top1']) == (30, 1.0)
    assert list(found['per_class']) == [name for i, name in enumerate(model.names) if i not in (2, 5)]
    assert result.confusion().diagonal().tolist() == [0 if i in (2, 5) else 3 for i in range(CLASSES)]
    assert keys == model.names
    (line,) = found['remarks']
    assert '8 of the 10 labels are others of the network, such as label 2 (n00000003), its class 3' in line
    pictures, remarks = evaluation.open_pictures(model, folder, model.input, 7, options=ONE, raw=True)
    assert np.concatenate([labels for _, _, labels in pictures.raw()]).tolist() == result.labels.tolist()
    assert remarks == [line]
    pictures.close()


def test_names_that_the_network_does_not_know_are_told(tmp_path):
    folder = tree(tmp_path / 'in', {f'{name}/a.png': payload(i) for i, name in enumerate(['a', *NAMES[1:]])})
    found = evaluation.report_of(Model(names=NAMES), folder, options=ONE)
    assert found['top1'] == 1
    assert found['remarks'] == [
        "labels count as classes of the network whatever their names: the network does not know 1, such as 'a'"
    ]


def test_a_class_that_the_network_does_not_know_among_others_is_refused(tmp_path):
    folder = tree(tmp_path / 'in', {f'{name}/a.png': payload(i) for i, name in enumerate(['house', *NAMES[3:6]])})
    with pytest.raises(
        ValueError, match=r"in: --model made-up does not know the class 'house', but 3 of its classes by their"
    ):
        evaluation.report_of(Model(names=NAMES), folder, options=ONE)
    (tmp_path / 'in' / 'house').rename(tmp_path / 'in' / '.house')
    told = []
    found = evaluation.report_of(Model(names=NAMES), folder, options=ONE._replace(report=told.append))
    assert found['count'] == 3
    assert list(found['per_class']) == NAMES[3:6]
    assert told == [f'{folder}: the folder .house is hidden: it is no class']


def test_names_that_are_none_of_the_network_do_not_name_its_classes(tmp_path):
    folder = tree(tmp_path / 'in', {f'{name}/a.png': payload(i) for i, name in enumerate(['x', 'y'])})
    _, _, keys = evaluation.measure(Model(names=NAMES), folder, options=ONE)
    assert keys == NAMES


def test_a_part_of_the_pictures_is_told(records):
    found = evaluation.report_of(Model(), records, options=ONE._replace(every=7))
    assert found['every'] == 7
    assert next(line for line in evaluation.lines(found) if 'pictures' in line).startswith(
        f'  {found["count"]} pictures, only 1 of 7'
    )


@pytest.mark.parametrize(
    ('name', 'told'), [('a.lst', 'is a list of pictures: name the .rec'), ('a.JPG', 'is a picture')]
)
def test_what_are_no_records_is_told_by_its_kind(tmp_path, name, told):
    (tmp_path / name).write_text('0\t0\ta.jpg\n')
    with pytest.raises(ValueError, match=told):
        evaluation.report_of(Model(), tmp_path / name, options=ONE)


def test_a_network_of_few_classes_has_no_top5(tmp_path):
    class Two(Model):
        def predict(self, pictures):
            return super().predict(pictures)[:, :2]

    folder = tree(tmp_path / 'in', {f'{i}/{n}.png': payload(i) for i in range(2) for n in range(3)})
    found = evaluation.report_of(Two(classes=CLASSES), folder, options=ONE)
    assert found['top5'] is None
    assert not any('top-5' in line for line in evaluation.lines(found))


@pytest.mark.parametrize(('trained', 'fed'), [('raw', 'imagenet'), ('imagenet', 'raw')])
@pytest.mark.parametrize('crops', [1, 10])
@pytest.mark.parametrize('batch', [1, 7, 100])
def test_pixels_of_another_convention_are_found(records, trained, fed, crops, batch):
    found = evaluation.report_of(Model(trained, fed), records, crops=crops, batch_size=batch, options=ONE)
    assert found['pixels'] == fed
    (line,) = found['remarks']
    assert re.search(
        rf'of \d+ pictures (\d+) are right with other pixels, \d+ with these: use `pixels` {trained}$', line
    )
    right = Model(trained, trained)
    assert evaluation.report_of(right, records, options=ONE)['top1'] == 1


def test_planes_in_the_other_order_are_found(tmp_path):
    """Red is empty: a network of BGR reads the blue plane as its first."""
    pictures = [np.dstack([np.full((32, 32), 20 * (i % CLASSES) + 3), *np.full((2, 32, 32), 250)]) for i in range(60)]
    path = write(tmp_path / 'a.rec', [png(p.astype(np.uint8)) for p in pictures], [i % CLASSES for i in range(60)])
    (line,) = evaluation.report_of(Model(), path, options=ONE)['remarks']
    assert line.endswith('it was trained on BGR: reverse the input channels of its first convolution')


def test_another_order_of_the_classes_is_found_with_and_without_names(records):
    order = np.roll(np.arange(CLASSES), 5)
    (line,) = evaluation.report_of(Model(order=order), records, options=ONE)['remarks']
    assert 'another order explains 100 % of the pictures' in line
    named = Model(order=order, names=np.array(NAMES)[np.argsort(order)])
    assert 'by their names: 12 of the 12' in evaluation.report_of(named, records, options=ONE)['remarks'][0]


def test_labels_beyond_the_network_are_refused_before_anything_is_read(records):
    model = Model(classes=10)
    model.predict = lambda pictures: pytest.fail('ran')
    with pytest.raises(ValueError, match=r'--model made-up has 10 classes, .*cifar10_val.rec holds labels 0 to 11: a'):
        evaluation.report_of(model, records, options=ONE)


def test_a_network_of_nan_gives_json_all_the_same(records):
    model = Model()
    model.predict = lambda pictures: np.full((pictures.shape[0], CLASSES), np.nan)
    found = evaluation.report_of(model, records, options=ONE)
    assert json.loads(json.dumps(found, allow_nan=False))['cross_entropy'] is None
    assert 'hold NaN' in found['remarks'][0]
    assert '  cross entropy  not finite' in evaluation.lines(found)


def test_a_sample_is_of_all_pictures(records):
    for batch, crops in ((1, 1), (3, 1), (30, 10), (100, 1)):
        source = data.Input(32, models.RAW.mean, models.RAW.std)
        pictures = data.evaluation_iter(records, source, batch, crops=crops, options=ONE)
        sample = evaluation.Sample(pictures)
        assert len(list(sample.passing(pictures.epoch()))) == pictures.steps
        labels = np.concatenate(sample.labels)
        assert 80 <= len(labels) <= 2 * evaluation.SAMPLE
        assert set(labels) == set(range(CLASSES))
        np.testing.assert_array_equal(np.concatenate(sample.data)[:, 0, 0, 0], 20 * labels + 3)
        pictures.close()


def test_classes_of_the_same_name_keep_their_own_rows():
    assert evaluation.class_keys(4, ['crane', 'tench', 'crane']) == ['0 crane', 'tench', '2 crane', '3']


def test_pixels_that_have_no_name_are_written_out(tmp_path):
    model = Model()
    model.input = data.Input(8, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    found = evaluation.report_of(model, write(tmp_path / 'a.rec', [png(marked(i)) for i in range(3)]), options=ONE)
    assert found['pixels'] == {'mean': [1.0, 2.0, 3.0], 'std': [4.0, 5.0, 6.0]}
