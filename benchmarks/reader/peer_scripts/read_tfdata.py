"""tf.data: a crop that is decoded alone; colours by tf.image, or by one matrix that also makes planes of the pixels."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from measure import answer, of_stream, timed  # noqa: E402
from payloads import Payloads  # noqa: E402

GREY = np.full((3, 3), 1 / 3, np.float32)
TURN = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], np.float32) / np.sqrt(3).astype(np.float32)


def convert(job):
    path = Path(job['folder']) / 'records.tfrecord'
    if not path.exists():
        part = path.with_suffix('.part')
        with tf.io.TFRecordWriter(str(part)) as out:
            for payload in Payloads(job['folder']):
                out.write(payload)
        part.rename(path)
    return str(path)


def uniform(low, high):
    return tf.random.uniform((), low, high)


def window(job, height, width):
    """top, left, height, width in a picture of what becomes size x size pixels."""
    scale, ratio = uniform(*job['scale']), uniform(1 - job['aspect'], 1 + job['aspect'])
    across = 2 * scale / (1 + ratio)
    h = tf.minimum(tf.cast(job['size'] / (across * ratio), tf.int32), height)
    w = tf.minimum(tf.cast(job['size'] / across, tf.int32), width)
    y = tf.cast(uniform(0, 1) * tf.cast(height - h + 1, tf.float32), tf.int32)
    x = tf.cast(uniform(0, 1) * tf.cast(width - w + 1, tf.float32), tf.int32)
    return tf.stack([y, x, h, w])


def colours(job):
    """Hue as a turn about the grey axis, saturation as the distance from it, brightness on all: (3, 3)."""
    hue, value, saturation = job['colour']
    angle = uniform(-hue, hue)
    turn = tf.cos(angle) * (np.eye(3, dtype=np.float32) - GREY) + tf.sin(angle) * TURN
    return uniform(1 - value, 1 + value) * (GREY + uniform(1 - saturation, 1 + saturation) * turn)


def changed_hsv(job, pixels):
    """The same by tf.image's own operations, which go through HSV."""
    hue, value, saturation = job['colour']
    pixels = tf.image.adjust_hue(pixels, uniform(-hue, hue) / (2 * np.pi))
    return tf.image.adjust_saturation(pixels, uniform(1 - saturation, 1 + saturation)) * uniform(1 - value, 1 + value)


def picture(job, jpeg):
    size = job['size']
    shape = tf.image.extract_jpeg_shape(jpeg)
    part = tf.image.decode_and_crop_jpeg(jpeg, window(job, shape[0], shape[1]), channels=3, dct_method='INTEGER_FAST')
    seen = tf.raw_ops.ResizeBilinear(images=part[None], size=[size, size], half_pixel_centers=True)
    if job['variant'] == 'hsv':
        planes = tf.transpose(changed_hsv(job, seen[0]), (2, 0, 1))
    else:
        planes = tf.matmul(colours(job), tf.reshape(seen, (size * size, 3)), transpose_b=True)
    planes = tf.reshape(tf.clip_by_value(planes, 0, 255), (3, size, size))
    return tf.cond(uniform(0, 1) < 0.5, lambda: tf.reverse(planes, [2]), lambda: planes)


def dataset(job):
    threads = job['threads']
    options = tf.data.Options()
    options.deterministic = False
    options.threading.private_threadpool_size = threads
    options.threading.max_intra_op_parallelism = 1
    found = tf.data.TFRecordDataset(convert(job)).cache().shuffle(job['records']).repeat()
    found = found.map(lambda jpeg: picture(job, jpeg), num_parallel_calls=threads)
    return found.batch(job['batch'], drop_remainder=True).prefetch(2).with_options(options)


def main(job):
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(job['threads'])
    return timed(of_stream(iter(dataset(job)), job), job)


if __name__ == '__main__':
    answer(main)
