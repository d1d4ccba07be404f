"""Damage to files of any format, drawn from a RandomState: to bytes, to text, to JSON, to named arrays."""

from __future__ import annotations

import copy
import json
import re

import numpy as np

from tests.fuzz.mutate import pick

HUGE = (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
HEAD = 400  # bytes within which half of all damage is: a file of weights is numbers but for its head
NUMBERS = ('0', '-1', '1e400', 'nan', 'inf', '-inf', '9' * 30, '9' * 5000, '0x10', '1_0', '٣', '1.5', '', ' ', '1e-400')
VALUES = (None, True, False, 0, -1, 1, 2, 7, 1.5, 1e300, float('nan'), float('inf'), -float('inf'), 1 << 40, 1 << 70)
VALUES += ('', 'x', '3', '\0', '\ud800', 'x' * 3000, 'a\nb', '../..', [], {}, [[]], [1, 2, 3], {'a': 1}, [None] * 50)
DEEP = 100_000  # levels


def place(random, data):
    """An offset, at the head or at the end as often as anywhere."""
    where = random.randint(4)
    if where < 2:
        return random.randint(min(len(data), HEAD))
    return random.randint(len(data)) if where == 2 else len(data) - 1 - random.randint(min(len(data), HEAD))


def span(random, data):
    start = place(random, data)
    return start, min(len(data), start + random.randint(1, pick(random, (2, 9, 65, 5000))))


def flip(random, data, other):
    changed = bytearray(data)
    for _ in range(pick(random, (1, 1, 2, 9))):
        changed[place(random, data)] ^= 1 << random.randint(8)
    return bytes(changed)


def truncate(random, data, other):
    return data[: pick(random, (0, 1, 8, len(data) - 1, place(random, data), random.randint(len(data))))]


def zero(random, data, other):
    start, end = span(random, data)
    return data[:start] + bytes(end - start) + data[end:]


def delete(random, data, other):
    start, end = span(random, data)
    return data[:start] + data[end:]


def double(random, data, other):
    start, end = span(random, data)
    return data[:end] + data[start:end] * pick(random, (1, 1, 3, 50)) + data[end:]


def insert(random, data, other):
    at = place(random, data)
    return data[:at] + random.bytes(random.randint(1, 40)) + data[at:]


def swap(random, data, other):
    (a, b), (c, d) = sorted((span(random, data), span(random, data)))
    c = max(b, c)
    return data[:a] + data[c : max(c, d)] + data[b:c] + data[a:b] + data[max(c, d) :]


def length(random, data, other):
    """A number that may be a length or a count becomes another."""
    size, order, at = pick(random, (2, 4, 8)), pick(random, ('little', 'big')), place(random, data) & ~3
    old = int.from_bytes(data[at : at + size], order)
    number = pick(random, (*HUGE, 0, old + 1, old - 1, len(data), old * 2)) & ((1 << 8 * size) - 1)
    return data[:at] + number.to_bytes(size, order) + data[at + size :]


def another(random, data, other):
    return pick(random, (other, other, data + other, other + data, data[: place(random, data)] + other))


def nothing_of_it(random, data, other):
    return pick(random, (b'', b'\0', bytes(1000), random.bytes(500), b'\xff' * 64, b'\n', b'\x1f\x8b', b'PK\3\4'))


BYTES = (flip,) * 4 + (length,) * 3 + (truncate, truncate, zero, delete, double, insert, swap, another, nothing_of_it)


def damaged(random, data, other=b'', ways=BYTES):
    """Other bytes than data; other: a file of another format."""
    for _ in range(20):
        changed = data
        for _ in range(pick(random, (1, 1, 1, 2, 4))):
            changed = pick(random, ways)(random, changed, other) if changed else changed
        if changed != data:
            return changed
    return data + b'\0'


def _line(random, data, change):
    lines = data.split(b'\n')
    at = random.randint(len(lines))
    lines[at : at + 1] = change(lines, at)
    return b'\n'.join(lines)


def lines(random, data, other):
    """A line left out, doubled, moved, empty, very long, or with what follows it."""
    ways = (
        lambda lines, at: [],
        lambda lines, at: [lines[at]] * 2,
        lambda lines, at: [lines[-1 - at], lines[at]],
        lambda lines, at: [b'', lines[at]],
        lambda lines, at: [lines[at] * min(20000, 2_000_000 // (len(lines[at]) + 1))],
        lambda lines, at: [lines[at] + (lines[at + 1] if at + 1 < len(lines) else b'')],
        lambda lines, at: [b'\t'.join(reversed(lines[at].split(b'\t')))],
    )
    return _line(random, data, pick(random, ways))


def number(random, data, other):
    """A number becomes what is none, or is too large."""
    found = list(re.finditer(rb'[-+]?\d+(\.\d+)?', data))
    if not found:
        return data
    match = pick(random, found)
    return data[: match.start()] + pick(random, NUMBERS).encode() + data[match.end() :]


def encoding(random, data, other):
    text = data.decode('utf-8', 'replace')
    ways = ('utf-16', 'utf-32', 'utf-8-sig', 'utf-16-le', 'cp037')
    return pick(random, (*(text.encode(way, 'replace') for way in ways), data.replace(b'\n', b'\r\n')))


def character(random, data, other):
    """Something that is hard to read as text, or ends a line for some."""
    signs = (b'\0', b'\xff', b'\xed\xa0\x80', b'\x1b[31m', '\u2028'.encode(), '\x85'.encode(), b'\x0c', b'\r', b'\t\t')
    at = place(random, data)
    return data[:at] + pick(random, signs) + data[at:]


TEXT = (lines,) * 3 + (number,) * 3 + (encoding, character, character, flip, truncate, another, nothing_of_it)


def _spots(value):
    """(container, key) of everything within a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from _spots(inner)


def json_value(random, value, keys=None):
    """Another value of the same kind of file: something of it replaced, left out, doubled or exchanged. keys: where."""
    value = copy.deepcopy(value)
    for _ in range(pick(random, (1, 1, 1, 2, 3))):
        spots = list(_spots(value))
        if not spots:
            break
        holder, key = pick(random, spots)
        other, there = pick(random, spots)
        what = random.randint(6)
        if what < 3:
            holder[key] = pick(random, VALUES)
        elif what == 3:
            del holder[key]
        elif what == 4 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        else:
            holder[key] = copy.deepcopy(other[there])
    return value


def json_bytes(random, data, other=b''):
    """Another JSON file, mostly still JSON."""
    what = random.randint(10)
    if what < 7:
        return json.dumps(json_value(random, json.loads(data))).encode('utf-8', 'surrogatepass')
    if what == 7:
        return pick(random, (b'[' * DEEP, b'{"a":' * DEEP, b'[' * DEEP + b']' * DEEP, b'null', b'3', b'"x"', b'[]'))
    return damaged(random, data, other, TEXT if what == 8 else BYTES)


def _shaped(random, array):
    """The same numbers in another shape, some of them, or in another type."""
    ways = [
        lambda a: a.reshape(-1),
        lambda a: a.T,
        lambda a: a[..., None],
        lambda a: a[:-1],
        lambda a: np.concatenate([a, a]),
        lambda a: a[:0],
        lambda a: np.float32(a.reshape(-1)[:1].sum()).reshape(()),
        lambda a: a.astype(np.float64),
        lambda a: a.astype(np.float16),
        lambda a: a.astype(np.int32),
    ]
    return np.array(pick(random, ways)(array), order='C')


def _valued(random, array):
    """One number of another value, or all."""
    changed = np.array(array, np.float32)
    flat = changed.reshape(-1)
    value = pick(random, (np.nan, np.inf, -np.inf, 0, 1e30, -1e-30))
    flat[slice(None) if random.randint(3) == 0 else slice(random.randint(max(flat.size, 1)), None, flat.size)] = value
    return changed


def arrays(random, held):
    """{name: array} of other shapes, types, values or names, or with one too many or too few."""
    changed, names = dict(held), list(held)
    for _ in range(pick(random, (1, 1, 2))):
        name, other, what = pick(random, names), pick(random, names), random.randint(7)
        if name not in changed or other not in changed:
            continue
        if what < 2:
            changed[name] = _shaped(random, changed[name])
        elif what < 4:
            changed[name] = _valued(random, changed[name])
        elif what == 4:
            del changed[name]
        elif what == 5:
            changed[pick(random, ('', 'x', f'{name}_', 'data', 'softmax_label', f'{name}@1'))] = changed[name]
        else:
            changed[name], changed[other] = changed[other], changed[name]
    return changed
