"""Runs cases in a process that may die of them:  formats_child.py FOLDER SEED CASES.

CASES is a file of JSON, [format, number] each. Writes a line of JSON for each to standard output: outcome, seconds of
processor time, bytes, finding. Standard error must be a file.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from tests.fuzz import command_cases, data_cases, graph_cases, text_cases, weights_cases  # noqa: E402
from tests.fuzz.child import _memory, _reset_peak  # noqa: E402
from tests.fuzz.place import Finding, Place  # noqa: E402

LIMIT = 20.0  # seconds of processor time
SPARE = 600 << 20  # bytes that a case may take: a picture may be of 2**27 pixels
MOST = 3 << 30  # bytes of addresses above those of the idle process: more cannot be had
FORMATS = {
    'rec': data_cases.rec,
    'idx': data_cases.idx,
    'JPEGs in a .rec': data_cases.jpeg,
    'pictures for predict': data_cases.picture,
    '.params': weights_cases.params,
    '.pth (zip)': weights_cases.pth,
    '.pth (legacy)': weights_cases.legacy,
    '.safetensors': weights_cases.safetensors,
    '.onnx': weights_cases.onnx,
    'checkpoint, sum wrong': weights_cases.checkpoint,
    'checkpoint, sum right': weights_cases.sealed,
    'checkpoint .json': weights_cases.facts,
    'symbol with .json': graph_cases.symbol,
    'symbol alone': graph_cases.bare_symbol,
    '.lst for im2rec': text_cases.lst,
    '.lst for --list-dir': text_cases.list_dir,
    'synset': text_cases.synset,
    'log for plot': text_cases.log,
    'command lines': command_cases.command,
    'names of models': command_cases.models,
}


def _exception(place):
    place.run('plot', '--logs')
    return {}['nothing']


def _memory_taken(place):
    return np.ones(SPARE // 4, np.float64).sum()


def _wrong_load(place):
    """One number of a file of weights is read as another."""
    from ibnnet_mx.files import params_file

    read, path = params_file.read_params, place.whole.weights['params']
    params_file.read_params = lambda path: {name: array + (name == 'fc1_bias') for name, array in read(path).items()}
    try:
        return weights_cases.weights(np.random.RandomState(0), place, 'params', place.whole.read(path))
    finally:
        params_file.read_params = read


PLANTED = (_exception, _memory_taken, _wrong_load, lambda place: os.abort(), lambda place: time.sleep(1000))


def planted(number):
    """What must be found: no case, but a test of this."""
    return lambda random, place: PLANTED[number](place)


def one(place, function, random):
    """Outcome, seconds, bytes, and the finding or ''."""
    place.clear()
    known, finding, outcome = _reset_peak(), '', 'finding'
    before, began = _memory('VmRSS'), time.process_time()
    try:
        outcome = function(random, place)
    except Finding as error:
        finding, outcome = f'{error}', 'finding'
    except Exception:  # of any kind: it is told as a finding, with its traceback
        finding = traceback.format_exc()
    seconds, taken = time.process_time() - began, _memory('VmHWM') - before
    if seconds > LIMIT:
        finding = finding or f'took {seconds:.1f} seconds'
    if known and taken > SPARE:
        finding = finding or f'took {taken >> 20} MB'
    if finding:
        finding = '\n'.join([*(f'{ran.words}: {ran.code}: {ran.err[-500:]}' for ran in place.said), finding])
    return outcome, seconds, taken, finding


def _say(to, *values):
    to.write(json.dumps(values) + '\n')
    to.flush()


def main(folder, seed, cases):
    to = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    faulthandler.enable()
    from tests.fuzz.valid import Valid

    (Path(folder) / 'whole').mkdir()
    whole = Valid(Path(folder) / 'whole')
    place = Place(Path(folder) / 'case', whole)
    limit = _memory('VmSize') + MOST
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    _say(to, 'ready')
    for name, number in json.loads(Path(cases).read_text()):
        # Of the name too, so that a case is the same whichever formats are asked for beside it.
        random = np.random.RandomState([int(seed), number, sum(name.encode())])
        _say(to, *one(place, FORMATS.get(name) or planted(number), random))
    _say(to, 'end')


if __name__ == '__main__':
    main(*sys.argv[1:])
