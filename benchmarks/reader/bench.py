"""Pictures per second and core of our Reader and of mxnet's ImageRecordIter, in turn; prints markdown tables.

Each measurement is a process of its own, so that threads reading ahead for one reader are not counted for the next.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
WARM_UP = 600  # pictures; until then the allocator still asks the kernel for memory
STATISTICS_EPOCHS = 10
TASKS = {  # name: file, size, level (None: validation), options of ImageRecordIter
    'training, level 2': (
        'train_480_q90.rec',
        224,
        2,
        dict(min_random_scale=0.533, max_aspect_ratio=0.25, random_h=36, random_l=50, random_s=50, fill_value=127),
    ),
    'validation': ('val_256_q90.rec', 224, None, {}),
    'CIFAR': ('cifar10_train.rec', 32, 'cifar', dict(pad=4, fill_value=127)),
}
READERS = {  # name: for which tasks
    'ours': TASKS,
    'ours, whole pictures decoded': ('training, level 2', 'validation'),
    'ImageRecordIter': TASKS,
    'ImageRecordIter with index': TASKS,
}


def usage():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, time.perf_counter()


def our_epochs(path, task, batch, threads, whole):
    """A function that goes through one epoch: yields arrays (n, 3, S, S)."""
    from ibnnet_mx.recipe import AUGMENT
    from ibnnet_mx.recordio import region
    from ibnnet_mx.recordio.augment import Augment
    from ibnnet_mx.recordio.reader import Options, Reader

    if whole:
        region.layout = lambda payload: None
    _, size, level, _ = TASKS[task]
    changes = None if level is None else Augment(**AUGMENT[level])
    reader = Reader(path, size, batch, changes, options=Options(threads=threads))

    def run(epoch):
        for found in reader.epoch(epoch):
            yield found.data[: found.real]

    return run


def their_epochs(path, task, batch, threads, index):
    from ibnnet_mx import _env

    _env.prepare()  # before mxnet is imported
    import mxnet as mx

    _, size, level, options = TASKS[task]
    if level is not None:
        options = dict(options, shuffle=True, rand_crop=True, rand_mirror=True)
    if index:
        options = dict(options, path_imgidx=str(path.with_suffix('.idx')))
    iterator = mx.io.ImageRecordIter(
        path_imgrec=str(path),
        data_shape=(3, size, size),
        batch_size=batch,
        preprocess_threads=threads,
        verbose=False,
        **options,
    )

    def run(_):
        iterator.reset()
        for found in iterator:
            found.data[0].wait_to_read()
            yield found.data[0]  # round_batch fills the last one with pictures of the next epoch, decoded now

    return run


def go_through(run, least):
    """Whole epochs of at least that many pictures; how many they were."""
    pictures = epoch = 0
    while pictures < least:
        pictures += sum(len(pixels) for pixels in run(epoch))
        epoch += 1
    return pictures


def measure(job):
    """One process: some epochs to warm up, then CPU and wall milliseconds a picture; or the means of the pixels."""
    path = Path(job['path'])
    if job['reader'].startswith('ours'):
        run = our_epochs(path, job['task'], job['batch'], job['threads'], 'whole' in job['reader'])
    else:
        run = their_epochs(path, job['task'], job['batch'], job['threads'], 'index' in job['reader'])
    if job['statistics']:
        return pixel_statistics(run)
    go_through(run, WARM_UP)
    cpu, wall = usage()
    pictures = go_through(run, job['pictures'])
    cpu_end, wall_end = usage()
    return {'cpu': (cpu_end - cpu) / pictures * 1e3, 'wall': (wall_end - wall) / pictures * 1e3, 'pictures': pictures}


def pixel_statistics(run):
    """Mean of the pixels of each RGB plane, and of each picture's deviation."""
    import numpy as np

    means, deviations = [], []
    for epoch in range(STATISTICS_EPOCHS):
        for pixels in run(epoch):
            pixels = pixels if isinstance(pixels, np.ndarray) else pixels.asnumpy()
            means.append(pixels.mean((2, 3), dtype=np.float64))
            deviations.append(pixels.std((2, 3), dtype=np.float64))
    return {'mean': np.concatenate(means).mean(0).tolist(), 'std': np.concatenate(deviations).mean(0).tolist()}


def child(job):
    command = [sys.executable, os.path.abspath(__file__), '--job', json.dumps(job)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def machine():
    model = platform.processor() or platform.machine()
    if os.path.exists('/proc/cpuinfo'):
        with open('/proc/cpuinfo') as file:
            model = next((line.split(':')[1].strip() for line in file if line.startswith('model name')), model)
    return f'{model}, {len(os.sched_getaffinity(0))} usable cores, Python {platform.python_version()}'


def jobs(args):
    for task, (name, _, _, _) in TASKS.items():
        path = next((f / name for f in (args.rec, args.cifar) if f is not None and (f / name).is_file()), None)
        if path is None:
            print(f'{task}: no {name} in --rec or --cifar, left out', file=sys.stderr)
            continue
        batch = args.batch * (4 if task == 'CIFAR' else 1)
        for reader, tasks in READERS.items():
            if task in tasks:
                yield dict(
                    task=task, reader=reader, path=str(path), batch=batch, threads=args.threads, pictures=args.pictures
                )


def table(args, wanted):
    found = {}
    for repetition in range(args.repeat):
        for number, job in enumerate(wanted):
            print(f'{repetition + 1}/{args.repeat} {job["task"]}: {job["reader"]}', file=sys.stderr)
            found.setdefault(number, []).append(child(dict(job, statistics=False)))
    print('| task | reader | CPU ms a picture (lowest to highest) | pictures/s/core | wall pictures/s | CPU ratio |')
    print('|---|---|---|---|---|---|')
    median = {n: {k: statistics.median(r[k] for r in rows) for k in ('cpu', 'wall')} for n, rows in found.items()}
    for number, job in enumerate(wanted):
        ours = next(n for n, other in enumerate(wanted) if other['task'] == job['task'] and other['reader'] == 'ours')
        cpu, wall = median[number]['cpu'], median[number]['wall']
        spread = sorted(row['cpu'] for row in found[number])
        print(
            f'| {job["task"]} | {job["reader"]} | {cpu:.3g} ({spread[0]:.3g} to {spread[-1]:.3g}) '
            f'| {1e3 / cpu:.0f} | {1e3 / wall:.0f} | {cpu / median[ours]["cpu"]:.2f} |'
        )


def statistics_table(wanted):
    print('\n| task | reader | mean R, G, B | deviation within a picture R, G, B |')
    print('|---|---|---|---|')
    for job in wanted:
        if 'whole' not in job['reader']:
            found = child(dict(job, statistics=True))
            columns = [', '.join(f'{value:.1f}' for value in found[key]) for key in ('mean', 'std')]
            print(f'| {job["task"]} | {job["reader"]} | {columns[0]} | {columns[1]} |')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rec', type=Path, help='folder with train_480_q90.rec and val_256_q90.rec')
    parser.add_argument('--cifar', type=Path, help='folder with cifar10_train.rec')
    parser.add_argument('--repeat', type=int, default=5, help='measurements of each reader (5)')
    parser.add_argument('--pictures', type=int, default=1200, help='of a measurement, rounded up to epochs (1200)')
    parser.add_argument(
        '--batch', type=int, default=32, help='pictures of a batch; CIFAR takes four times as many (32)'
    )
    parser.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)), help='of each reader (all cores)')
    parser.add_argument('--job', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        print(json.dumps(measure(json.loads(args.job))))
        return
    wanted = list(jobs(args))
    print(f'{machine()}, {args.threads} threads, {time.strftime("%Y-%m-%d")}\n')
    table(args, wanted)
    statistics_table(wanted)


if __name__ == '__main__':
    main()
