"""The facts of a checkpoint: the contents of its .json, and the rules that each fact must keep. No mxnet."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Callable, NamedTuple, Union

from ibnnet_mx.size import MAX_SIDE

DEEPEST = 20  # nested levels that a .json may have; ours have five
COUNTS = 1 << 31  # largest count


class Inside(NamedTuple):
    """A place within an epoch: after whole epochs and some batches of the next."""

    epoch: int
    batch: int


Place = Union[int, Inside]  # an int: the end of that many epochs


def _is_count(value: Any, least: int = 0, most: int = COUNTS) -> bool:
    return type(value) is int and least <= value <= most


def _is_size(value: Any) -> bool:
    """Return True for a side, or for [height, width]."""
    sides = value if isinstance(value, (list, tuple)) and len(value) == 2 else [value]
    return all(_is_count(side, 1, MAX_SIDE) for side in sides)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_planes(value: Any, least: float) -> bool:
    """Return True for three numbers above `least`, one for each RGB plane."""
    return (
        isinstance(value, (list, tuple)) and len(value) == 3 and all(_is_number(v) and least < v < 1e6 for v in value)
    )


def _are_pixels(value: Any) -> bool:
    return isinstance(value, dict) and _are_planes(value.get('mean'), -1e6) and _are_planes(value.get('std'), 0)


def _are_names(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _are_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_number(number) for number in value.values())


def _are_shares(value: Any) -> bool:
    """Return True for one table of sums for each worker, with the count of its pictures as 'samples'."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(_are_numbers(share) and 0 <= share.get('samples', -1) < COUNTS for share in value)
    )


def _are_metrics(value: Any) -> bool:
    return isinstance(value, dict) and all(_are_numbers(table) for table in value.values())


def _is_best(value: Any) -> bool:
    return _are_numbers(value) and _is_count(value.get('epoch')) and 'value' in value


def _are_places(value: Any) -> bool:
    pairs = isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in value)
    return pairs and all(_is_count(number) for pair in value for number in pair)


def _are_files(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(file, dict) for file in value.values())


def _fact(fits: Callable[[Any], bool], default: Any = None, optional: bool = True) -> Any:
    """Return the dataclass field of a fact. fits: function value -> bool. optional: None (not known) is allowed."""
    return field(default=default, metadata={'fits': fits, 'optional': optional})


@dataclass(frozen=True)
class Facts:
    """The facts of a checkpoint. None: not known, or this kind of checkpoint has no such fact.

    model: full name of the network. recipe: that of the run, {} for converted weights. files: {name: {bytes, sha256}}.
    network: options of models.create() that converted weights were built with. pixels: {order, mean, std}.
    classes, class_names, size (pixels; a side or [height, width]): of the network. init: where a run's first weights
    came from. run: its id. workers: how many trained. computed: circumstances that change the last bits, {name: text}.
    log: the run's log file, relative to the folder of the prefix. best: {'epoch', 'value'}, the best validation so far.
    metrics: {'train' or 'validation': {metric: mean}}. left_out: [epoch, batch] pairs. epoch, batch: the place; batch
    is None at the end of an epoch. Within an epoch there are steps (batches of the epoch) and shares (sums over each
    worker's pictures so far).
    """

    model: str = _fact(_is_text, optional=False)
    files: dict = _fact(_are_files, optional=False)
    recipe: dict = _fact(lambda value: isinstance(value, dict), optional=False)
    version: str | None = _fact(_is_text)
    run: str | None = _fact(_is_text)
    depth: int | None = _fact(lambda value: _is_count(value, 1))
    norm: str | None = _fact(_is_text)
    network: dict | None = _fact(lambda value: isinstance(value, dict))
    classes: int | None = _fact(lambda value: _is_count(value, 1))
    class_names: list | None = _fact(_are_names)
    size: Any = _fact(_is_size)
    pixels: dict | None = _fact(_are_pixels)
    init: Any = _fact(lambda value: isinstance(value, dict))
    workers: int = _fact(lambda value: _is_count(value, 1), default=1, optional=False)
    metrics: dict = field(default_factory=dict, metadata={'fits': _are_metrics, 'optional': False})
    left_out: list = field(default_factory=list, metadata={'fits': _are_places, 'optional': False})
    shares: list | None = _fact(_are_shares)
    computed: dict | None = _fact(_are_texts)
    log: str | None = _fact(_is_text)
    best: dict | None = _fact(_is_best)
    steps: int | None = _fact(lambda value: _is_count(value, 1))
    epoch: int = _fact(_is_count, default=0, optional=False)
    batch: int | None = _fact(_is_count)

    @property
    def place(self) -> Place:
        """The place at which the checkpoint was saved."""
        return self.epoch if self.batch is None else Inside(self.epoch, self.batch)

    @property
    def validated(self) -> bool:
        """True if the run was validated at the end of this epoch."""
        return self.batch is not None or 'validation' in self.metrics

    def at(self, place: Place, **changes: Any) -> Facts:
        """Return these facts for another place. changes: facts that differ there."""
        epoch, batch = place if isinstance(place, Inside) else (place, None)
        return replace(self, epoch=epoch, batch=batch, **changes)

    def to_json(self) -> bytes:
        """Return the bytes of the .json; facts that are not known are left out."""
        known = {each.name: getattr(self, each.name) for each in fields(self)}
        return json.dumps({key: value for key, value in known.items() if value is not None}, indent=1).encode()


KINDS: dict[str, Callable[[Any], bool]] = {each.name: each.metadata['fits'] for each in fields(Facts)}
OPTIONAL = {each.name for each in fields(Facts) if each.metadata['optional']}
NEEDED = ('model', 'files', 'recipe')


def parse_facts(data: bytes, path: Path) -> Facts:
    """Return the facts of a .json's bytes. Names that this version does not know are ignored.

    Raises ValueError, which names the file and the fact that is wrong.
    """
    try:
        values = json.loads(data.decode('utf-8'))
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or _depth(values) > DEEPEST or any(key not in values for key in NEEDED):
        raise ValueError(f'{path} is damaged: not the description of a checkpoint')
    known = {key: value for key, value in values.items() if key in KINDS}
    for key, value in known.items():
        if not (value is None and key in OPTIONAL) and not KINDS[key](value):
            raise ValueError(f'{path} is damaged: its {key} cannot be {json.dumps(value)[:60]}')
    return Facts(**known)


def _depth(value: Any) -> int:
    """Return the levels of a JSON value, without recursion."""
    level, depth = [value], 0
    while level:
        inner = [list(v.values()) if isinstance(v, dict) else v for v in level if isinstance(v, (dict, list))]
        level, depth = [part for parts in inner for part in parts], depth + 1
    return depth
