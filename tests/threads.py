"""Workers of one job as threads of this process, for what does not need several."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import mxnet as mx

from ibnnet_mx.distributed.cluster import Cluster
from ibnnet_mx.distributed.workers import Alone

PATIENCE = 60  # seconds until a worker that the others wait for is given up


class Threads(Alone):
    """One of `count` workers that add arrays up in memory; sums of three have another order than over a server."""

    def __init__(self, rank, count, board):
        self.rank, self.count, self._board = rank, count, board
        self.keys = []

    def sum(self, key, array):
        barrier, values = self._board
        self.keys.append((key, array.shape))
        values[self.rank] = key, array.asnumpy()
        barrier.wait(PATIENCE)
        keys, arrays = zip(*(values[i] for i in range(self.count)))
        assert len(set(keys)) == 1, keys
        assert len({each.shape for each in arrays}) == 1, (key, [each.shape for each in arrays])
        array[:] = sum(arrays[1:], arrays[0])
        mx.nd.waitall()
        barrier.wait(PATIENCE)

    def close(self):
        self._board[0].wait(PATIENCE)


def together(count, work, cpus=1):
    """[work(cluster)] of each worker; what one raises is raised, and ends the others."""
    board = threading.Barrier(count), {}

    def one(rank):
        try:
            return work(Cluster('local', [mx.cpu(i) for i in range(cpus)], Threads(rank, count, board)))
        except BaseException:
            board[0].abort()
            raise

    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(one, rank) for rank in range(count)]
    errors = [future.exception() for future in futures if future.exception()]
    for error in sorted(errors, key=lambda each: isinstance(each, threading.BrokenBarrierError)):
        raise error
    return [future.result() for future in futures]
