"""Choose among several weights in one file: raw and averaged ones, a teacher and a student, the states of an optimiser.

Averaged weights are taken where both are there, as timm does, and what was taken is told.
"""

from __future__ import annotations

import re
from typing import Any, Iterator

from ibnnet_mx.errors import OptionError

WRAPPERS = {'state_dict', 'model_state_dict', 'model', 'net', 'weights', 'module', 'params', 'network', 'backbone'}
AVERAGED = {'ema', 'swa', 'teacher', 'averaged'}  # words of names
OTHER = {'optimizer', 'optim', 'optimizers', 'lr_scheduler', 'scheduler', 'scaler', 'amp', 'loss', 'criterion'}
DEEPEST = 6  # nested dicts
MOST = 10_000  # dicts that are looked into
ALIKE = 0.9  # a table with so many of the largest one's tensors is another set of the same weights


class Weights(dict):
    """The arrays of a file, {key: array}. notes: lines that say which of several weights these are. chosen: True if
    the user's key named them. names: of all tables of the file that it may name.
    """

    def __init__(
        self, arrays: Any = (), notes: list[str] | None = None, chosen: bool = False, names: tuple[str, ...] = ()
    ) -> None:
        super().__init__(arrays)
        self.notes, self.chosen, self.names = notes or [], chosen, names


def is_averaged(name: str) -> bool:
    """Return True for a name of averaged weights: model_ema, state_dict_ema, teacher, ema.module."""
    return bool(AVERAGED & set(re.split(r'[._]', name.lower())))


def tables(content: dict, kind: Any) -> dict[str, dict[str, Any]]:
    """Return {dotted name: {key: tensor}} of all nested dicts that have tensors; '' names the outermost one."""
    named: dict[str, dict[str, Any]] = {}
    for path, mapping in _dicts(content):
        tensors = {key: value for key, value in mapping.items() if type(key) is str and isinstance(value, kind)}
        if tensors:
            named['.'.join(path)] = tensors
    return named


def _dicts(content: dict) -> Iterator[tuple[tuple[str, ...], dict]]:
    """Yield (path, dict) of nested dicts, the outer ones first, without the states of optimisers and the like."""
    level: list[tuple[tuple[str, ...], dict]] = [((), content)]
    seen = 0
    for _ in range(DEEPEST):
        inner = []
        for path, mapping in level:
            yield path, mapping
            for key, value in mapping.items():
                if type(key) is str and isinstance(value, dict) and key.lower() not in OTHER:
                    seen += 1
                    if seen > MOST:
                        return
                    inner.append(((*path, key), value))
        level = inner


def choose_table(content: dict, kind: Any, key: str | None = None) -> Weights:
    """Return the tensors of the weights among all nested dicts; no tensors if there are none.

    key: the dotted name of the dict to take, such as 'state_dict'; None: the averaged ones, else the largest.
    """
    named = tables(content, kind)
    if key is not None and key in named:
        return Weights(named[key], chosen=True)
    if not named:
        return Weights()
    most = max(map(len, named.values()))
    alike = [name for name, tensors in named.items() if len(tensors) >= ALIKE * most]

    def rank(name: str) -> tuple[bool, bool, bool, int]:
        usual = all(part in WRAPPERS or is_averaged(part) for part in name.split('.') if part)
        return is_averaged(name), name != '', usual, len(named[name])  # a number may lie beside the weights

    chosen = max(alike, key=rank)  # the first of equal ones
    if key is not None:
        return Weights(named[chosen], names=tuple(named))  # the key may be a prefix of the names in it
    others = ', '.join(name or 'the names outside' for name in alike if name != chosen)
    notes = []
    if others:
        kind_of = 'averaged weights' if is_averaged(chosen) else 'weights'
        notes.append(f'takes the {kind_of} {chosen}; the file also has {others}: `weights_key` chooses')
    elif not rank(chosen)[2]:
        notes.append(f'takes the weights {chosen}')
    return Weights(named[chosen], notes)


def of_prefix(arrays: Weights, key: str) -> Weights:
    """Return the arrays whose names begin with KEY. (without it). Raises OptionError for weights_key."""
    chosen = {name[len(key) + 1 :]: array for name, array in arrays.items() if name.startswith(f'{key}.')}
    if not chosen:
        names = [*filter(None, arrays.names), *sorted({name.split('.')[0] for name in arrays})]
        shown = ', '.join(names[:10]) + (', ...' if len(names) > 10 else '')
        raise OptionError('weights_key', key, f'is none of the names in the file: {shown}')
    return Weights(chosen, arrays.notes)
