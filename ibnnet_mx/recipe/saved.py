"""Recipes in the .json of a checkpoint. Pure Python."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any, Mapping

from ibnnet_mx.recipe import AUGMENT, EXIF, SCHEDULES, Recipe, check_values


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe for a checkpoint's .json."""
    return asdict(recipe)


def _tuples(value: Any) -> Any:
    """Return a JSON value with its lists as tuples, nested lists included."""
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value


CHOICES: dict[str, tuple[Any, ...]] = {
    'data_type': ('imagenet', 'cifar10'),
    'optimizer': ('sgd', 'nag'),
    'dtype': ('float32', 'bfloat16'),
    'schedule': SCHEDULES,
    'aug_level': tuple(AUGMENT),
    'exif': EXIF,
}


def _is(kind: str, value: Any) -> bool:
    """Return True if a value has the declared type `kind` of a field of Recipe."""
    if kind.endswith(' | None'):
        return value is None or _is(kind[: -len(' | None')], value)
    if kind.startswith('tuple['):
        parts = kind[len('tuple[') : -1]
        if not isinstance(value, tuple):
            return False
        if parts.endswith(', ...'):
            return all(_is(parts[: -len(', ...')], part) for part in value)
        kinds = parts.split(', ')
        return len(kinds) == len(value) and all(map(_is, kinds, value))
    known: dict[str, tuple[type, ...]] = {'str': (str,), 'bool': (bool,), 'int': (int,), 'float': (int, float)}
    return type(value) in known.get(kind, (int, float, str))


def from_dict(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a checkpoint's .json. Unknown names are ignored. Raises ValueError if it is damaged."""
    known = {f.name: f for f in fields(Recipe)}
    known_values: dict[str, Any] = {k: _tuples(v) for k, v in values.items() if k in known}
    for key, value in known_values.items():
        if not _is(str(known[key].type), value) or value not in CHOICES.get(key, (value,)):
            raise ValueError(f'the recipe of the checkpoint is damaged: its {key} cannot be {str(value)[:60]!r}')
    try:
        recipe = Recipe(**known_values)
        check_values(recipe)
    except TypeError:
        raise ValueError(f'the recipe of the checkpoint is damaged: {known_values}') from None
    return recipe
