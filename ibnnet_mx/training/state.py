"""A run's state besides the weights: the optimiser's state, and the states of norms that only training needs."""

from __future__ import annotations

import mxnet as mx
import numpy as np

from ibnnet_mx import norm


def states(params, updates, cluster, within):
    """Return {parameter: NDArray}: the optimiser's state and the norms' training state. All workers call it.

    The optimiser has no state before the first step. Within an epoch each device has its own statistics; those of the
    second device are named parameter@1 and so on, counted over all workers. updates: the gluon.Trainer.
    """
    names = list(params)
    states = {names[i]: state for i, state in updates._updaters[0].states.items() if state is not None}
    states.update({name: params[name].data(cluster.contexts[0]) for name in _progress(params)})
    statistics = {name: param for name, param in params.items() if norm.is_state(param)}
    if within and statistics and cluster.devices > 1:
        for i, row in enumerate(cluster.rows_of(list(statistics.values()))):
            parts = np.split(row, np.cumsum([int(np.prod(param.shape)) for param in statistics.values()])[:-1])
            for (name, param), part in zip(statistics.items() if i else (), parts):
                states[f'{name}@{i}'] = mx.nd.array(part.reshape(param.shape))
    return states


def optimiser_arrays(params, updates):
    """Return [(parameter, [the optimiser's state on each device])]. updates: the gluon.Trainer."""
    names = list(params)
    arrays: dict[str, list] = {}
    for updater in updates._updaters:
        for i, state in updater.states.items():
            if state is not None:
                arrays.setdefault(f'{names[i]} (optimiser)', []).append(state)
    return list(arrays.items())


def set_states(states, params, updates, cluster):
    """Restore on every device what states() returned. Entries of frozen parameters are ignored.

    Raises ValueError if a name or shape does not fit, or for another number of devices.
    """
    contexts = cluster.contexts
    wrong = [name for name, array in states.items() if _shape(params, name) != tuple(array.shape)]
    if wrong:
        raise ValueError(f'the optimiser state does not fit the network: {", ".join(wrong)}')
    strange = [name for name, array in states.items() if array.dtype != np.float32]
    if strange:
        raise ValueError(f'the optimiser state must be float32, not {states[strange[0]].dtype}: {", ".join(strange)}')
    states = dict(states)
    for name in _progress(params):
        if name not in states:
            raise ValueError(f'{name} is missing')
        params[name].set_data(mx.nd.array(states.pop(name)))
    _set_own({name: states.pop(name) for name in list(states) if '@' in name}, params, cluster)
    index = {name: i for i, name in enumerate(params)}
    states = {name: state for name, state in states.items() if params[name].grad_req != 'null'}
    for context, updater in zip(contexts, updates._updaters):
        for name, state in states.items():
            updater.states[index[name]] = mx.nd.array(state, ctx=context, dtype=state.dtype)
            updater.states_synced[index[name]] = True


def _progress(params):
    """Return the names of states that only training needs: counters and moments of MABN and the like."""
    return [name for name in params if name.endswith(norm.PROGRESS)]


def _set_own(arrays, params, cluster):
    """Put {parameter@i: array} on the devices of this worker. The arrays of device 0 are among the weights."""
    count = 1 + max((int(name.rpartition('@')[2]) for name in arrays), default=0)
    if arrays and count != cluster.devices:
        raise ValueError(f'it was saved within an epoch on {count} devices, this run has {cluster.devices}')
    first = cluster.rank * len(cluster.contexts)
    for name, array in arrays.items():
        name, _, i = name.rpartition('@')
        if 0 <= int(i) - first < len(cluster.contexts):
            mx.nd.array(array).copyto(params[name].data(cluster.contexts[int(i) - first]))


def _shape(params, name):
    """Return the shape of the parameter that a state belongs to; None if there is no such parameter."""
    name = name.partition('@')[0]
    return params[name].shape if name in params else None
