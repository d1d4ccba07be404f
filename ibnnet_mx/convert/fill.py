"""Arrays under whatever names -> the parameters of a network, all of them or none."""

from __future__ import annotations

from typing import NamedTuple

import mxnet as mx
import numpy as np

from ibnnet_mx.convert import names
from ibnnet_mx.errors import OptionError
from ibnnet_mx.norm import PROGRESS

HEAD = ('fc1_weight', 'fc1_bias')
SHOWN = 20  # faults that an error lists
IGNORED = ('num_batches_tracked', '.sta_matrix')  # counters of BatchNorm, and a constant that MABN's code stores


class Match(NamedTuple):
    """A layout that fits. arrays: {our name: array}; origin: {our name: key}; faults: lines about what is left over."""

    arrays: dict
    origin: dict
    faults: list


def load(net, source, new_head=False, from_plain=False):
    """Arrays {key: NDArray or numpy} into net. Returns lines that tell what was not simply copied.

    Takes the original's keys, ours, the seed's and Gluon's, under any common prefix ('module.', 'backbone.').
    new_head: the classifier stays as it is drawn. from_plain: the source is the plain network of an IBN one.
    ValueError lists what is left over on either side and the wrong shapes; net is then untouched.
    """
    arrays = {k: v.asnumpy() if isinstance(v, mx.nd.NDArray) else np.asarray(v) for k, v in source.items()}
    for key, array in arrays.items():
        if not isinstance(key, str) or array.dtype.kind not in 'biuf':
            raise ValueError(f'{key!r} is no array of real numbers under a name: {array.dtype} {array.shape}')
    params = net.collect_params()
    wanted = [*params, *net.left_out] if hasattr(net, 'left_out') else list(params)
    notes = []
    if from_plain:
        if names.plain(wanted) == wanted:
            raise OptionError('init_from_plain', None, ': the network is a plain one, leave it out')
        arrays = {key: array for key, array in arrays.items() if not key.endswith(PROGRESS)}  # of other norms
        match = _match(net, arrays, names.plain(wanted))
        match = match._replace(arrays=net.spread(match.arrays))
        notes.append(f'{len(match.arrays)} arrays from the plain network, the norms of IBN split between their halves')
    else:
        match = _match(net, arrays, wanted)
    fitting = {n: a for n, a in match.arrays.items() if n in params}
    fitting, heads = _head(params, fitting, new_head)
    faults = [f for f in match.faults if not (new_head and f.startswith(HEAD))] + _misfits(
        params, fitting, match.origin
    )
    if faults:
        raise OptionError(None, None, _told(net, arrays, wanted, faults, from_plain))
    anew = [n for n in params if n.endswith(PROGRESS) and n not in fitting]
    if anew:
        notes.append(f'{len(anew)} counters and moments that only training needs begin anew')
    for name, array in fitting.items():
        _set(params[name], array)
    for name in params:
        if params[name]._data is None:
            params[name].initialize()
    return notes + heads


def fits(net, arrays):
    """Return True if load(net, arrays) would take every array as it is."""
    match = _match(net, arrays, [*net.collect_params(), *net.left_out])
    return not match.faults and not _misfits(net.collect_params(), match.arrays, match.origin)


def _match(net, arrays, wanted):
    """The layout and prefix under which most of the wanted names are found."""
    keys: dict[str, str] = {}
    faults = []
    for key in arrays:
        if not key.endswith(IGNORED):
            same = names.substituted(key, names.SAME)
            if same in keys:
                faults.append(f'{key} and {keys[same]} are both {same}')
            keys[same] = key
    best: tuple[dict[str, str], str] = {}, ''
    for layout in names.layouts(net, wanted):
        layout = {name: names.substituted(key, names.SAME) for name, key in layout.items()}
        anchors = [layout[n] for n in names.STEM if n in layout]
        prefixes = {''} | {k[: -len(a)] for a in anchors for k in keys if k.endswith('.' + a)}
        for prefix in sorted(prefixes):
            matched = {name: keys[prefix + key] for name, key in layout.items() if prefix + key in keys}
            if len(matched) > len(best[0]):
                best = matched, prefix
    matched, prefix = best
    used = set(matched.values())
    optional = {*getattr(net, 'left_out', ()), *(n for n in wanted if n.endswith(PROGRESS))}
    missing = [n for n in wanted if n not in matched and n not in optional]
    faults += [f'{n} is missing' for n in missing]
    faults += [f'{key} has no place in the network' for key in keys.values() if key not in used]
    return Match({name: arrays[key] for name, key in matched.items()}, matched, faults)


def _head(params, fitting, new_head):
    """Without the classifier where it starts anew."""
    if not new_head or HEAD[0] not in params:
        return fitting, []
    theirs, ours = (
        len(a[HEAD[0]]) if HEAD[0] in a else None for a in (fitting, {n: p.shape for n, p in params.items()})
    )
    ours = params[HEAD[0]].shape[0]
    of = f' of {theirs}' if theirs is not None else ''
    rest = {n: a for n, a in fitting.items() if n not in HEAD}
    return rest, [f'a new classifier of {ours} classes in the place of that{of}']


def _misfits(params, fitting, origin):
    lines = []
    for name, array in fitting.items():
        if name not in params or tuple(array.shape) == tuple(params[name].shape or ()):
            continue
        line = f'{origin.get(name, name)} has shape {tuple(array.shape)}, the network needs {params[name].shape}'
        if name in HEAD and array.ndim:
            line += f' ({len(array)} classes, not {params[name].shape[0]}: `new_head` starts a classifier of its own)'
        lines.append(line)
    return lines


def _told(net, arrays, wanted, faults, from_plain):
    shown = '; '.join(faults[:SHOWN]) + (f'; and {len(faults) - SHOWN} more' if len(faults) > SHOWN else '')
    hint = ''
    if not from_plain and names.plain(wanted) != wanted and not _match(net, arrays, names.plain(wanted)).faults:
        hint = ' (they are those of the plain network: `init_from_plain` starts from it)'
    return f'the weights do not fit the network{hint}, {len(faults)} faults: {shown}'


def _set(param, array):
    if param._data is None:
        param.initialize(init=mx.init.Zero(), ctx=param.list_ctx() if param._deferred_init else None)
    param.set_data(mx.nd.array(array))
