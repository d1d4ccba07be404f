"""A worker that sums the gradients of a network over all workers, by bucket size; worker 0 prints a line of JSON.

python benchmarks/scaling/comm.py NETWORK SIZES REPEATS
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ibnnet_mx import get_model  # noqa: E402


def main(network, sizes, repeats):
    import mxnet as mx

    from ibnnet_mx.distributed.workers import Buckets, ParameterServer

    workers = ParameterServer('dist_sync')
    params = get_model(network, 1000 if 'cifar' not in network else 10).collect_params().values()
    arrays = [mx.nd.ones(param.shape) for param in params if param.grad_req != 'null']
    found = {}
    for size in map(int, sizes.split(',')):
        buckets, seconds = Buckets(workers, f'size {size}', arrays, size), []
        for _ in range(int(repeats) + 1):
            for array in arrays:
                array[:] = 1
            mx.nd.waitall()
            began = time.perf_counter()
            buckets.sum(arrays)
            mx.nd.waitall()
            seconds.append(time.perf_counter() - began)
        assert float(arrays[0].max().asscalar()) == workers.count, 'the sum is wrong'
        found[size] = [median(seconds[1:]), min(seconds[1:]), max(seconds[1:])]  # the first one makes the keys
    if workers.rank == 0:
        print(json.dumps({'floats': sum(array.size for array in arrays), 'seconds': found}), flush=True)
    workers.close()


if __name__ == '__main__':
    main(*sys.argv[1:])
