"""Writes logits.json, this project's own small goldens: python -m tests.goldens.generate.

They hold the networks to what they computed when they agreed with the originals (tests/models/test_golden.py),
on machines that have neither the originals' numbers nor torch.
"""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name('logits.json')
MODELS = {  # name: side of the pictures
    'resnet18': 64,
    'resnet18_ibn_a': 64,
    'resnet18_ibn_b': 64,
    'resnet50': 64,
    'resnet50_ibn_a': 64,
    'resnet50_ibn_b': 64,
    'resnet18_v2': 64,
    'resnet50_v2': 64,
    'resnet50_v2_ibn_a': 64,
    'resnet50_v2_ibn_b': 64,
    'cifar_resnet20': 32,
    'cifar_resnet20_ibn_a': 32,
    'cifar_resnet20_ibn_b': 32,
    'cifar_resnet20_v2': 32,
    'cifar_resnet20_v2_ibn_a': 32,
    'cifar_resnet20_v2_ibn_b': 32,
    'cifar_resnet164_v2_ibn_a': 32,
    'cifar_resnet20_v1a': 32,
    'cifar_resnet20_v1a_ibn_a': 32,
    'resnext50_ibn_a': 64,
    'resnext50_ibn_b': 64,
    'resnext50_v2_ibn_a': 64,
    'se_resnet50_ibn_a': 64,
    'se_resnet50_v2': 64,
    'se_resnext50_ibn_a': 64,
    'densenet121': 64,
    'densenet121_ibn_a': 64,
}
CLASSES = 5


def fill(key, shape):
    """The value of a parameter, from its name alone: uniform, variance 1/fan_in for weights; numpy only."""
    u = np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF).random_sample(tuple(int(s) for s in shape))
    if key.endswith('num_batches_tracked'):
        return np.zeros(shape, np.int64)
    if key.endswith(('running_mean', 'moving_mean')):
        values = 0.2 * u - 0.1
    elif key.endswith(('running_var', 'moving_var')):
        values = 0.5 + u
    elif u.ndim >= 2:
        values = (2.0 * u - 1.0) * np.sqrt(3.0 / np.prod(shape[1:]))
    elif key.endswith(('weight', 'gamma')):
        values = 0.8 + 0.4 * u
    else:
        values = 0.2 * u - 0.1
    return values.astype(np.float32)


def pictures(size, count=3):
    return (4 * np.random.RandomState(2).random_sample((count, 3, size, size)) - 2).astype(np.float32)


def logits(name, training):
    """float32 (3, CLASSES), in training mode with the statistics of the batch."""
    import mxnet as mx

    import ibnnet_mx
    from ibnnet_mx import convert

    net = ibnnet_mx.get_model(name, classes=CLASSES)
    convert.load_mxnet(net, {n: fill(n, p.shape) for n, p in net.collect_params().items()})
    net.hybridize()
    with mx.autograd.record(training):
        return net(mx.nd.array(pictures(MODELS[name]))).asnumpy()


def main():
    table = {}
    for name in MODELS:
        values = {'eval': logits(name, False), 'train': logits(name, True)}
        table[name] = {mode: np.round(v.astype(float), 6).tolist() for mode, v in values.items()}
    PATH.write_text(json.dumps(table, indent=1) + '\n')
    print(PATH, len(table))


if __name__ == '__main__':
    sys.exit(main())
