"""What adding gradients up over workers costs, alone and in a step, by network, bucket size and speed of the links:

    python benchmarks/scaling/run.py [--parts loopback,links,step] [--repeats 8] [--json FILE]

links needs root and iproute2: it makes machines with links of a given speed. Stop everything else before.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE)]

from machines import Machines  # noqa: E402

from ibnnet_mx import _env, _limits  # noqa: E402
from ibnnet_mx.distributed.launch import hosts  # noqa: E402

NETWORKS = 'cifar_resnet20_ibn_a', 'densenet121_ibn_a', 'resnet50_ibn_a'
SIZES = (1, 1 << 18, 1 << 20, 3 << 20, 6 << 20, 13 << 20, 1 << 26)  # floats; 1: each array alone, 1 << 26: all at once
LIMIT = 600  # seconds of a job


def job(words, workers, servers, machines=None, threads=1):
    """What worker 0 printed last, as JSON. machines: each has a worker and, the first of them, a server."""
    where, address, port = (lambda i, line: line), '127.0.0.1', hosts.free_port()
    if machines is not None:
        where, address, port = machines.command, machines.address(0), 9091
    base = {
        **_env.BEFORE,
        'OMP_NUM_THREADS': str(threads),
        'PYTHONPATH': str(ROOT),
        'DMLC_PS_ROOT_URI': address,
        'DMLC_PS_ROOT_PORT': str(port),
        'DMLC_NUM_WORKER': str(workers),
        'DMLC_NUM_SERVER': str(servers),
        'IBNNET_MX_JOIN_SECONDS': '60',
    }
    serving = [sys.executable, '-m', 'ibnnet_mx.distributed.serve']
    roles = [('scheduler', 0, serving), *[('server', i, serving) for i in range(servers)]]
    roles += [('worker', i, [sys.executable, *words]) for i in range(workers)]
    processes = []
    for role, i, line in roles:
        own = machines.address(i) if machines is not None else '127.0.0.1'
        environ = {**base, 'DMLC_ROLE': role, 'DMLC_NODE_HOST': own}
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(where(i, line), env=environ, stdout=pipe, stderr=pipe, text=True))
    try:
        said = [process.communicate(timeout=LIMIT) for process in processes]
    finally:
        for process in processes:
            process.kill()
    failed = [f'{role} {i}: {err[-2000:]}' for (role, i, _), p, (_, err) in zip(roles, processes, said) if p.returncode]
    lines = [line for out, _ in said for line in out.splitlines() if line.startswith(('{', '['))]
    if failed or not lines:
        sys.exit('\n'.join(failed) or 'worker 0 said nothing')
    return json.loads(lines[-1])


def communication(network, workers, servers, repeats, machines=None, sizes=SIZES):
    words = [str(HERE / 'comm.py'), network, ','.join(map(str, sizes)), str(repeats)]
    return job(words, workers, servers, machines)


def loopback(repeats):
    """{network: {workers, servers: {size: seconds}}}."""
    found = {}
    for network in NETWORKS:
        found[network] = {}
        for workers, servers in ((1, 1), (2, 1), (2, 2), (4, 1), (4, 2)):
            one = communication(network, workers, servers, repeats)
            found[network][f'{workers} workers, {servers} servers'] = one
            print('loopback', network, workers, servers, tell(one), flush=True)
    return found


def links(repeats):
    """The same between machines with links of so many gigabits a second."""
    found = {}
    for gigabits in (1, 10):
        for workers, servers in ((2, 1), (2, 2), (4, 1), (4, 2), (4, 4)):
            with Machines(workers, gigabits) as machines:
                one = communication(
                    'resnet50_ibn_a', workers, servers, repeats, machines, (1, 1 << 20, 3 << 20, 13 << 20)
                )
            found[f'{gigabits} Gbit/s, {workers} workers, {servers} servers'] = one
            print('links', gigabits, workers, servers, tell(one), flush=True)
    return found


def step(repeats):
    """Seconds of a whole step of the same batch: one process on all cores, and workers that share them."""
    found = {}
    for network, pictures in (('cifar_resnet20_ibn_a', 128), ('resnet50_ibn_a', 16)):
        words = [str(HERE / 'step.py'), network, str(pictures), str(repeats)]
        cores = str(_limits.usable_cores())
        environ = {**_env.BEFORE, 'OMP_NUM_THREADS': cores, 'PYTHONPATH': str(ROOT)}
        line = [sys.executable, *words, 'local']
        done = subprocess.run(line, env=environ, capture_output=True, text=True, check=True)
        rows = {'one process': json.loads(done.stdout.splitlines()[-1])}
        for workers in (1, 2, 4):
            threads = max(_limits.usable_cores() // workers, 1)
            rows[f'{workers} workers'] = job([*words, 'dist_sync'], workers, 1, threads=threads)
        found[network] = rows
        print('step', network, {name: round(row[0], 3) for name, row in rows.items()}, flush=True)
    return found


def tell(one):
    return {size: f'{1e3 * row[0]:.0f} ms' for size, row in one['seconds'].items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--parts', default='loopback,links,step')
    parser.add_argument('--repeats', type=int, default=8)
    parser.add_argument('--json', type=Path, help='what was found; parts of before stay')
    args = parser.parse_args()
    found = json.loads(args.json.read_text()) if args.json and args.json.exists() else {}
    found['machine'] = f'{os.cpu_count()} cores, {socket.gethostname()}, {time.strftime("%Y-%m-%d")}'
    for part in args.parts.split(','):
        found[part] = {'loopback': loopback, 'links': links, 'step': step}[part](args.repeats)
        if args.json:
            args.json.write_text(json.dumps(found, indent=1) + '\n')


if __name__ == '__main__':
    main()
