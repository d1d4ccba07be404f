"""What docs/scaling.md expects: seconds to add gradients up, and the efficiency of a step, by machines and links.

python benchmarks/scaling/model.py [--json results.json]   # with it: beside what was measured
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

FLOATS = {'resnet50_ibn_a': 25_557_032, 'densenet121_ibn_a': 7_978_856, 'cifar_resnet20_ibn_a': 273_066}
ADDS = 0.42e9  # bytes a second that a server takes in, adds and gives back: four workers at 10 Gbit/s, all on two cores
SHARE = 0.85  # of a link's rate that is reached
BACKWARD = 2 / 3  # of a step; sums can hide behind it where a device computes on its own


def seconds(floats, machines, servers, gigabits):
    """To add up: what the busiest link or server takes. Servers are on machines of workers."""
    size, link = 4 * floats, SHARE * gigabits * 1e9 / 8
    if machines == 1:
        return 0.0
    through = machines * size / servers  # into a server, and out again
    beside = through - size / servers + size - size / servers  # without what stays on the machine; with its worker's
    return max(max(beside, size) / link, through / ADDS)


def efficiency(step, adding):
    """(lowest, highest): nothing of the adding is hidden, or as much as the backward pass takes."""
    return step / (step + adding), step / (step + max(0.0, adding - BACKWARD * step))


def table(floats, step, own):
    """own: devices of a machine, which adds theirs up first."""
    rows = ['| devices | machines | servers | 1 Gbit/s | 10 Gbit/s | 25 Gbit/s | 100 Gbit/s |', '|' + '---|' * 7]
    for devices in (8, 64, 512):
        machines = max(devices // own, 1)
        for servers in sorted({1, machines} if machines > 1 else {1}):
            cells = []
            for gigabits in (1, 10, 25, 100):
                found = efficiency(step, seconds(floats, machines, servers, gigabits))
                low, high = (f'{100 * value:.0f}' for value in found)
                cells.append(f'{low} to {high} %' if low != high else f'{low} %')
            rows.append(f'| {devices} | {machines} | {servers} | {" | ".join(cells)} |')
    return '\n'.join(rows)


def beside_measured(found):
    """Rows of the model and the medians that benchmarks/scaling/run.py --parts links found."""
    rows = ['| link | workers | servers | model | measured |', '|' + '---|' * 5]
    for name, one in found['links'].items():
        gigabits, workers, servers = (int(word) for word in name.split() if word.isdecimal())
        best = min(row[0] for row in one['seconds'].values())
        model = seconds(one['floats'], workers, servers, gigabits)
        rows.append(f'| {gigabits} Gbit/s | {workers} | {servers} | {model:.2f} s | {best:.2f} s |')
    return '\n'.join(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--json', type=Path)
    parser.add_argument('--network', default='resnet50_ibn_a', choices=FLOATS)
    parser.add_argument('--step', type=float, default=0.25, help='seconds that a device computes')
    parser.add_argument('--own', type=int, default=8, help='devices of a machine')
    args = parser.parse_args()
    if args.json:
        print(beside_measured(json.loads(args.json.read_text())), end='\n\n')
    print(table(FLOATS[args.network], args.step, args.own))


if __name__ == '__main__':
    main()
