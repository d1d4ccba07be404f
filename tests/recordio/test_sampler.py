"""A sampler of one's own decides what a batch holds, and the reader does the rest."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest

from ibnnet_mx.recordio import Augment, Loader
from ibnnet_mx.recordio.reading.options import Options
from ibnnet_mx.recordio.reading.reader import Reader
from ibnnet_mx.recordio.reading.sampler import EachOnce, cut_steps
from tests.record_sets import jpeg, scene, write

CLASSES, EACH = 6, 5


class Identities(NamedTuple):
    """`identities` classes a step, and `pictures` records of each: the batches of metric learning."""

    identities: int
    pictures: int
    steps: int
    seed: int = 0

    def batches(self, labels, epoch, batch_size, share):
        assert batch_size == self.identities * self.pictures
        draw = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
        classes = {name: np.flatnonzero(labels[:, 0] == name) for name in np.unique(labels[:, 0])}
        rows = []
        for _ in range(self.steps):
            for name in draw.choice(list(classes), self.identities, replace=False):
                rows.append(draw.choice(classes[name], self.pictures, replace=False))
        return cut_steps(np.concatenate(rows), batch_size, share)


@pytest.fixture(scope='module')
def classes(tmp_path_factory):
    """30 photographs; the label of record i is i % 6."""
    payloads = [jpeg(scene(i, 60, 64), 3) for i in range(CLASSES * EACH)]
    return write(tmp_path_factory.mktemp('classes') / 'a.rec', payloads, [i % CLASSES for i in range(len(payloads))])


SAMPLER = Identities(3, 4, steps=5)
MIRROR = Augment(mirror=True)


def batches(path, epoch=0, start=0, **options):
    reader = Reader(path, 32, 12, MIRROR, options=Options(**{'threads': 2, 'sampler': SAMPLER, **options}))
    assert reader.count == 60
    assert reader.steps == 5
    made = [(step, batch.data.copy(), batch.label) for step, batch in reader.numbered(epoch, start)]
    reader.close()
    return made


def test_each_batch_has_so_many_pictures_of_so_many_classes(classes):
    steps = batches(classes)
    assert len(steps) == 5
    for _, _, labels in steps:
        assert sorted(Counter(labels.tolist()).values()) == [4, 4, 4]
    assert [labels.tolist() for _, _, labels in steps] != [labels.tolist() for _, _, labels in batches(classes, 1)]


@pytest.mark.parametrize('start', [1, 4])
def test_a_run_goes_on_inside_an_epoch(classes, start):
    for (step, data, labels), (same_step, same_data, same_labels) in zip(
        batches(classes, 2)[start:], batches(classes, 2, start, threads=1)
    ):
        assert step == same_step
        np.testing.assert_array_equal(data, same_data)
        np.testing.assert_array_equal(labels, same_labels)


def test_workers_share_each_batch(classes):
    whole = batches(classes, 1)
    shares = [batches(classes, 1, share=(rank, 3)) for rank in range(3)]
    for step, (_, data, labels) in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([share[step][1] for share in shares]), data)
        np.testing.assert_array_equal(np.concatenate([share[step][2] for share in shares]), labels)


def test_a_loader_takes_a_sampler(classes):
    with Loader(classes, 12, 32, MIRROR, sampler=SAMPLER) as loader:
        assert (len(loader), loader.count) == (5, 60)
        assert [len(set(labels.tolist())) for _, labels in loader] == [3] * 5


def test_the_usual_sampler_may_be_named(classes):
    with Loader(classes, 7, 32, MIRROR, seed=3) as usual, Loader(
        classes, 7, 32, MIRROR, seed=3, sampler=EachOnce(3, shuffle=True)
    ) as named:
        for (data, labels), (same_data, same_labels) in zip(usual, named):
            np.testing.assert_array_equal(data, same_data)
            np.testing.assert_array_equal(labels, same_labels)


class Fixed(NamedTuple):
    """The same steps whatever is asked for."""

    steps: list

    def batches(self, labels, epoch, batch_size, share):
        return self.steps


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (dict(sampler=7), r'sampler 7 has no method batches\('),
        (dict(sampler=SAMPLER, shuffle=True), 'shuffle True is for the usual order'),
        (dict(sampler=SAMPLER, limit=3), 'limit 3 is for the usual order'),
        (dict(sampler=Fixed([[0, 1]])), 'step 0 is no array of positions'),
        (dict(sampler=Fixed([np.array([0.5])])), 'step 0 is no array of positions'),
        (dict(sampler=Fixed([np.array([0]), np.array([30])])), 'step 1 has a position outside of 0 to 29'),
        (dict(sampler=Fixed([np.arange(13)]), augment=None), 'step 0 has 13 records, its share of a batch is 12'),
    ],
)
def test_mistakes_are_named(classes, options, text):
    with pytest.raises(ValueError, match=text):
        list(Loader(classes, 12, 32, **{'augment': MIRROR, **options}))
