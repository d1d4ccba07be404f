"""Checks that the workers of a run agree: on their options, records and weights, and on the weights of each epoch."""

from __future__ import annotations

from ibnnet_mx import norm
from ibnnet_mx.errors import OptionError


def check_workers(run, train, val):
    """Raise OptionError if a worker has other options, records or weights than worker 0. All workers call it.

    run: trainer.Trainer, with what it begins with; train, val: data.Iterator.
    """
    params, cluster = run.net.collect_params(), run.cluster
    if cluster.num_workers == 1:
        return
    facts = {
        'options': str(run.recipe),
        'network': ' '.join(f'{name}{param.shape}' for name, param in params.items()),
        'records': [*train.labels().values(), *val.labels().values()],
        'batches': f'{train.steps(run.epoch)}, from {run.batch} of epoch {run.epoch} on',
        'weights': _weights(run, norm.is_state),  # the statistics of norms are each device's own within an epoch
        'devices': str(len(cluster.contexts)),
    }
    for rank, names in cluster.differing(facts).items():
        raise OptionError(
            None,
            None,
            f'worker {rank} has not the same {", ".join(names)} as worker 0: all need the same command, the same '
            'records in `data_dir` and the same checkpoints at `model_prefix`',
        )


def hold_weights(run):
    """Workers on unlike processors may differ in last bits after a while; then all go on from worker 0's. For all."""
    weights, cluster = _weights(run), run.cluster
    apart = cluster.differing({'weights': weights})
    if not apart:
        return
    states = {name: state for name, state in run.states().items() if '@' not in name}
    cluster.share([*weights, *states.values()])
    for param, weight in zip(run.net.collect_params().values(), weights):
        param.set_data(weight)
    run.set_states(states)
    who = ', '.join(map(str, apart))
    run.report.warn(f'the weights of workers {who} are not those of worker 0 any more: all go on from these')


def _weights(run, but=lambda param: False):
    params = [param for param in run.net.collect_params().values() if not but(param)]
    return [param.data(run.cluster.contexts[0]) for param in params]
