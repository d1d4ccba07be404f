"""A worker that trains on one batch over and over; worker 0 prints a line of JSON: seconds of a step.

python benchmarks/scaling/step.py NETWORK PICTURES REPEATS KVSTORE
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ibnnet_mx import get_model, recipe  # noqa: E402


class Silent:
    """A report."""

    def info(self, line):
        pass

    warn = info


def main(network, pictures, repeats, kvstore):
    """pictures: of all workers together."""
    import mxnet as mx
    import numpy as np

    from ibnnet_mx.distributed.cluster import connect
    from ibnnet_mx.training import trainer

    small = 'cifar' in network
    plan = recipe.RECIPES['cifar10' if small else 'imagenet']
    with connect(kvstore) as cluster:
        run = trainer.Trainer(get_model(network, 10 if small else 1000), replace(plan, lr=1e-6), cluster, Silent())
        own = int(pictures) // cluster.num_workers
        draw, side = np.random.RandomState(0), 32 if small else 128
        data = mx.nd.array(draw.uniform(0, 255, (own, 3, side, side)))
        label, seconds = mx.nd.array(draw.randint(0, 10, own)), []
        for _ in range(int(repeats) + 2):
            began = time.perf_counter()
            run.step(data, label, 1e-6, cluster.tell(own, int))
            mx.nd.waitall()
            seconds.append(time.perf_counter() - began)
        if cluster.is_main:
            print(json.dumps([median(seconds[2:]), min(seconds[2:]), max(seconds[2:])]), flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
