"""The runs under one prefix: which checkpoints belong to which run, and an older run's set aside.

Every run has an id, which stands in the facts of its checkpoints. A new run may have the prefix of an older one. Until
its first save the older checkpoints are untouched. That save writes its own files beside them first, then moves the
older ones to PREFIX-old-1/ (or -2, ...), then gives its own their names. So no checkpoint is ever lost, and a killed
run never goes on as another one.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Any, Iterable, Sequence

from ibnnet_mx.checkpoint.facts import Facts, Inside, Place
from ibnnet_mx.files import atomic

KINDS = ('params', 'states', 'json')


def new_id() -> str:
    """Return the id of a new run."""
    return secrets.token_hex(8)


def key_of(facts: Facts) -> Any:
    """Return what the checkpoints of one run have in common: its id, or without one what identifies its recipe."""
    if facts.run is not None:
        return facts.run
    return (facts.model, *(str(facts.recipe.get(name)) for name in ('name', 'seed', 'lr')))


def as_inside(place: Place) -> Inside:
    """Return a place in a form that can be compared with other places."""
    return place if isinstance(place, Inside) else Inside(place, 0)


def of_last_run(store: Any, places: Iterable[Place]) -> list[tuple[Place, Facts | ValueError]]:
    """Return the places of the run that wrote last with their facts, the newest first.

    A place whose .json cannot be read stays among them, with its error, so that the reason is told.
    """
    facts: dict[Place, Facts | ValueError] = {}
    written: dict[Place, int] = {}
    for place in places:
        try:
            facts[place] = known = store.facts(place)
            if known.recipe:  # {} has a file that is damaged, or of converted weights
                written[place] = store.path(place, 'json').stat().st_mtime_ns
        except ValueError as error:
            facts[place] = error
    last = max(written, key=lambda place: (written[place], as_inside(place)), default=None)

    def is_chosen(place: Place) -> bool:
        known, newest = facts[place], facts.get(last) if last is not None else None
        if isinstance(known, ValueError) or newest is None or isinstance(newest, ValueError):
            return True
        return key_of(known) == key_of(newest)

    return [(place, facts[place]) for place in sorted(facts, key=as_inside, reverse=True) if is_chosen(place)]


class History:
    """The checkpoints under a prefix that a run did not come from. They are set aside at its first save.

    facts: of the run. since: the place that it goes on from; None: it is a new run. tell: function of a line.
    """

    def __init__(self, store: Any, facts: Facts, since: Place | None, tell: Any) -> None:
        self._store, self._key, self._since, self._tell = store, key_of(facts), since, tell
        self._settled = False

    def settle(self) -> None:
        """Move the files of other runs, and of places behind `since`, to PREFIX-old-N/. Only the first call does it."""
        if self._settled:
            return
        places = [place for place in _places(self._store) if not self._is_mine(place)]
        if places:
            try:
                folder = _set_aside(self._store, places)
            except BaseException:
                undo(self._store.prefix)
                raise
            epochs = sorted({as_inside(place).epoch for place in places})
            span = f'{epochs[0]:04d}' + (f' to {epochs[-1]:04d}' if len(epochs) > 1 else '')
            whose = 'an earlier run' if self._since is None else 'what came after it before'
            self._tell(f'{self._store.prefix}-{span}, the checkpoints of {whose}, are in {folder}{os.sep} now')
        self._settled = True

    def _is_mine(self, place: Place) -> bool:
        if self._since is None or as_inside(place) > as_inside(self._since):
            return False
        try:
            return key_of(self._store.facts(place)) == self._key
        except ValueError:
            return True  # damaged, or without a .json: it is left where it is


def _places(store: Any) -> list[Place]:
    """Return the places of which there is any file."""
    folder, name = os.path.split(store.prefix)
    places: set[Place] = {place for place, _ in store.files_within()}
    with contextlib.suppress(OSError):
        for file in os.listdir(folder or '.'):
            number = re.fullmatch(rf'{re.escape(name)}-(\d{{4,}})\.({"|".join(KINDS)})', file)
            if number and f'{int(number[1]):04d}' == number[1]:
                places.add(int(number[1]))
    return sorted(places, key=as_inside)


def _set_aside(store: Any, places: Sequence[Place]) -> Path:
    """Move the files of places, with a copy of the symbol, to a new folder. Return it. undo() ends a killed move."""
    number = 1
    while os.path.lexists(f'{store.prefix}-old-{number}'):
        number += 1
    folder = Path(f'{store.prefix}-old-{number}')
    part = Path(f'{folder}{atomic.PART}')
    home = store.symbol_path.parent
    part.mkdir()
    for place in places:
        for kind in KINDS:
            path = store.path(place, kind)
            if path.exists():
                new = part / path.relative_to(home)
                new.parent.mkdir(exist_ok=True)
                atomic.rename(path, new)
    if store.symbol_path.exists():
        atomic.write_file(part / store.symbol_path.name, store.symbol_path.read_bytes())
    atomic.rename(part, folder)
    return folder


def undo(prefix: str) -> None:
    """Move the files of a move that was killed back to their places."""
    folder, name = os.path.split(prefix)
    home = Path(folder or '.')
    for part in home.glob(f'*-old-*{atomic.PART}'):
        if not re.fullmatch(rf'{re.escape(name)}-old-\d+{re.escape(atomic.PART)}', part.name) or not part.is_dir():
            continue
        for path in sorted(part.rglob('*')):
            old = home / path.relative_to(part)
            if path.is_file() and not old.exists():
                old.parent.mkdir(exist_ok=True)
                atomic.rename(path, old)
        shutil.rmtree(part)
