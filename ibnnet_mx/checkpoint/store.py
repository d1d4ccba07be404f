"""The checkpoints of one prefix.

An epoch has PREFIX-symbol.json, PREFIX-0003.params, PREFIX-0003.states and, written last, PREFIX-0003.json.

A checkpoint within an epoch is PREFIX-inside/0003-000150.params and so on: after 3 epochs and 150 batches.
The .json holds the facts, and size and SHA-256 of the other files. No other room knows file names.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any, Iterable, Iterator, NamedTuple

import mxnet as mx

from ibnnet_mx.checkpoint import runs
from ibnnet_mx.checkpoint.best import scores, without_facts
from ibnnet_mx.checkpoint.facts import Facts, Inside, Place, parse_facts
from ibnnet_mx.checkpoint.runs import as_inside
from ibnnet_mx.checkpoint.symbols import graph_of, inputs_of, is_symbol_of
from ibnnet_mx.checkpoint.writing import alone, write_files
from ibnnet_mx.errors import OptionError
from ibnnet_mx.files import params_file
from ibnnet_mx.files.state import WHOLE, Verdict, damaged
from ibnnet_mx.metrics.improvement import best_of


class Opened(NamedTuple):
    """A checkpoint whose files were read once, so that the verified bytes are the bytes in use.

    params: {name: array} without 'arg:' and 'aux:'. states: the optimiser's {name: array}, None if it was not asked
    for or never written. params_path, states_path: the files, for messages.
    """

    place: Place
    facts: Facts
    params: dict
    states: dict | None
    params_path: Path
    states_path: Path

    def release(self) -> None:
        """Give the arrays back to the system: a run that was restored has its own."""
        self.params.clear()
        if self.states is not None:
            self.states.clear()


def put_params(net: Any, opened: Opened) -> None:
    """Put a checkpoint's arrays into a network by their names. Raises ValueError, which names the file."""
    params, arrays = net.collect_params(), opened.params
    wrong = set(arrays) ^ set(inputs_of(net)) or {n for n in arrays if arrays[n].shape != params[n].shape}
    if wrong:
        raise ValueError(f'{opened.params_path} does not fit the network: {", ".join(sorted(wrong)[:5])}')
    for name, array in arrays.items():
        params[name].set_data(mx.nd.array(array))


def restore(run: Any, opened: Opened) -> None:
    """Put weights, optimiser state and place of a checkpoint into a run. Raises ValueError, which names the file."""
    put_params(run.net, opened)
    try:
        run.set_states(opened.states)
    except ValueError as error:
        raise ValueError(f'{opened.states_path} cannot be used: {error}') from None
    facts = opened.facts
    share = dict(facts.shares[run.cluster.rank]) if facts.shares else {'samples': 0}
    run.go_on(facts.epoch, facts.batch or 0, [int(share.pop('samples')), share])
    run.left_out |= {(epoch, batch) for epoch, batch in facts.left_out}


class Store:
    """The checkpoints of one prefix. keep: how many of the newest stay (None: all); the best always does."""

    def __init__(self, prefix: Any, keep: int | None = None) -> None:
        if keep is not None and keep < 1:
            raise OptionError('keep', keep, 'must be at least 1')
        self.prefix, self.keep = str(prefix), keep
        self._history: runs.History | None = None
        self._facts: dict[Path, tuple[Any, Facts]] = {}  # with the state of the file that they were read from

    def path(self, place: Place, kind: str) -> Path:
        """Return the file of a place. kind: 'params', 'states' or 'json'."""
        if isinstance(place, Inside):
            return self._inside / f'{place.epoch:04d}-{place.batch:06d}.{kind}'
        return Path(f'{self.prefix}-{place:04d}.{kind}')

    @property
    def _inside(self) -> Path:
        return Path(f'{self.prefix}-inside')

    @property
    def symbol_path(self) -> Path:
        return Path(f'{self.prefix}-symbol.json')

    def prepare(self) -> None:
        """Make the prefix's folder, and remove unfinished files of killed saves.

        Raises OptionError for model_prefix if that cannot be done.
        """
        folder = self.symbol_path.parent
        if not os.path.basename(self.prefix):
            raise OptionError('model_prefix', self.prefix, f'must end in a name, such as {self.prefix}resnet')
        try:
            folder.mkdir(parents=True, exist_ok=True)
            writable = os.access(folder, os.W_OK)
        except OSError as error:
            raise OptionError('model_prefix', self.prefix, f': {error.strerror}: {error.filename}') from None
        if not writable:
            raise OptionError('model_prefix', self.prefix, f': no permission to write in {folder}')
        runs.undo(self.prefix)
        name = os.path.basename(self.prefix)
        for part in (path for path in folder.glob('*.part') if path.name.startswith(f'{name}-')):
            part.unlink(missing_ok=True)

    def alone(self) -> Any:
        """Return a context that keeps other processes from writing under the prefix; see writing.alone()."""
        return alone(self.prefix, self.symbol_path.parent)

    def begin(self, facts: Facts, since: Place | None, tell: Any) -> None:
        """Say which run saves from now on; see runs.History."""
        self._history = runs.History(self, facts, since, tell)

    def save(self, run: Any, place: Place, facts: Facts) -> None:
        """Write the run's state after `place`. All workers call it, and worker 0 writes.

        Only the newest checkpoint within an epoch stays, until its epoch is saved. An OSError leaves older checkpoints
        whole.
        """
        states = run.states()
        if not run.cluster.is_main:
            return
        if isinstance(place, Inside):
            self._inside.mkdir(exist_ok=True)
        self.write(run.net, facts.at(place), run.cluster.contexts[0], states)
        self.sweep(as_inside(place))
        if not isinstance(place, Inside):
            self._clear(place)

    def differs(self, net: Any) -> bool:
        """Return True if the symbol of another network exists. Its checkpoints would be useless without that symbol."""
        return self.symbol_path.exists() and not is_symbol_of(self.symbol_path, net)

    def write(self, net: Any, facts: Facts, context: Any = None, states: dict | None = None) -> None:
        """Write a network at facts.place, with the optimiser's {name: NDArray} if there is one.

        All files are on the disk before the first gets its name, and the .json gets it last. Arrays are copied one at
        a time.
        """
        graph, place = graph_of(net), facts.place
        running, params = set(graph.symbol().list_auxiliary_states()), net.collect_params()
        arrays = {
            ('aux:' if name in running else 'arg:') + name: params[name].data(context or params[name].list_ctx()[0])
            for name in inputs_of(net)
        }
        contents: dict[Path, Iterable[Any]] = {
            self.symbol_path: [graph.stable_bytes()],
            self.path(place, 'params'): params_file.pieces(arrays),
        }
        if states is not None:
            contents[self.path(place, 'states')] = params_file.pieces(states)
        settle = self._history.settle if self._history is not None else lambda: None
        write_files(contents, self.path(place, 'json'), lambda files: facts.at(place, files=files).to_json(), settle)

    def _clear(self, newest: int) -> None:
        """Delete the checkpoints beyond `keep`. Each .json goes first, so that none speaks of files that are gone."""
        if self.keep is None:
            return
        results = scores(self)[0]
        stay = {*sorted(results)[-self.keep :], best_of(results), newest}
        for epoch in set(results) - stay:
            for kind in ('json', 'states', 'params'):
                self.path(epoch, kind).unlink(missing_ok=True)

    def sweep(self, before: Inside | None = None) -> None:
        """Delete the checkpoints within epochs before a place (None: all), and unfinished files of killed saves."""
        files = [path for place, path in self.files_within() if before is None or place < before]
        for path in sorted(files, key=lambda path: path.suffix != '.json'):
            path.unlink(missing_ok=True)
        if self._inside.is_dir() and not any(self._inside.iterdir()):
            self._inside.rmdir()

    def files_within(self) -> Iterator[tuple[Inside, Path]]:
        """Yield (Inside, path) for each file of a checkpoint within an epoch."""
        for path in self._inside.glob('*-*.*'):
            numbers = re.match(r'(\d+)-(\d+)\.', path.name)
            if numbers:
                yield Inside(*map(int, numbers.groups())), path

    def unfinished(self) -> list[Inside]:
        """Return the places within epochs that have a .json, rising."""
        return sorted(place for place, path in self.files_within() if path.suffix == '.json')

    def epochs(self) -> list[int]:
        """Return the numbers of the epochs that have a .json, rising."""
        names = {path.name for path in self.symbol_path.parent.glob('*-*.json')}
        tails = (name[:-5].rpartition('-')[2] for name in names)
        numbers = {int(tail) for tail in tails if tail.isdecimal()}
        return sorted(number for number in numbers if self.path(number, 'json').name in names)

    def facts(self, place: Place) -> Facts:
        """Return the facts of a checkpoint, with the file name's place. They are read again if the file has changed.

        Raises ValueError, which names the file.
        """
        path = self.path(place, 'json')
        try:
            now = path.stat()
            state = now.st_ino, now.st_size, now.st_mtime_ns
            if path not in self._facts or self._facts[path][0] != state:
                self._facts[path] = state, parse_facts(path.read_bytes(), path).at(place)
        except OSError as error:
            raise ValueError(f'{path} cannot be read: {error.strerror}') from None
        return self._facts[path][1]

    def open(self, place: Place, states: bool = False, facts: Facts | None = None) -> Opened:
        """Read, verify and parse a checkpoint's files, each once. states: read the optimiser's state too. facts: of
        that place, if they were read before.

        Raises ValueError, which names the file and what is wrong with it.
        """
        facts = facts or self.facts(place)
        params = params_file.parse(*self._verified(facts, place, 'params'))
        optimiser = params_file.parse(*self._verified(facts, place, 'states')) if states else None
        arrays = {name.split(':', 1)[-1]: array for name, array in params.items()}
        return Opened(place, facts, arrays, optimiser, self.path(place, 'params'), self.path(place, 'states'))

    def _verified(self, facts: Facts, place: Place, kind: str) -> tuple[Path, bytes]:
        """Return a file's path and bytes. Raises ValueError if they are not what was saved."""
        path = self.path(place, kind)
        # Files are found by their endings, so that a checkpoint may be renamed.
        files = {name.rpartition('.')[2]: file for name, file in facts.files.items()}
        if kind == 'states' and kind not in files:
            raise ValueError(f'{path} was never written: this checkpoint has weights only; start from them with `init`')
        size, digest = (files.get(kind, {}).get(key) for key in ('bytes', 'sha256'))
        if size is None or digest is None:
            raise ValueError(f'{self.path(place, "json")} is damaged: it has no size and checksum of {path}')
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ValueError(f'{path}: {error.strerror}') from None
        if len(data) != size:
            raise ValueError(f'{path} has {len(data)} bytes, not the {size} that were saved')
        if hashlib.sha256(data).hexdigest() != digest:
            raise ValueError(f'{path} is not the file that was saved: its checksum is wrong')
        return path, data

    def verdict(self, place: Place, states: bool = True) -> Verdict:
        """Return WHOLE if open() would succeed, else DAMAGED with the reason."""
        try:
            self.open(place, states)
        except ValueError as error:
            return damaged(str(error))
        return WHOLE

    def choose(self, epoch: int | None = None, warn: Any = print) -> Opened:
        """Open the checkpoint to go on from: the given epoch, else the newest undamaged place of the run that wrote
        last.

        Raises OptionError for model_load_epoch or retrain.
        """
        if epoch is not None:
            try:
                return self.open(epoch, states=True)
            except ValueError as error:
                known = ', '.join(map(str, self.epochs())) or 'none'
                why = f': {error} (checkpoints of {self.prefix}: {known})'
                if epoch in without_facts(self):
                    why = f': {self._of_another_program(epoch)}'
                raise OptionError('model_load_epoch', epoch, why) from None
        reasons = ''
        places: list[Place] = [*self.epochs(), *self.unfinished()]
        for place, facts in runs.of_last_run(self, places):
            try:
                if isinstance(facts, ValueError):
                    raise facts
                return self.open(place, states=True, facts=facts)
            except ValueError as error:
                kind = f'batch {place.batch} after epoch' if isinstance(place, Inside) else 'epoch'
                warn(f'{kind} {as_inside(place).epoch} is passed over: {error}')
                reasons += f'; {error}'
        others = without_facts(self)
        why = f'; {self._of_another_program(others[-1])}' if others and not places else reasons
        raise OptionError(
            'retrain', None, f': there is no undamaged checkpoint {self.prefix}-NNNN.params with its .json{why}'
        )

    def _of_another_program(self, epoch: int) -> str:
        path = self.path(epoch, 'params')
        return (
            f'{path} has no .json, so another program wrote it, such as the code of 2016, and no state of a run: '
            f'begin a new run from its weights by `init` {path}'
        )
