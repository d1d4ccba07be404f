"""What a checkpoint of a run holds beside the weights: the optimiser's state and what norms need for training alone."""

from __future__ import annotations

import mxnet as mx
import numpy as np

from ibnnet_mx import norm


def states(params, updates, contexts, within):
    """{parameter: NDArray}: the optimiser's state, and the norms' that prediction does not need.

    The optimiser has none before the first step. Within an epoch each context has statistics of its own: those of the
    second are called parameter@1, and so on. updates: the gluon.Trainer.
    """
    names = list(params)
    found = {names[i]: state for i, state in updates._updaters[0].states.items() if state is not None}
    found.update({name: params[name].data(contexts[0]) for name in _progress(params)})
    for i, other in enumerate(contexts[1:] if within else (), 1):
        found.update({f'{name}@{i}': param.data(other) for name, param in params.items() if norm.is_state(param)})
    return found


def set_states(states, params, updates, contexts):
    """What states() gave, for every context; that of parameters which do not learn any more is dropped.

    ValueError where a name or shape does not fit, or for another number of contexts.
    """
    wrong = [name for name, array in states.items() if _shape(params, name) != tuple(array.shape)]
    if wrong:
        raise ValueError(f'the optimiser state does not fit the network: {", ".join(wrong)}')
    strange = [name for name, array in states.items() if array.dtype != np.float32]
    if strange:
        raise ValueError(f'the optimiser state is of float32, not {states[strange[0]].dtype}: {", ".join(strange)}')
    states = dict(states)
    for name in _progress(params):
        if name not in states:
            raise ValueError(f'{name} is missing')
        params[name].set_data(mx.nd.array(states.pop(name)))
    _set_own({name: states.pop(name) for name in list(states) if '@' in name}, params, contexts)
    index = {name: i for i, name in enumerate(params)}
    states = {name: state for name, state in states.items() if params[name].grad_req != 'null'}
    for context, updater in zip(contexts, updates._updaters):
        for name, state in states.items():
            updater.states[index[name]] = mx.nd.array(state, ctx=context, dtype=state.dtype)
            updater.states_synced[index[name]] = True


def _progress(params):
    """Names of what only further training needs: counters and moments of MABN and the like."""
    return [name for name in params if name.endswith(norm.PROGRESS)]


def _set_own(arrays, params, contexts):
    """{parameter@i: array} into the contexts after the first."""
    count = 1 + max((int(name.rpartition('@')[2]) for name in arrays), default=0)
    if arrays and count != len(contexts):
        raise ValueError(f'it was saved within an epoch on {count} devices, these are {len(contexts)}')
    for name, array in arrays.items():
        name, _, i = name.rpartition('@')
        mx.nd.array(array).copyto(params[name].data(contexts[int(i)]))


def _shape(params, name):
    """Of the parameter that a state is of; None where there is none."""
    name = name.partition('@')[0]
    return params[name].shape if name in params else None
