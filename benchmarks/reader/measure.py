"""What reading costs: CPU time of a process and of all its workers.

Only Python's own library: it runs in the peers' environments, too.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import time
from pathlib import Path

TICK = os.sysconf('SC_CLK_TCK')


def machine():
    """Processor, usable cores and Python, for the line below a table."""
    model = platform.processor() or platform.machine()
    if os.path.exists('/proc/cpuinfo'):
        with open('/proc/cpuinfo') as file:
            model = next((line.split(':')[1].strip() for line in file if line.startswith('model name')), model)
    return f'{model}, {cores()} usable cores, Python {platform.python_version()}'


def cores():
    return len(os.sched_getaffinity(0))


def _processes():
    """(parent, ticks of it and of the children that it waited for) of each process, by its id."""
    found = {}
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            fields = (folder / 'stat').read_text().rpartition(')')[2].split()
        except OSError:  # it ended meanwhile
            continue
        found[int(folder.name)] = int(fields[1]), sum(int(field) for field in fields[11:15])
    return found


def _workers_seconds():
    """Of the processes below this one that still run; rusage has them only when they are gone."""
    processes, below, ticks = _processes(), [os.getpid()], 0
    while below:
        parent = below.pop()
        for process, (its_parent, used) in processes.items():
            if its_parent == parent:
                below.append(process)
                ticks += used
    return ticks / TICK


def cpu_seconds():
    """User and system time of this process, of all its threads and of all processes that it started."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used) + _workers_seconds()


def resident():
    """MB of memory that this process has now."""
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def most_resident():
    """The most that it ever had; ru_maxrss would count what its parent had, too."""
    with open('/proc/self/status') as file:
        return next(int(line.split()[1]) for line in file if line.startswith('VmHWM')) * 1024 / 1e6


def go_through(run, least, epoch=0):
    """Whole epochs of run(epoch), which yields batches, until there were `least` pictures; pictures and next epoch."""
    pictures = 0
    while pictures < least:
        pictures += sum(len(batch) for batch in run(epoch))
        epoch += 1
    return pictures, epoch


def timed(run, job):
    """CPU and wall milliseconds a picture, after a warm-up: caches, pools and compilers need some pictures."""
    _, epoch = go_through(run, job['warm_up'])
    cpu, wall = cpu_seconds(), time.perf_counter()
    pictures, _ = go_through(run, job['pictures'], epoch)
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    return {'cpu': cpu / pictures * 1e3, 'wall': wall / pictures * 1e3, 'pictures': pictures}


def of_stream(batches, job):
    """run() for timed() from an endless iterator; an epoch is as many full batches as it has."""
    steps = max(job['records'] // job['batch'], 1)

    def run(_):
        for _ in range(steps):
            yield next(batches)

    return run


def answer(measure):
    """What a script does that measures one job: job as JSON in, result as JSON out, in the last line."""
    print(json.dumps(measure(json.loads(sys.argv[1]))), flush=True)
