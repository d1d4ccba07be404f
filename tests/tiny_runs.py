"""Trainers of a tiny network, batches for them, and a report that only remembers."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import mxnet as mx
import numpy as np

from ibnnet_mx import models
from ibnnet_mx.checkpoint import Facts, Inside
from ibnnet_mx.distributed.cluster import connect
from ibnnet_mx.errors import Stopped
from ibnnet_mx.models import nets
from ibnnet_mx.recipe import Recipe, saved
from ibnnet_mx.training import trainer

ALONE = threading.Lock()  # workers that are threads have one random generator, and load the operators once
CLASSES = 4
KEYS = ('dtype', 'norm', 'norm_batch_size', 'bn_mom', 'zero_gamma')
PLAN = Recipe('tiny', 'cifar10', optimizer='sgd', lr=0.05, batch_size=8, epochs=3, lr_steps=(2,), aug_level='cifar')


class Alone(nets.Network):
    """A layer as a Network, which traces a graph for each use."""

    def __init__(self, layer):
        super().__init__(prefix='')
        self.layer = layer

    def hybrid_forward(self, F, x):
        return self.layer(x)


class Notes:
    """What a run told: (epoch, batch, samples, sums), (epoch, rate), (epoch, means)."""

    def __init__(self):
        self.batches, self.rates, self.means, self.lines = [], [], [], []
        self.sums = SimpleNamespace(samples=0, values={})

    def info(self, line):
        self.lines.append(line)

    def warn(self, line):
        self.lines.append(line)

    def start_epoch(self, epoch, steps, first_step=0, before=(0, {})):
        self.starts = (epoch, first_step, before)
        self.sums = SimpleNamespace(samples=before[0], values=dict(before[1]))

    def batch(self, epoch, batch, samples, sums):
        self.batches.append((epoch, batch, samples, sums))
        self.sums.samples += samples
        self.sums.values = {name: self.sums.values.get(name, 0.0) + value for name, value in sums.items()}

    def train(self, epoch, rate, seconds):
        self.rates.append((epoch, rate))

    def validation(self, epoch, means, seconds):
        self.means.append((epoch, means))


class Feed:
    """The same batches every epoch, as data.Iterator gives them."""

    def __init__(self, batches):
        self._batches = batches

    def steps(self, epoch=0):
        return len(self._batches)

    def epoch(self, epoch=0):
        return (batch for _, *batch in self.numbered(epoch))

    def numbered(self, epoch=0, start=0):
        for step, (data, label) in list(enumerate(self._batches))[start:]:
            yield step, data, label, len(label)


class Cut:
    """Saves within an epoch, after a batch, and ends the run there. sums: of each worker, unset: what they are."""

    def __init__(self, run, store, batch, sums=None):
        self.run, self.store, self.batch, self.sums = run, store, batch, sums

    def asked(self):
        return 0

    def due(self, batch, told):
        return batch == self.batch

    def save(self):
        run = self.run
        shares = self.sums or run.cluster.gather(run.sums())
        facts = Facts('m', {}, saved.to_dict(run.recipe), shares=shares)
        self.store.save(run, Inside(run.epoch, run.batch), facts)
        run.cluster.gather({})
        raise Stopped(143, 'cut')


def make(model='cifar_resnet8_v2', plan=PLAN, cpus=1, recompute=None, kvstore='local', start=None, cluster=None):
    """A Trainer; its report is a Notes. recompute True: 'least'. cluster: unset, of this process alone."""
    recompute = ('least' if recompute else None) if isinstance(recompute, bool) else recompute
    net = models.create(model, CLASSES, **{key: getattr(plan, key) for key in KEYS}, norm_args=dict(plan.norm_args))
    cluster = cluster or connect(kvstore, cpus=cpus)
    with ALONE:
        return trainer.Trainer(net, plan, cluster, Notes(), recompute, start)


def batches(*sizes, seed=0):
    """(data, label) of each size; raw pixels."""
    draw = np.random.RandomState(seed)
    return [
        (mx.nd.array(draw.randint(0, 256, (n, 3, 32, 32))), mx.nd.array(draw.randint(0, CLASSES, n))) for n in sizes
    ]


def values(run, device=0):
    """{name: array} of weights and running statistics on one of the devices."""
    context = run.cluster.contexts[device]
    return {name: param.data(context).asnumpy() for name, param in run.net.collect_params().items()}


def scatter(run, seed=1):
    """Moves every value off its start, so that nothing is 0 or 1 by chance."""
    draw = np.random.RandomState(seed)
    for param in run.net.collect_params().values():
        param.set_data(param.data(run.cluster.contexts[0]).as_in_context(mx.cpu()) + draw.uniform(0.05, 0.1))


def equal(one, other):
    """Whether two {name: array} are the same bit for bit."""
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def arrays(states):
    return {name: state.asnumpy() for name, state in states.items()}
