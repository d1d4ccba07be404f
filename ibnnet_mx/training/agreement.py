"""Check that the workers of a run agree on options, records and weights, at the start and after each epoch."""

from __future__ import annotations

from ibnnet_mx import norm
from ibnnet_mx.errors import OptionError


def check_workers(run, train, val):
    """Raise OptionError if a worker has other options, records or weights than worker 0. All workers call it.

    run: trainer.Trainer with its first weights and place. train, val: data.Iterator.
    """
    params, cluster = run.net.collect_params(), run.cluster
    if cluster.num_workers == 1:
        return
    facts = {
        'options': str(run.recipe),
        'network': ' '.join(f'{name}{param.shape}' for name, param in params.items()),
        'records': [*train.labels().values(), *val.labels().values()],
        'batches': f'{train.steps(run.epoch)}, from {run.batch} of epoch {run.epoch} on',
        # Without the statistics of norms, which differ between devices within an epoch.
        'weights': _weights(run, norm.is_state),
        'devices': str(len(cluster.contexts)),
    }
    for rank, names in cluster.differing(facts).items():
        raise OptionError(
            None,
            None,
            f'worker {rank} differs from worker 0 in its {", ".join(names)}: all need the same command, the same '
            'records in `data_dir` and the same checkpoints at `model_prefix`',
        )


def hold_weights(run):
    """Give all workers the weights of worker 0 if they differ. All workers call it.

    Workers on different kinds of processors may come to differ in the last bits.
    """
    weights, cluster = _weights(run), run.cluster
    differing = cluster.differing({'weights': weights})
    if not differing:
        return
    states = {name: state for name, state in run.states().items() if '@' not in name}
    cluster.share([*weights, *states.values()])
    for param, weight in zip(run.net.collect_params().values(), weights):
        param.set_data(weight)
    run.set_states(states)
    ranks = ', '.join(map(str, differing))
    run.report.warn(f'workers {ranks} came to differ from worker 0 in their weights: all go on from those of worker 0')


def _weights(run, excluded=lambda param: False):
    params = [param for param in run.net.collect_params().values() if not excluded(param)]
    return [param.data(run.cluster.contexts[0]) for param in params]
