"""train_resnet.py, which also writes the weights of its worker after each epoch to WEIGHTS-RANK.npz:

python benchmarks/workers/worker.py WEIGHTS OPTIONS ...
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ibnnet_mx.cli import train  # noqa: E402


def main(path, *options):
    from ibnnet_mx.training import trainer

    settle = trainer.Trainer._settle

    def settled(run):
        held = {name: param.data(run.cluster.contexts[0]).asnumpy() for name, param in run.net.collect_params().items()}
        np.savez(f'{path}-{run.cluster.rank}.npz', **held)  # before anything could make them equal
        settle(run)

    trainer.Trainer._settle = settled
    if os.environ.get('NUDGE') == '1':
        nudge(trainer.Trainer)
    if os.environ.get('VALIDATE') == '0':
        trainer.Trainer.evaluate = lambda run, val, between=None: {}
    return train.main(list(options))


def nudge(kind):
    begin, draw = kind.train_epoch, np.random.RandomState(0)

    def train_epoch(run, *given):
        for param in run.net.collect_params().values() if run.epoch == 0 else ():
            near = 1 + np.finfo(np.float32).eps / 2 * draw.choice([-1, 0, 1], param.shape)
            param.set_data((param.data().asnumpy() * near).astype(np.float32))
        return begin(run, *given)

    kind.train_epoch = train_epoch


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
