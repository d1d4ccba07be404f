"""One measurement of our training step: Trainer.step on one batch, over and over."""

from __future__ import annotations

from dataclasses import replace

from job import LR, MOMENTUM, WD, answer

from ibnnet_mx import get_model, recipe
from ibnnet_mx.distributed.cluster import connect
from ibnnet_mx.models import nets
from ibnnet_mx.training import trainer

# isort: split
import mxnet as mx  # it reads the threads and AMX that ibnnet_mx has set


class Silent:
    """In the place of logs.Reporter."""

    def __getattr__(self, name):
        return lambda *args, **named: None


def make(job):
    net = get_model(job['model'], **job['options'].get('network', {}))
    plan = replace(recipe.RECIPES['ibn'], lr=LR, mom=MOMENTUM, wd=WD, batch_size=job['batch'])
    recompute = job['options'].get('recompute')
    run = trainer.Trainer(net, plan, connect(), Silent(), recompute=recompute)
    x = mx.nd.random.normal(shape=(job['batch'], 3, job['size'], job['size']))
    label = mx.nd.arange(job['batch']) % job['classes']

    def step():
        run.step(x, label, LR)
        mx.nd.waitall()

    return step, nets.count_parameters(net)


if __name__ == '__main__':
    answer(make)
