"""What is lost on the way through other formats: one network of each family at its full size, as a table."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import mxnet as mx
import numpy as np

from ibnnet_mx import convert, get_model, models
from ibnnet_mx.convert import names
from ibnnet_mx.inference import engines
from ibnnet_mx.models import tables
from tests.goldens.generate import fill


def started(name):
    net = get_model(name)
    convert.load_mxnet(net, {n: fill(n, p.shape) for n, p in net.collect_params().items()})
    return net


def arrays(net):
    return {n: p.data().asnumpy() for n, p in net.collect_params().items()}


def changed(one, other):
    """How many arrays differ in any bit."""
    return sum(one[k].tobytes() != other[k].tobytes() for k in one) + len(one.keys() ^ other.keys())


def row(name, folder):
    net, size = started(name), models.find(name).size
    wanted = arrays(net)
    convert.to_torch(net, folder / 'a.pth')
    there = get_model(name)
    convert.load_torch(there, folder / 'a.pth')
    convert.to_torch(there, folder / 'b.pth')
    by_torch = changed(convert.read_weights(folder / 'a.pth'), convert.read_weights(folder / 'b.pth')) + changed(
        wanted, arrays(there)
    )
    convert.save_safetensors(net, folder / 'a.safetensors')
    other = get_model(name)
    convert.load_safetensors(other, folder / 'a.safetensors')
    convert.to_onnx(net, folder / 'a.onnx')
    run, largest = engines.OnnxEngine(folder / 'a.onnx'), 0.0
    for count in (1, 2):
        x = np.random.RandomState(count).uniform(-2, 2, (count, 3, size, size)).astype(np.float32)
        logits = net(mx.nd.array(x)).asnumpy()
        largest = max(largest, float(np.abs(run(x) - logits).max() / np.abs(logits).max()))
    by_safetensors, count = changed(wanted, arrays(other)), len(names.torch_keys(list(wanted)))
    return f'| `{name}` | {count} | {by_torch} | {by_safetensors} | {largest:.1e} |'


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('names', nargs='*', help='models; unset: the smallest of each family')
    args = parser.parse_args()
    smallest = [models.full_name(family, tables.ROWS[tables.base_of(family)].depths[0]) for family in models.MODELS]
    print('| network | arrays | changed by torch and back | changed by safetensors and back | ONNX logits |')
    print('|---|---|---|---|---|')
    with tempfile.TemporaryDirectory() as folder:
        for name in args.names or smallest:
            print(row(name, Path(folder)), flush=True)


if __name__ == '__main__':
    main()
