"""Does training wait for pictures? Seconds a step with pictures as they are read, and with one batch over and over.

Both ways take turns in one process, so that a drift of the machine's speed hits both; prints a markdown table.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ibnnet_mx import _env, get_model, models  # noqa: E402
from ibnnet_mx.recipe import AUGMENT  # noqa: E402
from ibnnet_mx.recordio import Augment  # noqa: E402
from ibnnet_mx.recordio.reading.options import Options  # noqa: E402
from ibnnet_mx.recordio.reading.reader import Reader  # noqa: E402

WARM_UP = 3  # steps


class Silent:
    """In the place of logs.Reporter."""

    def __getattr__(self, name):
        return lambda *args, **named: None


def training(net, batch):
    """One step on a batch, as train_resnet.py makes it; the rate is too small to change anything. Gives the logits."""
    from ibnnet_mx import recipe
    from ibnnet_mx.distributed.cluster import connect
    from ibnnet_mx.training import trainer

    plan = replace(recipe.RECIPES['cifar10_fast'], batch_size=batch)
    run = trainer.Trainer(net, plan, connect(), Silent())

    return lambda data, label: run.step(data, label, 1e-6)


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
    """Seconds of a step in each round: read, and the same."""
    import mxnet as mx

    model = models.find(*models.split_name(args.model))
    pixels = model.pixels.mean, model.pixels.std
    options = Options(threads=args.threads)
    reader = Reader(args.rec, model.size, args.batch, Augment(**AUGMENT[args.aug_level]), pixels, options)
    net = get_model(args.model, classes=int(reader.labels().max()) + 1, dtype=args.dtype)
    step, batches = training(net, args.batch), endless(reader)
    constant = next(batches)
    for _ in range(WARM_UP):
        step(*next(batches))
    times = {'read': [], 'the same': []}
    for _ in range(args.rounds):
        for kind, found in times.items():
            begin, before = time.perf_counter(), []
            for _ in range(args.steps):
                logits = step(*(next(batches) if kind == 'read' else constant))
                for part in before:  # one batch late, as in training
                    part.asnumpy()
                before = logits
            mx.nd.waitall()
            found.append((time.perf_counter() - begin) / args.steps)
    reader.close()
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('rec', help='records to train on, such as cifar10_train.rec')
    parser.add_argument('--model', default='cifar_resnet20_v2', help='as get_model() names it (cifar_resnet20_v2)')
    parser.add_argument('--batch', type=int, default=128, help='pictures of a step (128)')
    parser.add_argument('--steps', type=int, default=20, help='of each kind in a round (20)')
    parser.add_argument('--dtype', default='float32', choices=['float32', 'bfloat16'], help='(float32)')
    parser.add_argument('--threads', type=int, help='of the reader (one for each core)')
    parser.add_argument('--rounds', type=int, default=5, help='turns of both kinds (5)')
    parser.add_argument('--aug-level', default='cifar', choices=[str(level) for level in AUGMENT], help='(cifar)')
    args = parser.parse_args()
    args.aug_level = next(level for level in AUGMENT if str(level) == args.aug_level)
    _env.prepare()
    times = {kind: statistics.median(found) for kind, found in measure(args).items()}
    ratio = times['read'] / times['the same']
    print('| network | dtype | batch | ms a step, pictures read | the same batch | ratio |\n|---|---|---|---|---|---|')
    cells = [args.model, args.dtype, args.batch, *(f'{1e3 * times[kind]:.1f}' for kind in times), f'{ratio:.3f}']
    print(f'| {" | ".join(map(str, cells))} |')


if __name__ == '__main__':
    main()
