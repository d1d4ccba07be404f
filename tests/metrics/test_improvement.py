"""The better of two validation results, and the best epoch."""

import pytest

from ibnnet_mx.metrics.improvement import best_of, score_of

NAN = float('nan')


@pytest.mark.parametrize(
    ('better', 'worse'),
    [
        ({'accuracy': 0.5, 'cross-entropy': 9.0}, {'accuracy': 0.4, 'cross-entropy': 1.0}),
        ({'cross-entropy': 1.0}, {'cross-entropy': 9.0}),
        ({'accuracy': 0.0}, {'accuracy': NAN}),
        ({'loss': 1.0, 'angle': 9.0}, {'loss': 2.0, 'angle': 1.0}),
    ],
)
def test_more_accuracy_or_without_one_less_loss_is_better(better, worse):
    one, other = score_of(better), score_of(worse)
    assert one.beats(other)
    assert not other.beats(one)
    assert not one.beats(one)
    assert one.beats(None)


def test_the_best_epoch_is_the_newest_of_equal_ones():
    accuracies = {1: 0.5, 3: 0.7, 2: 0.7, 4: NAN, 5: 0.1}
    scores = {epoch: score_of({'accuracy': value}) for epoch, value in accuracies.items()}
    assert best_of({**scores, 6: None}) == 3
    assert best_of({4: scores[4], 6: None}) is None
    assert score_of({}) is None


def test_scores_are_told_as_percent_or_as_they_are():
    assert score_of({'accuracy': 0.86214}).words() == '86.21 %'
    assert score_of({'cross-entropy': 0.43121}).words() == '0.4312'
