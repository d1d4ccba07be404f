"""The .json of a checkpoint: read, and held against what it must be before any of it is used. No mxnet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

DEEPEST = 20  # levels of lists and objects; ours have five
SIDE = 4096  # pixels
COUNTS = 1 << 31


def _depth(value: Any) -> int:
    """Levels of a JSON value, without recursion."""
    level, depth = [value], 0
    while level:
        inner = [list(v.values()) if isinstance(v, dict) else v for v in level if isinstance(v, (dict, list))]
        level, depth = [part for parts in inner for part in parts], depth + 1
    return depth


def _count(value: Any, least: int = 0, most: int = COUNTS) -> bool:
    return type(value) is int and least <= value <= most


def _number(value: Any) -> bool:
    return type(value) in (int, float)


def _planes(value: Any, least: float) -> bool:
    """Three numbers of RGB planes."""
    return isinstance(value, list) and len(value) == 3 and all(_number(v) and least < v < 1e6 for v in value)


def _pixels(value: Any) -> bool:
    return isinstance(value, dict) and _planes(value.get('mean'), -1e6) and _planes(value.get('std'), 0)


def _names(value: Any) -> bool:
    return value is None or isinstance(value, list) and all(isinstance(name, str) for name in value)


def _shares(value: Any) -> bool:
    """Of each worker."""
    return (
        isinstance(value, list) and bool(value) and all(_table(v) and 0 <= v.get('samples', -1) < COUNTS for v in value)
    )


def _table(value: Any) -> bool:
    return isinstance(value, dict) and all(_number(number) for number in value.values())


def _metrics(value: Any) -> bool:
    return isinstance(value, dict) and all(_table(table) for table in value.values())


def _places(value: Any) -> bool:
    pairs = isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in value)
    return pairs and all(_count(number) for pair in value for number in pair)


NEEDED = ('model', 'files', 'recipe')
KINDS: dict[str, Callable[[Any], bool]] = {
    'model': lambda value: isinstance(value, str),
    'files': lambda value: isinstance(value, dict) and all(isinstance(file, dict) for file in value.values()),
    'recipe': lambda value: isinstance(value, dict),
    'classes': lambda value: _count(value, 1),
    'class_names': _names,
    'size': lambda value: _count(value, 1, SIDE),
    'pixels': _pixels,
    'batch': _count,
    'steps': lambda value: _count(value, 1),
    'shares': _shares,
    'workers': lambda value: _count(value, 1),
    'metrics': _metrics,
    'left_out': _places,
}


def read(path: Path) -> dict[str, Any]:
    """The facts that a .json holds. ValueError names the file and what is wrong."""
    try:
        facts = json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise ValueError(f'{path} cannot be read: {error.strerror}') from None
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict) or _depth(facts) > DEEPEST or any(key not in facts for key in NEEDED):
        raise ValueError(f'{path} is damaged: not the description of a checkpoint')
    for key, fits in KINDS.items():
        if key in facts and not fits(facts[key]):
            raise ValueError(f'{path} is damaged: its {key} cannot be {json.dumps(facts[key])[:60]}')
    return facts
