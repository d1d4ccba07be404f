"""train_resnet.py, which also writes the weights of its worker after each epoch to WEIGHTS-RANK.npz:

python benchmarks/workers/worker.py WEIGHTS OPTIONS ...
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ibnnet_mx.cli import train  # noqa: E402


def main(path, *options):
    from ibnnet_mx import trainer

    settle = trainer.Trainer._settle

    def settled(run):
        held = {name: param.data(run.cluster.contexts[0]).asnumpy() for name, param in run.net.collect_params().items()}
        np.savez(f'{path}-{run.cluster.rank}.npz', **held)  # before anything could make them equal
        settle(run)

    trainer.Trainer._settle = settled
    return train.main(list(options))


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
