"""Checkpoints: PREFIX-symbol.json, PREFIX-0003.params, PREFIX-0003.states and, last, PREFIX-0003.json beside them.

Those of an epoch that is not done yet are PREFIX-inside/0003-000150.params and so on: after 3 epochs and 150 batches.
Nobody else knows file names. The .json says what the weights are, and holds size and SHA-256 of the other files.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

import mxnet as mx

from ibnnet_mx.checkpoint import facts as sidecar
from ibnnet_mx.files import atomic, params_file


class Inside(NamedTuple):
    """A place where a checkpoint may be, beside the ends of epochs: after whole epochs and some batches of the next."""

    epoch: int
    batch: int


def place(facts):
    """The epoch, or Inside, that the .json of a checkpoint is of."""
    return Inside(facts['epoch'], facts['batch']) if 'batch' in facts else facts['epoch']


def _graph(net):
    """The network with a SoftmaxOutput as mxnet's JSON, byte for byte the same at every save.

    mxnet counts in the edges how often a variable of running statistics was used before; loading passes over that.
    """
    logits = net.symbol() if hasattr(net, 'symbol') else net(mx.sym.var('data'))
    graph = json.loads(mx.sym.SoftmaxOutput(logits, name='softmax').tojson())
    for node in graph['nodes']:
        node['inputs'] = [[source, output, 0] for source, output, _ in node['inputs']]
    return json.dumps(graph, indent=1).encode()


def _inputs(graph, net):
    """Names of the parameters that a prediction needs: what only training does goes with the optimiser's state."""
    needed = set(graph.list_inputs())
    return [name for name in net.collect_params() if name in needed]


def _as_inside(epoch):
    return epoch if isinstance(epoch, Inside) else Inside(epoch, 0)


def _numbers(epoch):
    return epoch._asdict() if isinstance(epoch, Inside) else {'epoch': epoch}


class Store:
    """The checkpoints of one prefix. keep: how many of the newest stay (None: all); the best always does."""

    def __init__(self, prefix, keep=None):
        if keep is not None and keep < 1:
            raise ValueError(f'--keep {keep} must be at least 1')
        self.prefix, self.keep = str(prefix), keep

    def path(self, epoch, kind):
        """epoch: a number, or Inside. kind: 'params', 'states' or 'json'."""
        if isinstance(epoch, Inside):
            return self._inside / f'{epoch.epoch:04d}-{epoch.batch:06d}.{kind}'
        return Path(f'{self.prefix}-{epoch:04d}.{kind}')

    @property
    def _inside(self):
        return Path(f'{self.prefix}-inside')

    @property
    def symbol_path(self):
        return Path(f'{self.prefix}-symbol.json')

    def prepare(self):
        """Makes the prefix's folder, and removes what saves that were killed have left in it.

        ValueError names --model-prefix where that cannot be.
        """
        folder = self.symbol_path.parent
        if not os.path.basename(self.prefix):
            raise ValueError(f'--model-prefix {self.prefix} must end in a name, such as {self.prefix}resnet')
        try:
            folder.mkdir(parents=True, exist_ok=True)
            writable = os.access(folder, os.W_OK)
        except OSError as error:
            raise ValueError(f'--model-prefix {self.prefix}: {error.strerror}: {error.filename}') from None
        if not writable:
            raise ValueError(f'--model-prefix {self.prefix}: no permission to write in {folder}')
        own = os.path.basename(self.prefix)
        for part in (path for path in folder.glob('*.part') if path.name.startswith(f'{own}-')):
            part.unlink(missing_ok=True)

    def save(self, run, epoch, facts):
        """Writes the run's state after `epoch` epochs, or Inside; facts go into the .json. For all workers: 0 writes.

        OSError leaves older ones whole. Of those inside of epochs only the newest stays, until its epoch is written.
        """
        states = {n: a.asnumpy() for n, a in run.states().items()}
        if not run.cluster.is_main:
            return
        inside = isinstance(epoch, Inside)
        if inside:
            self._inside.mkdir(exist_ok=True)
        self.write(run.net, epoch, facts, run.cluster.contexts[0], states)
        self.sweep(_as_inside(epoch))
        if not inside:
            self._clear(epoch)

    def differs(self, net):
        """Whether there is a symbol already, which other epochs need, and it is not net's."""
        return self.symbol_path.exists() and self.symbol_path.read_bytes() != _graph(net)

    def write(self, net, epoch, facts, ctx=None, states=None):
        """Writes a network, with the optimiser's {name: array} where there is one; the .json last."""
        symbol = _graph(net)
        graph = mx.sym.load_json(symbol.decode())
        running, arrays = set(graph.list_auxiliary_states()), {}
        for name in _inputs(graph, net):
            param = net.collect_params()[name]
            arrays[('aux:' if name in running else 'arg:') + name] = param.data(ctx or param.list_ctx()[0]).asnumpy()
        contents = {self.symbol_path: symbol, self.path(epoch, 'params'): params_file.encode(arrays)}
        if states is not None:
            contents[self.path(epoch, 'states')] = params_file.encode(states)
        files = {p.name: {'bytes': len(d), 'sha256': hashlib.sha256(d).hexdigest()} for p, d in contents.items()}
        facts = dict(facts, **_numbers(epoch), files=files)
        for path, data in contents.items():
            atomic.write_file(path, data)
        atomic.write_file(self.path(epoch, 'json'), json.dumps(facts, indent=1).encode())

    def _clear(self, newest):
        """Deletes what keep does not ask for, the .json first, so that no .json speaks of files that are gone."""
        if self.keep is None:
            return
        scores = {}
        for epoch in self.epochs():
            try:
                scores[epoch] = float(self.facts(epoch)['metrics']['validation']['accuracy'])
            except (ValueError, KeyError, TypeError):
                scores[epoch] = -1.0
        best = max(scores, key=lambda epoch: (scores[epoch], epoch))
        stay = {*sorted(scores)[-self.keep :], best, newest}
        for epoch in set(scores) - stay:
            for kind in ('json', 'states', 'params'):
                self.path(epoch, kind).unlink(missing_ok=True)

    def sweep(self, before=None):
        """Deletes what lies within epochs before an Inside (None: all of it), what a killed save has left there too."""
        found = [(place, path) for place, path in self._within() if before is None or place < before]
        for _, path in sorted(found, key=lambda pair: pair[1].suffix != '.json'):
            path.unlink(missing_ok=True)
        if self._inside.is_dir() and not any(self._inside.iterdir()):
            self._inside.rmdir()

    def _within(self):
        """(Inside, path) of each file of the folder."""
        for path in self._inside.glob('*-*.*'):
            numbers = re.match(r'(\d+)-(\d+)\.', path.name)
            if numbers:
                yield Inside(*map(int, numbers.groups())), path

    def unfinished(self):
        """The Insides that have a .json, rising."""
        return sorted(place for place, path in self._within() if path.suffix == '.json')

    def epochs(self):
        """Numbers of the checkpoints that have a .json, rising."""
        there = {path.name for path in self.symbol_path.parent.glob('*-*.json')}
        tails = (name[:-5].rpartition('-')[2] for name in there)
        numbers = {int(tail) for tail in tails if tail.isdecimal()}
        return sorted(number for number in numbers if self.path(number, 'json').name in there)

    def facts(self, epoch):
        """The .json of a checkpoint; its name says the epoch. ValueError names the file and what is wrong."""
        return dict(sidecar.read(self.path(epoch, 'json')), **_numbers(epoch))

    def fault(self, epoch, kinds=('params', 'states')):
        """Why a checkpoint cannot be used; '' where it is whole."""
        try:
            # By their endings, so that a checkpoint may be renamed.
            files = {name.rpartition('.')[2]: file for name, file in self.facts(epoch)['files'].items()}
            for kind in kinds:
                path = self.symbol_path if kind == 'symbol' else self.path(epoch, kind)
                if kind == 'states' and kind not in files:
                    return f'{path} was never written: these are weights alone, start from them with --init'
                data, known = path.read_bytes(), files['json' if kind == 'symbol' else kind]
                if len(data) != known['bytes']:
                    return f'{path} has {len(data)} bytes of {known["bytes"]}'
                if hashlib.sha256(data).hexdigest() != known['sha256']:
                    return f'{path} is not the file that was saved: its checksum is wrong'
        except OSError as error:
            return f'{error.filename}: {error.strerror}'
        except (KeyError, TypeError):
            return f'{self.path(epoch, "json")} is damaged: it does not say what {path} is'
        except ValueError as error:
            return str(error)
        return ''

    def choose(self, epoch=None, warn=print):
        """Where to go on from: the given epoch, else the newest that is whole, Inside or not.

        ValueError names --model-load-epoch.
        """
        if epoch is not None:
            fault = self.fault(epoch)
            if fault:
                there = ', '.join(map(str, self.epochs())) or 'none'
                raise ValueError(f'--model-load-epoch {epoch}: {fault} (checkpoints of {self.prefix}: {there})')
            return epoch
        faults = ''
        for candidate in sorted([*self.epochs(), *self.unfinished()], key=_as_inside, reverse=True):
            fault = self.fault(candidate)
            if not fault:
                return candidate
            named = f'batch {candidate.batch} after epoch' if isinstance(candidate, Inside) else 'epoch'
            warn(f'{named} {_as_inside(candidate).epoch} is passed over: {fault}')
            faults += f'; {fault}'
        raise ValueError(f'--retrain: there is no whole checkpoint {self.prefix}-NNNN.params with its .json{faults}')

    def load(self, run, epoch):
        """Weights, optimiser state and epoch of a checkpoint into a run. ValueError names the file and the misfit."""
        arrays = {n.split(':', 1)[-1]: a for n, a in params_file.read(self.path(epoch, 'params')).items()}
        params = run.net.collect_params()
        inputs = _inputs(mx.sym.load_json(_graph(run.net).decode()), run.net)
        wrong = set(arrays) ^ set(inputs) or {n for n in arrays if arrays[n].shape != params[n].shape}
        if wrong:
            raise ValueError(f'{self.path(epoch, "params")} does not fit the network: {", ".join(sorted(wrong)[:5])}')
        for name, array in arrays.items():
            params[name].set_data(mx.nd.array(array))
        try:
            run.set_states(params_file.read(self.path(epoch, 'states')))
        except ValueError as error:
            raise ValueError(f'{self.path(epoch, "states")} cannot be used: {error}') from None
        facts = self.facts(epoch)
        own = dict(facts['shares'][run.cluster.rank]) if 'shares' in facts else {'samples': 0}
        run.go_on(facts['epoch'], facts.get('batch', 0), [int(own.pop('samples')), own])
        run.left_out |= {(epoch, batch) for epoch, batch in facts.get('left_out', ())}
