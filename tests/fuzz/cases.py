"""A case is a function of seed and number: what is fed to which part of the reader, and a seed for how."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ibnnet_mx.recordio.framing import encode
from tests.fuzz import corpus, mutate

# Of 20 numbers in turn, so that a short run has its share of each.
KINDS = ('jpeg',) * 13 + ('restart',) * 3 + ('reader',) * 3 + ('read',)


class Case(NamedTuple):
    kind: str
    choice: int  # seeds what the target draws
    blobs: tuple[bytes, ...]  # a picture, or a record file and its index (empty: none)


def _start(random):
    names = sorted(corpus.pictures())
    return corpus.pictures()[mutate.pick(random, names)]


def _picture(random):
    return mutate.jpeg(random, _start(random), _start(random))


def _entry(random):
    """A picture of a record file, mostly as it should be."""
    data = _start(random)
    if data[:4] == b'\x89PNG':
        return mutate.png(random, data) if random.randint(3) == 0 else data
    return mutate.jpeg(random, data, _start(random)) if random.randint(3) == 0 else data


def _record_file(random):
    label = mutate.pick(random, (1, 1, [1, 2, 3]))
    records = [encode(_entry(random), label, number) for number in range(random.randint(1, 7))]
    starts = [0, *np.cumsum([len(record) for record in records])[:-1].tolist()]
    data = b''.join(records)
    index = b''.join(b'%d\t%d\n' % pair for pair in enumerate(starts)) if random.randint(2) else b''
    what = random.randint(4)
    if what == 1 or (what == 2 and not index):
        data = mutate.records(random, data, starts)
    elif what == 2:
        index = mutate.index(random, index, len(data))
    return data, index


def make(seed, number):
    """Case `number` of a seed; the first are the ones at the limits."""
    limits = list(corpus.limits().values())
    if number < 2 * len(limits):
        return Case(('jpeg', 'restart')[number % 2], number, (limits[number // 2],))
    random = np.random.RandomState([seed, number])
    kind = KINDS[number % len(KINDS)]
    choice = random.randint(1 << 31)
    if kind in ('reader', 'read'):
        return Case(kind, choice, _record_file(random))
    return Case(kind, choice, (_picture(random),))


def save(path, case):
    blobs = {f'blob{number}': np.frombuffer(blob, np.uint8) for number, blob in enumerate(case.blobs)}
    with open(path, 'wb') as file:
        np.savez(file, kind=case.kind, choice=case.choice, **blobs)


def load(path):
    with np.load(path) as held:
        blobs = tuple(held[f'blob{number}'].tobytes() for number in range(len(held.files) - 2))
        return Case(str(held['kind']), int(held['choice']), blobs)
