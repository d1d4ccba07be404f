"""Sums over workers: values of any count, buckets of any size."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx.distributed.workers import Buckets
from tests.threads import together


@pytest.mark.parametrize('count', [1, 2, 3, 5])
def test_values_are_gathered_exactly(count):
    given = [{'a': 1 / 3 + rank, 'b': -0.0, 'c': 2.0**60 + rank, 'd': 1e-300} for rank in range(count)]
    found = together(count, lambda cluster: cluster.gather(given[cluster.rank]))
    assert found == [given] * count
    sums = together(count, lambda cluster: cluster.sum_over_workers(given[cluster.rank]))
    assert all(each == sums[0] for each in sums)
    assert sums[0]['a'] == sum(each['a'] for each in given)


@pytest.mark.parametrize('size', [1, 7, 50, 10**6])
def test_buckets_of_any_size_give_the_same_sums(size):
    draw = np.random.RandomState(0)
    shapes = [(3, 4), (1,), (2, 3, 2, 2), (5,), (1, 1)]
    given = [[draw.randn(*shape).astype(np.float32) for shape in shapes] for _ in range(2)]

    def work(cluster):
        own = [mx.nd.array(array) for array in given[cluster.rank]]
        buckets = Buckets(cluster._workers, 'x', own, size)
        buckets.sum(own)
        return [array.asnumpy() for array in own], cluster._workers.keys

    for found, keys in together(2, work):
        for array, one, other in zip(found, *given):
            np.testing.assert_array_equal(array, one + other)
        assert len(keys) == {1: 5, 7: 2, 50: 1, 10**6: 1}[size]
        assert sum(shape[0] for _, shape in keys) == 12 + 1 + 24 + 5 + 1
