"""What is said of networks that name next to nothing right, from made-up predictions."""

import numpy as np
import pytest

from ibnnet_mx.metrics import diagnosis
from ibnnet_mx.metrics.classification import Result
from ibnnet_mx.metrics.diagnosis import Names

WNIDS = [f'n{i:08d}' for i in range(100)]


def made_up(right, classes=100, each=10, known=0.8, seed=0, top=None):
    """A network that names right(label) in a part of the pictures, anything in the others."""
    draw = np.random.RandomState(seed)
    labels = np.repeat(np.arange(top or classes), each)
    predicted = np.where(draw.rand(len(labels)) < known, [right(label) for label in labels], 0)
    guesses = draw.randint(0, classes, len(labels))
    predicted = np.where(predicted == 0, guesses, predicted)
    return Result(labels, predicted, classes, float((labels == predicted).mean()), None, 4.0, np.ones(len(labels)))


def said(result, names=Names(), **options):  # noqa: B008
    return diagnosis.diagnose(result, len(names.data) or int(result.labels.max()) + 1, names, **options)


@pytest.mark.parametrize('known', [0.2, 0.5, 1.0])
def test_nothing_is_said_of_a_network_that_knows_something(known):
    assert said(made_up(lambda label: label, known=known), measure=lambda *_: pytest.fail('tried')) == []


@pytest.mark.parametrize(('classes', 'each'), [(2, 4), (10, 3), (10, 100), (100, 1), (100, 2), (1000, 1), (1000, 5)])
def test_guesses_have_no_order(classes, each):
    for seed in range(5):
        result = made_up(lambda label: 0, classes, each, 0.0, seed)
        for line in said(result, measure=lambda *_: (0, 50)):
            assert 'neither the order of the classes nor the pixels' in line


def test_another_order_of_the_classes_is_named():
    order = np.random.RandomState(1).permutation(100)
    (line,) = said(made_up(lambda label: order[label]), Names(WNIDS, []))
    assert 'near chance (1 %): data and network order their classes differently' in line
    label = int(line.split('label ')[1].split()[0])
    assert f'label {label} ({WNIDS[label]}), for one, is predicted as class {order[label]} in ' in line
    assert 'compare the synset' in line


def test_an_order_that_one_picture_a_class_would_fit_is_not_believed():
    assert 'order of the classes nor' in said(made_up(lambda label: 99 - label, each=1))[0]


@pytest.mark.parametrize(('step', 'text'), [(1, 'a class 0 of its own'), (-1, 'labels count from 1: pack them')])
def test_a_shift_by_one_is_named_even_with_one_picture_a_class(step, text):
    line = said(made_up(lambda label: label + step, each=1, known=0.6))[0]
    assert f'the class is the label {"+" if step > 0 else "-"} 1 in ' in line
    assert text in line


def test_names_tell_the_order_before_the_pictures_do():
    data, network = WNIDS[10:20], [f'{name} some, thing' for name in WNIDS]
    first, second = said(made_up(lambda label: label + 10, top=10), Names(data, network))
    assert '10 of the 10 labels are other classes of the network' in first
    assert 'label 0 (n00000010), its class 10 (n00000010 some, thing)' in first
    assert 'the data has 10 classes, the network 100' in second
    assert diagnosis.find_moved_names(Names(data, data)) == diagnosis.find_moved_names(Names(data, WNIDS[50:])) == ''
    assert diagnosis.find_moved_names(Names(['cat', 'dog'], ['Dog', 'Cat']))


def test_labels_are_matched_to_classes_by_names():
    network = [f'{name} some, thing' for name in WNIDS]
    assert diagnosis.match_names(Names(WNIDS, network)) == list(range(100))
    assert diagnosis.match_names(Names(WNIDS[90:0:-10], network)) == list(range(90, 0, -10))
    assert diagnosis.describe_matching(Names(WNIDS, network)) == diagnosis.describe_matching(Names([], network)) == ''
    line = diagnosis.describe_matching(Names([WNIDS[0], WNIDS[7]], network))
    assert '1 of the 2 labels are others of the network, such as label 1 (n00000007), its class 7' in line


@pytest.mark.parametrize(
    ('names', 'told'),
    [
        (Names(['cat', 'cow', 'pig'], ['cat', 'dog', 'pig']), "does not know 1, such as 'cow'"),
        (Names(['cat', 'cat'], ['cat', 'dog']), 'some are there twice'),
        (Names(['dog', 'crane'], ['crane', 'dog', 'crane']), 'some are there twice'),
    ],
)
def test_names_that_do_not_match_are_told(names, told):
    assert diagnosis.match_names(names) is None
    assert told in diagnosis.describe_matching(names)


@pytest.mark.parametrize(
    ('names', 'refused'),
    [
        (['ant', 'cat', 'dog'], True),  # moves those behind it
        (['cat', 'dog', 'pig', 'yak'], True),  # one more, at the end
        (['cat', 'yak'], True),  # fewer: the label of yak is dog's
        (['cat', 'cow', 'pig'], False),  # dog by another name
        (['a', 'b'], False),  # names of another kind
        (['dog', 'cat'], False),
        ([], False),
    ],
)
def test_classes_that_are_half_known_are_refused(names, refused):
    names = Names(names, ['cat', 'dog', 'pig'])
    if refused:
        with pytest.raises(ValueError, match=r"a.rec: --model x does not know the class '(ant|yak)', but [123] of its"):
            diagnosis.refuse_names(names, '--model x', 'a.rec')
    else:
        diagnosis.refuse_names(names, '--model x', 'a.rec')


def test_a_few_pictures_are_not_near_chance():
    labels = np.arange(10) % 7
    for right, near in ((0, True), (3, False)):  # 3 of 10 may be chance, but are more than twice of it
        predicted = np.where(np.arange(10) < right, labels, (labels + 1) % 7)
        top1 = float((labels == predicted).mean())
        result = Result(labels, predicted, 7, top1, None, 4.0, np.ones(10))
        assert diagnosis.near_chance(result) is near
        assert bool(said(result)) is near
    assert not diagnosis.near_chance(Result(labels[:9], labels[1:], 7, 0.0, None, 4.0, np.ones(9)))


def test_a_class_more_is_named():
    lines = said(made_up(lambda label: label + 1, classes=101, top=100))
    assert 'the label + 1' in lines[0]
    assert 'the data has 100 classes, the network 101, one more (a background class' in lines[1]


def by_table(**right):
    def measure(name, swapped):
        return right.get(name + '_bgr' * swapped, 1), 100

    return measure


@pytest.mark.parametrize(
    ('right', 'now', 'text'),
    [
        (
            dict(imagenet=70, imagenet_bgr=60),
            'raw',
            'of 100 pictures 70 are right with other pixels, 1 with these: use',
        ),
        (dict(raw=70), 'imagenet', 'use `pixels` raw'),
        (dict(raw_bgr=70, raw=20), 'raw', 'these: it was trained on BGR'),
        (dict(imagenet_bgr=70), 'raw', 'use `pixels` imagenet; it was trained on BGR'),
        (dict(raw=70), 'other', 'use `pixels` raw'),
    ],
)
def test_pixels_of_another_convention_are_named(right, now, text):
    (line,) = said(made_up(lambda label: 0), measure=by_table(**right), now=now)
    assert text in line


def test_pixels_that_are_hardly_better_are_not_named():
    for right in ({}, dict(imagenet=7), dict(raw=40, imagenet=60)):
        (line,) = said(made_up(lambda label: 0), measure=by_table(**right), now='raw')
        assert 'other pixels' not in line


def test_a_network_that_names_one_class_or_nan_is_described():
    labels = np.repeat(np.arange(10), 10)
    (line,) = said(Result(labels, np.full(100, 3), 10, 0.1, None, 2.3, np.ones(100)), Names([], list('abcdefghij')))
    assert 'are these the trained weights of this network? It names class 3 (d) in 100 % of the pictures' in line
    (line,) = said(
        Result(labels, np.full(100, -1), 10, 0.0, None, np.nan, np.ones(100)), measure=lambda *_: pytest.fail('tried')
    )
    assert 'the logits of 100 % of the pictures hold NaN' in line


def test_labels_beyond_the_network_are_refused():
    diagnosis.refuse_labels(np.array([0, 9]), 10, '--model x', 'a.rec')
    with pytest.raises(ValueError, match='--model x has 10 classes, a.rec holds labels 1 to 10: they count from 1'):
        diagnosis.refuse_labels(np.array([1, 10]), 10, '--model x', 'a.rec')
    with pytest.raises(ValueError, match='labels 0 to 999: a network of at least 1000 classes is needed'):
        diagnosis.refuse_labels(np.array([0, 999]), 10, '--model x', 'a.rec')


def test_a_network_that_names_one_class_is_not_told_of_another_order():
    """Of few classes one always fits its label; a thousand classes do not make that less of a chance."""
    result = made_up(lambda label: 53, classes=1000, each=20, known=1.0, top=10)
    assert not any('order their classes differently' in line for line in said(result))


def test_a_size_that_is_far_from_the_networks_is_the_reason_before_the_weights_are():
    size = 'its pictures have about 32x32 pixels: they are enlarged to 224x224, which the network sees'
    (line,) = said(made_up(lambda label: 0, known=0.0), size=size)
    assert line.endswith(size)
    assert said(made_up(lambda label: label), size=size) == []
