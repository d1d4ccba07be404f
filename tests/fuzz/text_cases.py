"""Cases of lists, class names and logs: each damages one file, runs commands on it and gives one of place.OUTCOMES.
Finding: a command did what it must not, or believed what is wrong."""

from __future__ import annotations

import gzip
import json
import re

import numpy as np

from tests.fuzz import damage
from tests.fuzz.mutate import pick
from tests.fuzz.place import EQUAL, REFUSED, TOLD, UNKNOWN, WRITTEN, Finding


def lst(random, place):
    """A picture list for im2rec_wrapper: all of its rows come into the lists, as they are."""
    whole = place.whole
    changed = damage.damaged(random, whole.lst, whole.other(random), damage.TEXT)
    path = place.write('case.lst', changed)
    ran = place.run('im2rec', path, 'out', '--list', '--seed', 0)
    if ran.code:
        return REFUSED
    if ran.err.strip():
        return TOLD
    written = b''.join((place.folder / 'out' / f'{side}.lst').read_bytes() for side in ('train', 'val'))
    if _rows(written) != _rows(changed):
        raise Finding(f'the lists hold other rows: {written[:300]!r}')
    return WRITTEN


def _rows(data):
    """Labels and path of each row of a list, sorted."""
    rows = [line.rstrip('\r').split('\t') for line in data.decode('utf-8', 'surrogateescape').split('\n')]
    return sorted((tuple(map(float, row[1:-1])), row[-1]) for row in rows if row != [''])


def list_dir(random, place):
    """A .lst that is held against records, as train --list-dir does."""
    from ibnnet_mx import data

    whole = place.whole
    lines = [b'%d\t%d\tx/%d.png' % (number, number % 4, number) for number in range(18)]
    before = b'\n'.join(lines) + b'\n'
    changed = damage.damaged(random, before, whole.other(random), damage.TEXT)
    place.write('cifar10_val.lst', changed)
    try:
        data.check_lists(str(place.folder), whole.data, 'cifar10')
    except (ValueError, OSError):
        return REFUSED
    rows = [line.split() for line in changed.decode('utf-8', 'replace').split('\n') if line.strip()]
    if sorted((int(row[0]), float(row[1])) for row in rows) != [(number, float(number % 4)) for number in range(18)]:
        raise Finding(f'agrees with the records, it is said: {changed[:300]!r}')
    return EQUAL


def synset(random, place):
    """--synset: as many names as classes, each as it is in the file, or a word about it."""
    whole = place.whole
    changed = damage.damaged(random, whole.synset, whole.other(random), damage.TEXT)
    path = place.write('case.txt', changed)
    words = ('--img', whole.pictures['png'], '--prefix', whole.prefix, '--epoch', 1, '--json', '--top', 4)
    ran = place.run('predict', *words, '--synset', path)
    if ran.code == 2:
        return REFUSED
    top = {row['label']: row['name'] for row in json.loads(ran.out)['top']}
    if ran.code:
        if [top[number] for number in range(4)] != list(whole.facts()['class_names']):
            raise Finding(f'is refused, and the names are {top}')
        return REFUSED
    names = re.split('\r\n|\n|\r', changed.decode('utf-8-sig'))
    names = names[:-1] if names[-1] == '' else names
    if [top.get(number) for number in range(4)] != names:
        raise Finding(f'names {top}, the file has {names}')
    return WRITTEN


def _hurt_log(random, whole):
    before = whole.read(whole.log)
    if random.randint(12) == 0:  # many bytes that are packed into few
        rows = (
            b'x' * 300_000_000,
            b'Epoch[0] Train-accuracy=0.5\n' * 20_000,
            b'\n' * 5_000_000,
            b'Namespace(' * 40_000,
        )
        epochs = b''.join(b'Epoch[%d] Train-accuracy=0.5\n' % number for number in range(150_000))
        return gzip.compress(pick(random, (*rows, epochs)), 1)
    if random.randint(5) == 0:
        return damage.damaged(random, gzip.compress(before, mtime=0), whole.other(random))
    return damage.damaged(random, before, whole.other(random), damage.TEXT)


def _curves(path):
    from ibnnet_mx import logs

    run = logs.read_log(path)
    return [run.train, run.validation, run.speed, run.lr]


def _number(text):
    try:
        return float(text)
    except ValueError:
        return None


def log(random, place):
    """A log for plot_curve: what is drawn stands in it."""
    whole = place.whole
    changed = _hurt_log(random, whole)
    path = place.write('case.log', changed)
    metric = pick(random, ('accuracy', 'top5', 'ce', 'lr', 'speed'))
    ran = place.run('plot', '--logs', path, whole.log, '--out', 'out.png', '--metric', metric)
    if ran.code:
        return REFUSED
    if (place.folder / 'out.png').read_bytes()[:4] != b'\x89PNG':
        raise Finding('draws no picture')
    found = _curves(path)
    if repr(found) == repr(_curves(whole.log)):
        return EQUAL
    text = changed if changed[:2] != b'\x1f\x8b' else gzip.decompress(changed)
    numbers = {_number(value) for value in re.findall(rb'=([-+.\w]+)', text)}
    said = {value for _, values in found[1].items() for value in values.values()}
    if not {value for value in said if np.isfinite(value)} <= numbers:
        raise Finding(f'draws {said - numbers}, which the log has not')
    return UNKNOWN
