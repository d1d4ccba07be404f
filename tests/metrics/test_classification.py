"""Numbers of a network over a data set: what they are called is what they are, for any batches."""

import numpy as np
import pytest

from ibnnet_mx.metrics import classification
from ibnnet_mx.metrics.classification import scores


def naive(logits, labels):
    """The definitions: place of the label in a stable sort, and -log softmax."""
    sums = {'accuracy': 0.0, 'cross-entropy': 0.0}
    if logits.shape[1] >= 5:
        sums['top_k_accuracy_5'] = 0.0
    for row, label in zip(logits.astype(np.float64), labels.astype(int)):
        order = sorted(range(len(row)), key=lambda i: (-row[i], i))
        for name, k in (('accuracy', 1), ('top_k_accuracy_5', 5)):
            if name in sums:
                sums[name] += label in order[:k]
        sums['cross-entropy'] -= np.log(np.exp(row[label]) / np.exp(row).sum())
    return sums


@pytest.mark.parametrize('classes', [2, 4, 5, 9])
def test_scores_are_what_their_names_say(classes):
    draw = np.random.RandomState(classes)
    logits, labels = draw.randn(200, classes).astype('f'), draw.randint(0, classes, 200).astype('f')
    assert scores(logits, labels) == pytest.approx(naive(logits, labels), rel=1e-9)
    ties = draw.randint(0, 3, (200, classes)).astype('f')
    assert scores(ties, labels) == pytest.approx(naive(ties, labels), rel=1e-9)


def test_equal_logits_are_no_success():
    """As argmax has it: the first class is named, and it is right for one label of six."""
    sums = scores(np.zeros((6, 6), 'f'), np.arange(6, dtype='f'))
    assert (sums['accuracy'], sums['top_k_accuracy_5']) == (1, 5)


def test_a_network_that_diverged_is_not_right():
    logits = np.zeros((3, 6), 'f')
    logits[0], logits[1, 2] = np.nan, np.nan
    sums = scores(logits, np.array([0, 1, 0], 'f'))
    assert (sums['accuracy'], sums['top_k_accuracy_5']) == (1, 1)
    assert np.isnan(sums['cross-entropy'])


def test_large_logits_do_not_overflow():
    assert scores(np.array([[1e4, 0, -1e4]], 'f'), np.array([1.0]))['cross-entropy'] == pytest.approx(1e4)


def feed(logits, labels, batch, crops=1):
    """Batches whose data are their logits, the last one padded."""
    for first in range(0, len(labels), batch):
        own = labels[first : first + batch]
        rows = logits[first * crops : (first + batch) * crops]
        padding = np.repeat(rows[:1], (batch - len(own)) * crops, axis=0)
        yield np.concatenate([rows, padding]), np.pad(own, (0, batch - len(own))).astype('f'), len(own)


def result_of(logits, labels, batch=100, crops=1):
    return classification.evaluate(
        lambda data: data, feed(logits, labels, batch, crops), classification.Tally(), crops
    ).result()


@pytest.mark.parametrize('classes', [2, 7])
@pytest.mark.parametrize('batch', [1, 7, 100])
def test_any_batch_size_gives_the_same_numbers(classes, batch):
    draw = np.random.RandomState(classes)
    logits, labels = draw.randn(53, classes).astype('f'), draw.randint(0, classes, 53)
    found, sums = result_of(logits, labels, batch), naive(logits, labels)
    assert found.count == 53
    assert found.top1 == sums['accuracy'] / 53
    assert found.top5 == (sums['top_k_accuracy_5'] / 53 if classes == 7 else None)
    assert found.cross_entropy == pytest.approx(sums['cross-entropy'] / 53, rel=1e-12)
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_array_equal(found.predicted, logits.argmax(axis=1))
    wanted = [
        (i, int((labels == i).sum()), int((logits[labels == i].argmax(axis=1) == i).sum())) for i in range(classes)
    ]
    assert found.per_class() == wanted


def test_predictions_and_scores_agree_on_ties_and_nan():
    draw = np.random.RandomState(0)
    logits = draw.randint(0, 2, (400, 6)).astype('f')
    logits[::17, 3] = np.nan
    labels = draw.randint(0, 6, 400)
    with np.errstate(invalid='ignore'):
        found = result_of(logits, labels, 7)
        assert found.top1 == (found.predicted == labels).mean() == scores(logits, labels)['accuracy'] / 400
    assert set(np.flatnonzero(found.predicted < 0)) == set(range(0, 400, 17))
    assert np.isnan(found.cross_entropy)


def test_classes_without_pictures_are_left_out():
    assert result_of(np.eye(9)[[4, 7, 7]], np.array([4, 7, 4])).per_class() == [(4, 2, 1), (7, 1, 1)]


def test_crops_are_averaged_after_the_softmax():
    draw = np.random.RandomState(3)
    logits, labels = 3 * draw.randn(80, 6).astype('f'), draw.randint(0, 6, 8)
    shares = np.exp(logits.astype(np.float64))
    shares = (shares / shares.sum(axis=1, keepdims=True)).reshape(8, 10, 6).mean(axis=1)
    found = result_of(logits, labels, 3, crops=10)
    np.testing.assert_array_equal(found.predicted, shares.argmax(axis=1))
    assert found.cross_entropy == pytest.approx(-np.log(shares[np.arange(8), labels]).mean(), rel=1e-12)
    ones = classification.average_crops(np.repeat(logits, 10, axis=0), 10)
    np.testing.assert_allclose(np.exp(ones).sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(ones.argmax(axis=1), logits.argmax(axis=1))


def test_crops_that_are_very_sure_do_not_underflow():
    logits = np.zeros((10, 3), 'f')
    logits[:, 0] = 5000
    assert result_of(logits, np.array([2]), crops=10).cross_entropy == pytest.approx(5000)


def test_one_crop_that_diverged_makes_the_picture_wrong():
    logits = np.zeros((20, 3), 'f')
    logits[:, 1] = 9
    logits[13, 0] = np.nan
    assert result_of(logits, np.array([1, 1]), crops=10).predicted.tolist() == [1, -1]


def test_batches_without_a_picture_do_not_count():
    full = list(feed(np.eye(3, dtype='f'), np.arange(3), 3))
    empty = (np.zeros((3, 3), 'f'), np.zeros(3, 'f'), 0)
    assert classification.evaluate(lambda data: data, [empty, *full], classification.Tally()).result().count == 3
    with pytest.raises(ValueError, match='none of the pictures could be read'):
        classification.evaluate(lambda data: data, [empty], classification.Tally()).result()


def result(logits, labels):
    tally = classification.Tally()
    for first in range(0, len(labels), 7):
        tally.add(logits[first : first + 7], labels[first : first + 7])
    return tally.result()


def test_calibration_is_the_mean_gap_between_confidence_and_accuracy():
    draw = np.random.RandomState(0)
    logits, labels = 2 * draw.randn(500, 6).astype('f'), draw.randint(0, 6, 500)
    found = result(logits, labels)
    chances = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(axis=1, keepdims=True)
    confidence, right = chances.max(axis=1), chances.argmax(axis=1) == labels
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert found.calibration_error() == pytest.approx(expected, rel=1e-9)
    assert 0.2 < expected < 0.8


def test_a_confidence_at_the_edge_of_two_intervals_is_of_the_lower_one():
    logits = np.array([[0, 0], [np.log(9), 0]], 'f')  # sure to 0.5 and 0.9
    expected = (abs(1 - 0.5) + abs(0 - 0.9)) / 2  # (0, 0.5] and (0.5, 1] hold one each: right, wrong
    assert result(logits, np.array([0, 1])).calibration_error(bins=2) == pytest.approx(expected)


def test_a_network_that_is_as_sure_as_it_is_right_is_calibrated():
    logits, labels = np.zeros((40, 4), 'f'), np.repeat(np.arange(4), 10)
    assert result(logits, labels).calibration_error() == pytest.approx(0)  # a quarter right, a quarter sure
    assert result(logits + 50 * np.eye(4, dtype='f')[0], labels).calibration_error() == pytest.approx(0.75)
    logits[3] = np.nan
    assert np.isnan(result(logits, labels).calibration_error())


def test_confusion_counts_pictures_by_class_and_answer():
    logits = np.eye(3, dtype='f')[[0, 0, 1, 2, 2, 2]]
    logits[5] = np.nan
    found = result(logits, np.array([0, 1, 1, 2, 0, 2]))
    assert found.confusion().tolist() == [[1, 0, 1], [1, 1, 0], [0, 0, 1]]
    assert result(np.zeros((2, 4), 'f'), np.array([1, 1])).confusion().tolist()[1] == [2, 0, 0, 0]
