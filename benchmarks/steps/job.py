"""Seconds and memory of training steps, in this process: a job as JSON in, the result as JSON out.

Only Python's own library: it runs in the peers' environments, too.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.reader.measure import most_resident, resident  # noqa: E402

LR, MOMENTUM, WD = 1e-3, 0.9, 1e-4  # noise cannot be learned: a usual rate would end in infinities


def answer(make):
    """make(job) -> (a step that waits until it is done, parameters of its network).

    Called when all is imported and nothing is built: `mb` counts from there to the most that the process ever had.
    SystemExit: the network is not the one that is meant.
    """
    job = json.loads(sys.argv[1])
    idle = resident()
    step, parameters = make(job)
    if parameters != job['parameters']:
        raise SystemExit(f'another network: it has {parameters:,} parameters, {job["model"]} {job["parameters"]:,}')
    seconds = []
    for _ in range(job['warm_up'] + job['steps']):
        begin = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begin)
    result = dict(seconds=seconds[job['warm_up'] :], mb=most_resident() - idle, idle_mb=idle)
    print(json.dumps(result), flush=True)
