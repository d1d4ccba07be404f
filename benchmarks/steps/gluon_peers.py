"""One measurement of a network of GluonCV or gluoncv2, compiled as their scripts compile it."""

from __future__ import annotations

import mxnet as mx
from job import LR, MOMENTUM, WD, answer
from mxnet import autograd, gluon


def built(library, name):
    if library == 'gluoncv':
        from gluoncv.model_zoo import get_model
    else:
        from gluoncv2.model_provider import get_model
    return get_model(name, pretrained=False)


def learned(net):
    return sum(
        p.data().size for p in net.collect_params().values() if not p.name.endswith(('running_mean', 'running_var'))
    )


def make(job):
    mx.random.seed(0)
    net = built(job['options']['library'], job['theirs'])
    net.initialize(mx.init.MSRAPrelu())
    net.hybridize(static_alloc=True, static_shape=True)
    x = mx.nd.random.normal(shape=(job['batch'], 3, job['size'], job['size']))
    label = mx.nd.arange(job['batch']) % job['classes']
    net(x).wait_to_read()  # their parameters get their shapes here
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    how = dict(learning_rate=LR, momentum=MOMENTUM, wd=WD)
    trainer = gluon.Trainer(net.collect_params(), 'sgd', how, update_on_kvstore=False)

    def step():
        with autograd.record():
            loss = loss_of(net(x), label)
        loss.backward()
        trainer.step(job['batch'])
        mx.nd.waitall()

    return step, learned(net)


if __name__ == '__main__':
    answer(make)
