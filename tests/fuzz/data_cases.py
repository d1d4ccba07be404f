"""Cases of records, indexes, pictures, lists, class names and logs: each damages one file, runs commands on it and
gives an outcome of place.OUTCOMES. Finding: a command did what it must not, or believed what is wrong."""

from __future__ import annotations

import json
import math
from collections import Counter

from tests.fuzz import damage, mutate, plain
from tests.fuzz.mutate import pick
from tests.fuzz.place import EQUAL, REFUSED, TOLD, UNKNOWN, Finding
from tests.fuzz.place import told as lines_of
from tests.fuzz.valid import TRAIN
from tests.record_sets import encode

SKIPPED = 'skip'  # what a line about a picture that was left out has in it


def _same_numbers(one, other):
    """Whether two dicts of evaluate --json say the same, but for the order of sums and the name of the data."""
    for key in set(one) | set(other) - {'data'}:
        if key == 'data' or key == 'remarks':
            continue
        if isinstance(one[key], float) and isinstance(other[key], float):
            if not math.isclose(one[key], other[key], rel_tol=1e-4):
                return False
        elif one[key] != other[key]:
            return False
    return True


def _evaluate(place, path, *words):
    whole = place.whole
    return place.run('evaluate', path, '--prefix', whole.prefix, '--epoch', 1, '--json', '--threads', 1, *words)


def _usual(place, path, *words):
    words = ('--prefix', place.whole.prefix, '--epoch', 1, '--json', '--threads', 1, *words)
    return json.loads(place.whole.usual('evaluate', path, *words))


def _bad_words(random):
    return ('--max-bad-records', 20) if random.randint(2) else ()


def _count(ran, held):
    """The numbers of evaluate --json; what was left out has been told, record by record."""
    found, skipped = json.loads(ran.out), sum(SKIPPED in line for line in lines_of(ran))
    if found['count'] + skipped != held:
        raise Finding(f'{found["count"]} pictures of {held}, and {skipped} lines about others: {ran.err[:500]}')
    return found, skipped


def _verified(place, path, held):
    """ibnnet records: sound only where the labels are those that the file has."""
    ran = place.run('recordio', path, '--json', 'report.json', '--threads', 1)
    if ran.code:
        return False
    if held is None:
        raise Finding('is called sound, and no records can be read')
    labels = Counter(str(int(labels[0])) for labels, _ in held if labels[0] == int(labels[0]))
    (report,) = json.loads((place.folder / 'report.json').read_bytes())['files']
    if report['classes'] and report['classes'] != dict(labels):
        raise Finding(f'classes {report["classes"]}, in the file {dict(labels)}')
    return True


def _parsed(reader, data):
    try:
        return reader(data)
    except Exception:  # of any kind: it is no such file
        return None


def rec(random, place):
    """Framing, header, labels and payloads of a .rec, with its index or without, and --add-restart on it."""
    whole = place.whole
    source = str(whole.data / 'cifar10_val.rec')
    data = whole.read(source)
    if random.randint(2):
        starts = plain.index(whole.read(str(whole.data / 'cifar10_val.idx')))
        changed = mutate.records(random, data, starts) if random.randint(2) else damage.flip(random, data, b'')
    else:
        changed = damage.damaged(random, data, whole.other(random))
    path, indexed = place.write('case.rec', changed), random.randint(2)
    if indexed:
        place.write('case.idx', whole.read(str(whole.data / 'cifar10_val.idx')))
    held, before = _parsed(plain.records, changed), plain.records(data)
    sound = _verified(place, path, held)
    ran = _evaluate(place, path, *_bad_words(random))
    if random.randint(4) == 0:
        place.run('im2rec', '--add-restart', path, '--jobs', 1)
    if random.randint(6) == 0:
        _train(random, place, changed)
    if ran.code:
        return REFUSED
    if held is None:
        raise Finding('is read, and the framing is damaged')
    found, skipped = _count(ran, len(held))
    if skipped:
        return TOLD
    if [repr(one) for one in held] != [repr(one) for one in before]:
        return UNKNOWN
    if not (sound and _same_numbers(found, _usual(place, source))):
        raise Finding(f'the same records, another result: {found}')
    return EQUAL


def _train(random, place, data):
    """A run on records that may be damaged; what becomes of it is not judged here."""
    place.write('data/cifar10_train.rec', data)
    for suffix in ('rec', 'idx'):
        name = f'cifar10_val.{suffix}'
        place.write(f'data/{name}', place.whole.read(str(place.whole.data / name)))
    words = ('--data-dir', 'data', '--epochs', 1, '--model-prefix', 'net', '--log-file', 'log')
    place.run('train', *TRAIN, *words, *_bad_words(random))


def idx(random, place):
    """An index beside records that are whole: it names each of them once, or it is refused."""
    whole = place.whole
    source = str(whole.data / 'cifar10_val.rec')
    before = whole.read(str(whole.data / 'cifar10_val.idx'))
    if random.randint(3):
        changed = damage.damaged(random, before, whole.other(random), damage.TEXT)
    else:
        changed = mutate.index(random, before, len(whole.read(source)))
    path = place.write('case.rec', whole.read(source))
    place.write('case.idx', changed)
    offsets = _parsed(plain.index, changed)
    _verified(place, path, plain.records(whole.read(source)))
    ran = _evaluate(place, path)
    if ran.code:
        return REFUSED
    if offsets is None or sorted(offsets) != sorted(plain.index(before)):
        raise Finding('an index that does not name each record once is used')
    if not _same_numbers(json.loads(ran.out), _usual(place, source)):
        raise Finding(f'the same records, another result: {ran.out}')
    return EQUAL


def jpeg(random, place):
    """Damaged JPEGs in records that are whole: all are counted, or it is said which are not."""
    whole = place.whole
    payloads = list(whole.jpegs)
    for _ in range(pick(random, (1, 1, 3))):
        at = random.randint(len(payloads))
        other = pick(random, whole.jpegs)
        hurt = mutate.jpeg(random, payloads[at], other)
        payloads[at] = hurt if random.randint(2) else damage.damaged(random, payloads[at], whole.other(random))
    records = [encode(payload, number % 4, number) for number, payload in enumerate(payloads)]
    path = place.write('case.rec', b''.join(records))
    sound = _verified(place, path, plain.records(b''.join(records)))
    ran = _evaluate(place, path, *_bad_words(random))
    if ran.code:
        if sound:
            raise Finding(f'is called sound, and then: {ran.err}')
        return REFUSED
    skipped = _count(ran, len(payloads))[1]
    return TOLD if skipped else UNKNOWN


def _hurt_picture(random, place):
    """(suffix, bytes) of a picture that is another."""
    whole = place.whole
    suffix = pick(random, ('jpg', 'png', *whole.pictures))
    data = whole.read(whole.pictures[suffix])
    if suffix == 'jpg' and random.randint(2):
        return suffix, mutate.jpeg(random, data, pick(random, whole.jpegs))
    if suffix == 'png' and random.randint(2):
        return suffix, mutate.png(random, data)
    return suffix, damage.damaged(random, data, whole.other(random))


def _is_damaged(data):
    """What the C reader or the sums of a PNG tell of a picture, '' where nothing."""
    from ibnnet_mx.recordio.fast import native
    from tests.fuzz.targets import Held

    if data[:8] == b'\x89PNG\r\n\x1a\n':
        return '' if plain.png_is_sound(data) else 'a wrong sum'
    if data[:2] == b'\xff\xd8' and native.functions() is not None:
        held = Held(data)
        return held.refused or native.Decoder().check(held.source)
    return ''


def _alike(one, other):
    """Whether two results say the same, but for rounding in a batch of another size."""
    pairs = [(row['label'], round(row['probability'], 3)) for row in one]
    return pairs == [(row['label'], round(row['probability'], 3)) for row in other]


def picture(random, place):
    """predict on a damaged picture between two whole ones: it is refused, or classified; the others always are."""
    whole = place.whole
    suffix, data = _hurt_picture(random, place)
    good, path = whole.pictures['png'], place.write(f'case.{suffix}', data)
    words = ('--prefix', whole.prefix, '--epoch', 1, '--json', *(('--crop', 'resize') if random.randint(2) else ()))
    ran = place.run('predict', '--img', good, path, good, *words)
    rows = [json.loads(line) for line in ran.out.splitlines()]
    usual = json.loads(whole.usual('predict', '--img', good, *words))
    if ran.code == 2 or not all(_alike(row['top'], usual['top']) for row in rows if row['image'] == good):
        raise Finding(f'the whole pictures come out otherwise: {ran.out} {ran.err}')
    if len(rows) != 3:
        if ran.code != 1 or path not in ran.err:
            raise Finding(f'{3 - len(rows)} pictures are left out without a word')
        return REFUSED
    why = _is_damaged(data)
    if why and not ran.code:
        raise Finding(f'is classified, though it is damaged: {why}')
    return TOLD if ran.code else UNKNOWN
