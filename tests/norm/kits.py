"""Networks of every norm, and a step of training for them."""

from dataclasses import replace

import mxnet as mx
import numpy as np
from mxnet import autograd

from ibnnet_mx import get_model
from tests.tiny_runs import PLAN, batches

RAMP = (('warmup_iters', 1), ('r_iters', 4), ('d_iters', 3))


KITS = {  # what a recipe says
    'bn': {},
    'bn, 2': dict(norm_batch_size=2),
    'in': {},
    'ln': {},
    'gn': {},
    'brn': dict(norm_args=RAMP),
    'brn, 2': dict(norm_args=RAMP, norm_batch_size=2),
    'mabn': dict(norm_args=(('B', 2), ('real_B', 6), ('warmup_iters', 3))),
    'mabn, 2': dict(norm_args=(('real_B', 8),), norm_batch_size=2),
}


STATEFUL = [kit for kit in KITS if kit.startswith(('brn', 'mabn')) or kit == 'bn, 2']


ROWS = 8


def options(kit):
    given = KITS[kit]
    return dict(given, norm=kit.partition(',')[0], norm_args=dict(given.get('norm_args', ())))


def build(kit, model='cifar_resnet8_ibn_a', seed=3, hybrid=True, **more):
    net = get_model(model, 4, **options(kit), **more)
    mx.random.seed(seed)
    net.initialize()
    if hybrid:
        net.hybridize(static_alloc=True, static_shape=True)
    return net


def plan_of(kit, **changes):
    return replace(PLAN, norm=kit.partition(',')[0], **KITS[kit], **changes)


def train(net, data, label):
    """(logits, {name: gradient}) of a training pass."""
    with autograd.record():
        logits = net(data)
        loss = -mx.nd.pick(mx.nd.log_softmax(logits), label).mean()
    loss.backward()
    return logits.asnumpy(), {n: p.grad().asnumpy() for n, p in net.collect_params().items() if p.grad_req != 'null'}


def near(found, wanted, tolerance):
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max() + 1e-7


def pictures(*sizes):
    return [((data - 128) / 64, label) for data, label in batches(*sizes)]
