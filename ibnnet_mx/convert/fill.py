"""Put arrays, under any known names, into the parameters of a network: all of them or none."""

from __future__ import annotations

from typing import NamedTuple

import mxnet as mx
import numpy as np

from ibnnet_mx.convert import choose, names
from ibnnet_mx.convert import heads as outer
from ibnnet_mx.errors import OptionError
from ibnnet_mx.norm import PROGRESS

HEAD = ('fc1_weight', 'fc1_bias')
SHOWN = 20  # an error lists at most so many faults
IGNORED = ('num_batches_tracked', '.sta_matrix')  # counters of BatchNorm, and a constant that MABN's code stores
TOOLS = ('total_ops', 'total_params', 'pixel_mean', 'pixel_std', 'n_averaged')  # buffers of profilers and trainers


class Match(NamedTuple):
    """The layout of names that fits best.

    arrays: {our name: array}. origin: {our name: key of the source}. faults: a line for each name without a partner.
    outside: keys of heads and necks outside of the body. notes: lines about what was passed over.
    """

    arrays: dict
    origin: dict
    faults: list
    outside: list
    notes: list


def load(net, source, new_head=False, from_plain=False):
    """Put arrays {key: NDArray or numpy} into net. Return lines about everything that was not simply copied.

    Keys may be PyTorch's, ours, GluonCV's or Gluon's, under any common prefix ('module.', 'backbone.').
    A classifier outside of the body (head.fc.*) is used if it fits. Other heads and necks are left out with new_head,
    and for a network without a classifier.

    new_head: the classifier keeps its initial values. from_plain: the source is the plain network of this IBN network.
    Raises ValueError, which lists names without a partner and wrong shapes; net is then untouched.
    """
    arrays = {k: v.asnumpy() if isinstance(v, mx.nd.NDArray) else np.asarray(v) for k, v in source.items()}
    for key, array in arrays.items():
        if not isinstance(key, str) or array.dtype.kind not in 'biuf':
            raise ValueError(f'{key!r} must be a name with an array of real numbers, not {array.dtype} {array.shape}')
    params = net.collect_params()
    expected = [*params, *net.left_out] if hasattr(net, 'left_out') else list(params)
    notes = list(getattr(source, 'notes', ()))
    if from_plain:
        if names.plain(expected) == expected:
            raise OptionError('init_from_plain', None, ': the network is plain itself; leave it out')
        arrays = {key: array for key, array in arrays.items() if not key.endswith(PROGRESS)}  # counters
        match = _match(net, arrays, names.plain(expected))
        match = match._replace(arrays=net.spread(match.arrays))
        notes.append(f'{len(match.arrays)} arrays from the plain network; norms of IBN are split between its halves')
    else:
        match = _match(net, arrays, expected)
    fitting = {n: a for n, a in match.arrays.items() if n in params}
    fitting, heads = _head(params, fitting, new_head)
    faults = [f for f in match.faults if not (new_head and f.startswith(HEAD))] + _misfits(
        params, fitting, match.origin
    )
    notes += match.notes
    if match.outside and (new_head or HEAD[0] not in params):
        notes.append(outer.describe(match.outside))
    else:
        faults += [f'{key} has no place in the network (`new_head` leaves it out)' for key in match.outside]
    if faults:
        raise OptionError(None, None, _advice(net, arrays, expected, faults, from_plain))
    restarted = [n for n in params if n.endswith(PROGRESS) and n not in fitting]
    if restarted:
        notes.append(f'{len(restarted)} counters and moments that only training needs start anew')
    for name, array in fitting.items():
        _set(params[name], array)
    for name in params:
        if params[name]._data is None:
            params[name].initialize()
    return notes + heads


def fits(net, arrays):
    """Return True if load(net, arrays) would take every array as it is."""
    match = _match(net, arrays, [*net.collect_params(), *net.left_out])
    return not match.faults and not match.outside and not _misfits(net.collect_params(), match.arrays, match.origin)


def _match(net, arrays, expected):
    """Return the Match of the layout and prefix under which most of the expected names are found."""
    tools = sorted({tool for key in arrays for tool in TOOLS if key.endswith(tool)})
    notes = [f'counters and constants of tools are ignored: {", ".join(tools)}'] if tools else []
    keys: dict[str, str] = {}
    faults = []
    for key in arrays:
        if not key.endswith((*IGNORED, *TOOLS)):
            spelling = names.substituted(key, names.SAME)
            if spelling in keys:
                faults.append(f'{key} and {keys[spelling]} both mean {spelling}')
            keys[spelling] = key
    best: tuple[dict[str, str], str] = {}, ''
    complete: list[str] = []  # prefixes with equally many names: copies of one network
    for layout in names.layouts(net, expected):
        layout = {name: names.substituted(key, names.SAME) for name, key in layout.items()}
        anchors = [layout[n] for n in names.STEM if n in layout]
        prefixes = {''} | {k[: -len(a)] for a in anchors for k in keys if k.endswith('.' + a)}
        for prefix in sorted(prefixes):
            matched = {name: keys[prefix + key] for name, key in layout.items() if prefix + key in keys}
            if len(matched) > len(best[0]):
                best, complete = (matched, prefix), []
            if len(matched) == len(best[0]) and prefix not in complete:
                complete.append(prefix)
            if prefix in complete and choose.is_averaged(prefix) and not choose.is_averaged(best[1]):
                best = matched, prefix
    matched, prefix = best
    used = set(matched.values())
    copies = tuple(other for other in complete if other != prefix) if choose.is_averaged(prefix) else ()
    if copies and all(copies):
        others = ', '.join(copies)
        notes.append(f'takes the averaged weights {prefix}*; the file also has {others}: `weights_key` chooses')
        keys = {spelling: key for spelling, key in keys.items() if not spelling.startswith(copies)}
    rest, outside = outer.split(prefix, [spelling for spelling, key in keys.items() if key not in used])
    params = net.collect_params()
    wanted = {n: tuple(params[n].shape) for n in HEAD if n in params and n not in matched}
    shapes = {spelling: arrays[keys[spelling]].shape for spelling in outside}
    classifier = outer.classifier_of(outside, shapes, wanted) if wanted else {}
    if classifier:
        matched = {**matched, **{name: keys[spelling] for name, spelling in classifier.items()}}
        notes.append(f'the classifier is {keys[classifier[HEAD[0]]]}')
        outside = []
    optional = {*getattr(net, 'left_out', ()), *(n for n in expected if n.endswith(PROGRESS))}
    missing = [n for n in expected if n not in matched and n not in optional]
    faults += [f'{n} is missing' for n in missing]
    faults += [f'{keys[spelling]} has no place in the network' for spelling in rest]
    outside = [keys[spelling] for spelling in outside]
    return Match({name: arrays[key] for name, key in matched.items()}, matched, faults, outside, notes)


def _head(params, fitting, new_head):
    """Return the arrays, without the classifier's if a new one starts, and lines about that."""
    if not new_head or HEAD[0] not in params:
        return fitting, []
    theirs, ours = (
        len(a[HEAD[0]]) if HEAD[0] in a else None for a in (fitting, {n: p.shape for n, p in params.items()})
    )
    ours = params[HEAD[0]].shape[0]
    of = f' of {theirs}' if theirs is not None else ''
    rest = {n: a for n, a in fitting.items() if n not in HEAD}
    return rest, [f'a new classifier of {ours} classes replaces the one{of}']


def _misfits(params, fitting, origin):
    lines = []
    for name, array in fitting.items():
        if name not in params or tuple(array.shape) == tuple(params[name].shape or ()):
            continue
        line = f'{origin.get(name, name)} has shape {tuple(array.shape)}, the network needs {params[name].shape}'
        if name in HEAD and array.ndim:
            line += f' ({len(array)} classes, not {params[name].shape[0]}: `new_head` starts a new classifier)'
        lines.append(line)
    return lines


def _advice(net, arrays, expected, faults, from_plain):
    """Return the text of the error: the faults, and the option that helps if the weights are a plain network's."""
    shown = '; '.join(faults[:SHOWN]) + (f'; and {len(faults) - SHOWN} more' if len(faults) > SHOWN else '')
    hint = ''
    plain = names.plain(expected)
    if not from_plain and plain != expected and not _match(net, arrays, plain).faults:
        hint = ' (they belong to the plain network: `init_from_plain` starts from it)'
    return f'the weights do not fit the network{hint}, {len(faults)} faults: {shown}'


def _set(param, array):
    if param._data is None:
        param.initialize(init=mx.init.Zero(), ctx=param.list_ctx() if param._deferred_init else None)
    param.set_data(mx.nd.array(array))
