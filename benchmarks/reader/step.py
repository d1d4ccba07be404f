"""Does training wait for pictures? Seconds a step with pictures as they are read, and with one batch over and over.

Both ways take turns in one process, so that a drift of the machine's speed hits both; prints a markdown table.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ibnnet_mx import _env, get_model, registry  # noqa: E402
from ibnnet_mx.recipe import AUGMENT  # noqa: E402
from ibnnet_mx.recordio import Augment  # noqa: E402
from ibnnet_mx.recordio.reader import Options, Reader  # noqa: E402

WARM_UP = 3  # steps


def training(net):
    """One step of SGD on a batch, waited for; the rate is too small to change anything."""
    import mxnet as mx
    from mxnet import autograd, gluon

    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    how = dict(learning_rate=1e-6, momentum=0.9)
    trainer = gluon.Trainer(net.collect_params(), 'sgd', how, update_on_kvstore=False)

    def step(data, label):
        with autograd.record():
            loss = loss_of(net(data), label)
        loss.backward()
        trainer.step(data.shape[0])
        mx.nd.waitall()

    return step


def endless(reader):
    """Full batches as NDArrays, epoch after epoch."""
    import mxnet as mx

    epoch = 0
    while True:
        for batch in reader.epoch(epoch):
            if batch.real == reader.batch_size:
                yield mx.nd.from_numpy(batch.data, zero_copy=True), mx.nd.array(batch.label)
        epoch += 1


def measure(args):
    """Seconds of each step: read, and the same."""
    model = registry.find(*registry.split_name(args.model))
    pixels = model.pixels.mean, model.pixels.std
    reader = Reader(args.rec, model.size, args.batch, Augment(**AUGMENT[args.aug_level]), pixels, Options())
    classes = int(reader.labels().max()) + 1
    net = get_model(args.model, classes=classes)
    net.initialize()
    net.hybridize(static_alloc=True, static_shape=True)
    step, batches = training(net), endless(reader)
    constant = next(batches)
    for _ in range(WARM_UP):
        step(*next(batches))
    times = {'read': [], 'the same': []}
    for _ in range(args.rounds):
        for kind, found in times.items():
            for _ in range(args.steps):
                begin = time.perf_counter()
                step(*(next(batches) if kind == 'read' else constant))
                found.append(time.perf_counter() - begin)
    reader.close()
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('rec', help='records to train on, such as cifar10_train.rec')
    parser.add_argument('--model', default='cifar_resnet20_v2', help='as get_model() names it (cifar_resnet20_v2)')
    parser.add_argument('--batch', type=int, default=128, help='pictures of a step (128)')
    parser.add_argument('--steps', type=int, default=20, help='of each kind in a round (20)')
    parser.add_argument('--rounds', type=int, default=3, help='turns of both kinds (3)')
    parser.add_argument('--aug-level', default='cifar', choices=[str(level) for level in AUGMENT], help='(cifar)')
    args = parser.parse_args()
    args.aug_level = next(level for level in AUGMENT if str(level) == args.aug_level)
    _env.prepare()
    times = {kind: statistics.median(found) for kind, found in measure(args).items()}
    ratio = times['read'] / times['the same']
    print('| network | batch | ms a step, pictures read | the same batch | ratio |\n|---|---|---|---|---|')
    print(f'| {args.model} | {args.batch} | {1e3 * times["read"]:.1f} | {1e3 * times["the same"]:.1f} | {ratio:.3f} |')


if __name__ == '__main__':
    main()
