"""One measurement in the project's environment: our Reader, mxnet's ImageRecordIter, or the decoding alone.

A process of its own, so that threads reading ahead for one reader are not counted for the next.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np  # noqa: E402

from benchmarks.reader.measure import answer, cores, most_resident, resident, timed  # noqa: E402
from ibnnet_mx.recipe import AUGMENT  # noqa: E402

STATISTICS_EPOCHS = 10
LEVELS = {'training': 2, 'validation': None, 'cifar': 'cifar'}


def reader_of(job):
    from ibnnet_mx.recordio.pixels.augment import Augment
    from ibnnet_mx.recordio.reading.options import Options
    from ibnnet_mx.recordio.reading.reader import RAW, Reader

    level = LEVELS[job['task']]
    changes = None if level is None else Augment(**AUGMENT[level])
    pixels = None if job['uint8'] else RAW
    native = False if job['reader'] == 'ours_opencv' else None
    options = Options(threads=job['threads'], native=native)
    return Reader(job['path'], job['size'], job['batch'], changes, pixels, options)


def ours(job):
    reader = reader_of(job)

    def run(epoch):
        for found in reader.epoch(epoch):
            yield found.data[: found.real]

    return run


def theirs(job):
    """ImageRecordIter with the same changes of the pictures."""
    from ibnnet_mx import _env

    _env.prepare()  # before mxnet is imported
    import mxnet as mx

    options = {}
    if job['task'] == 'training':
        level = AUGMENT[2]
        hue, lightness, saturation = level['hls']
        options.update(min_random_scale=level['scale'][0], max_aspect_ratio=level['aspect'])
        options.update(random_h=hue, random_l=lightness, random_s=saturation, fill_value=127)
    if job['task'] == 'cifar':
        options.update(pad=AUGMENT['cifar']['pad'], fill_value=127)
    if job['task'] != 'validation':
        options.update(shuffle=True, rand_crop=True, rand_mirror=True)
    if job['reader'] == 'imagerecorditer_index':
        options.update(path_imgidx=str(Path(job['path']).with_suffix('.idx')))
    if job['reader'] != 'imagerecorditer_default':
        options.update(preprocess_threads=job['threads'])
    kind = mx.io.ImageRecordUInt8Iter if job['uint8'] else mx.io.ImageRecordIter
    shape = (3, job['size'], job['size'])
    iterator = kind(path_imgrec=job['path'], data_shape=shape, batch_size=job['batch'], verbose=False, **options)

    def run(_):
        iterator.reset()
        for found in iterator:
            found.data[0].wait_to_read()
            yield found.data[0]  # round_batch fills the last one with pictures of the next epoch, decoded now

    return run


def floor(job):
    """Milliseconds a picture of decoding what the drawn crops need: one thread, records in memory, all of it in C."""
    from ibnnet_mx.recordio.fast import native
    from ibnnet_mx.recordio.format import RecordFile
    from ibnnet_mx.recordio.pixels import augment

    with RecordFile(job['path']) as records:
        held = [np.frombuffer(records.read(number).payload, np.uint8) for number in range(len(records))]
    sources, why = np.zeros(len(held), native.SOURCE), np.zeros((len(held), native.WHY), np.uint8)
    sources['data'], sources['length'] = [native.address(payload) for payload in held], [len(one) for one in held]
    native.heads(sources, why)
    sizes = np.stack([sources['width'], sources['height']], axis=1).astype(np.int64)
    decoder, pixels, changes = native.Decoder(), np.zeros(1, native.PIXELS), augment.Augment(**AUGMENT[2])
    cpu = wall = pictures = epoch = 0
    while pictures < job['pictures']:
        draws = augment.uniforms(0, epoch, np.arange(len(held)))
        rows = np.ascontiguousarray(augment.draw_rows(changes, draws, sizes, job['size'])[:, None])
        begin = time.process_time(), time.perf_counter()
        decoder.render(sources, rows, pixels, None, why)
        if epoch * len(held) >= job['warm_up']:
            cpu, wall = cpu + time.process_time() - begin[0], wall + time.perf_counter() - begin[1]
            pictures += len(held)
        epoch += 1
    if native.failures(why):
        raise SystemExit(f'{len(native.failures(why))} records could not be decoded')
    return {'cpu': cpu / pictures * 1e3, 'wall': wall / pictures * 1e3, 'pictures': pictures}


def statistics(run):
    """Mean of the pixels of each RGB plane, and of each picture's deviation."""
    means, deviations = [], []
    for epoch in range(STATISTICS_EPOCHS):
        for pixels in run(epoch):
            pixels = pixels if isinstance(pixels, np.ndarray) else pixels.asnumpy()
            means.append(pixels.mean((2, 3), dtype=np.float64))
            deviations.append(pixels.std((2, 3), dtype=np.float64))
    return {'mean': np.concatenate(means).mean(0).tolist(), 'std': np.concatenate(deviations).mean(0).tolist()}


def memory(run, epochs):
    """MB of this process after each epoch, and the most that it ever had."""
    after = []
    for epoch in range(epochs):
        for _ in run(epoch):
            pass
        after.append(resident())
    return {'after': after, 'most': most_resident()}


def main(job):
    job['threads'] = job['threads'] or cores()
    if job['reader'].startswith('floor'):
        return floor(job)
    run = ours(job) if job['reader'].startswith('ours') else theirs(job)
    if job['kind'] == 'memory':
        return memory(run, job['epochs'])
    return statistics(run) if job['kind'] == 'statistics' else timed(run, job)


if __name__ == '__main__':
    answer(main)
