"""NVIDIA DALI on the CPU: it reads the .rec itself, decodes the crop alone and changes colours by one matrix."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import nvidia.dali.fn as fn  # noqa: E402
from measure import answer, of_stream, timed  # noqa: E402
from nvidia.dali import math, pipeline_def, types  # noqa: E402


def uniform(low, high):
    return fn.random.uniform(range=[low, high])


@pipeline_def(enable_conditionals=False)
def pictures(job):
    index = os.path.splitext(job['path'])[0] + '.idx'
    jpegs, _ = fn.readers.mxnet(
        path=[job['path']], index_path=[index], random_shuffle=True, initial_fill=job['records'], name='reader'
    )
    size = fn.peek_image_shape(jpegs, dtype=types.FLOAT, adjust_orientation=False)
    scale, ratio = uniform(*job['scale']), uniform(1 - job['aspect'], 1 + job['aspect'])
    across = 2 * scale / (1 + ratio)
    height = math.min(job['size'] / (across * ratio), size[0])
    width = math.min(job['size'] / across, size[1])
    start = fn.stack(uniform(0, 1) * (size[0] - height), uniform(0, 1) * (size[1] - width))
    start, shape = fn.cast(start, dtype=types.INT32), fn.cast(fn.stack(height, width), dtype=types.INT32)
    part = fn.decoders.image_slice(
        jpegs,
        start=start,
        shape=shape,
        axes=[0, 1],
        output_type=types.RGB,
        adjust_orientation=False,
        use_fast_idct=True,
    )
    seen = fn.resize(part, size=[job['size']] * 2, antialias=False)
    hue, value, saturation = job['colour']
    seen = fn.hsv(
        seen,
        hue=uniform(-hue * 57.2958, hue * 57.2958),
        value=uniform(1 - value, 1 + value),
        saturation=uniform(1 - saturation, 1 + saturation),
    )
    return fn.crop_mirror_normalize(
        seen, dtype=types.FLOAT, output_layout='CHW', mirror=fn.random.coin_flip(), mean=[0.0] * 3, std=[1.0] * 3
    )


def batches(job):
    pipeline = pictures(job, batch_size=job['batch'], num_threads=job['threads'], device_id=None, seed=0)
    pipeline.build()
    while True:
        yield pipeline.run()[0]


def main(job):
    return timed(of_stream(batches(job), job), job)


if __name__ == '__main__':
    answer(main)
