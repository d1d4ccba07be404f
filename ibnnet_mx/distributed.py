"""The devices of a run and how values travel between them."""

from __future__ import annotations

import mxnet as mx
from mxnet import gluon

KVSTORES = ('local', 'device')


def contexts(gpus='', cpus=1):
    """'0,1' -> [gpu(0), gpu(1)]; '' -> cpus CPU contexts. ValueError names --gpus or --cpus and what there is."""
    if gpus and cpus != 1:
        raise ValueError(f'--cpus {cpus} contradicts --gpus {gpus}: give one of them')
    if gpus:
        try:
            ids = [int(part) for part in gpus.split(',')]
        except ValueError:
            raise ValueError(f'--gpus {gpus} must be numbers with commas, such as 0,1') from None
        there = mx.context.num_gpus() if mx.runtime.Features().is_enabled('CUDA') else 0
        if len(set(ids)) < len(ids) or any(not 0 <= i < there for i in ids):
            what = f'this machine has {there}' if there else 'this machine or this mxnet has none'
            raise ValueError(f'--gpus {gpus}: {what}; leave --gpus out to run on the CPU')
        return [mx.gpu(i) for i in ids]
    if cpus < 1:
        raise ValueError(f'--cpus {cpus} must be at least 1')
    return [mx.cpu(i) for i in range(cpus)]


class Cluster:
    """The devices that train together. One process today: rank 0 of 1; everything else asks here and need not know."""

    def __init__(self, kvstore, devices):
        if kvstore not in KVSTORES:
            raise ValueError(f'--kv-store {kvstore} is not available: use one of {", ".join(KVSTORES)}')
        self.kvstore, self.contexts = kvstore, devices
        self.rank, self.num_workers = 0, 1

    @property
    def is_main(self):
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0

    @staticmethod
    def cut(array, count):
        """`count` slices of a batch, sizes differing by at most one; fewer where rows are few."""
        parts = min(count, array.shape[0])
        cuts = [array.shape[0] * i // parts for i in range(parts + 1)]
        return [array[a:b] for a, b in zip(cuts, cuts[1:])] if parts > 1 else [array]

    def split(self, array):
        """One slice of a batch for each context."""
        return [part.as_in_context(c) for part, c in zip(self.cut(array, len(self.contexts)), self.contexts)]

    def sum_over_workers(self, values):
        """{name: number} summed over all workers."""
        return dict(values)

    def average(self, params):
        """Gives all contexts the mean of these parameters, which is what a checkpoint holds."""
        if len(self.contexts) > 1:
            for param in params:
                param.set_data(
                    mx.nd.add_n(*(d.as_in_context(mx.cpu()) for d in param.list_data())) / len(self.contexts)
                )

    def connect(self, params, optimizer):
        """The gluon.Trainer of a run, through the one gate: initialised, every device equal, before any other use.

        update_on_kvstore=True ignores set_learning_rate, and without the wait a first pull may overtake the push.
        """
        in_order = list(params.values())  # a dict would be sorted by name, and states() counts in the net's order
        trainer = gluon.Trainer(in_order, optimizer, kvstore=self.kvstore, update_on_kvstore=False)
        trainer._init_kvstore()
        trainer._init_params()
        mx.nd.waitall()
        return trainer


def connect(kvstore='local', gpus='', cpus=1):
    """The cluster of a command line. ValueError names the option."""
    return Cluster(kvstore, contexts(gpus, cpus))
