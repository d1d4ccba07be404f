"""Damage, drawn from a RandomState: to any bytes, to a JPEG by its markers, to a record file and to its index."""

from __future__ import annotations

import struct
import zlib

from tests.fuzz.corpus import bits, part, scan

INTERESTING = (0, 1, 2, 7, 8, 16, 0x11, 0x12, 0x14, 0x22, 0x41, 0x44, 0x7F, 0x80, 0xC0, 0xD0, 0xD7, 0xD9, 0xFE, 0xFF)
SIDES = (0, 1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 100, 129, 255, 256, 1000, 2047, 4096, 11585, 32768, 60000, 65500, 65535)
MARKERS = (0x01, 0xC0, 0xC1, 0xC2, 0xC4, 0xC9, 0xCA, 0xCC, 0xD0, 0xD7, 0xD8, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xE0, 0xEE)
FRAMES = (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC9, 0xCA, 0xCF)
TABLES, FRAME, SCAN = (0xC4, 0xDB), set(FRAMES), 0xDA


def pick(random, choices):
    return choices[random.randint(len(choices))]


def _span(random, data):
    """Two places, often near each other."""
    start = random.randint(len(data) + 1)
    return start, min(start + random.randint(1, pick(random, (2, 5, 40, 400, 5000))), len(data))


def _flip(random, data, other):
    changed = bytearray(data)
    for at in random.randint(0, len(data), random.randint(1, 9)):
        changed[at] ^= 1 << random.randint(8)
    return bytes(changed)


def _put(random, data, other):
    changed = bytearray(data)
    for at in random.randint(0, len(data), random.randint(1, 5)):
        changed[at] = pick(random, INTERESTING)
    return bytes(changed)


def _truncate(random, data, other):
    kept = data[: random.randint(len(data))]
    return kept + b'\xff\xd9' if random.randint(2) else kept


def _delete(random, data, other):
    start, end = _span(random, data)
    return data[:start] + data[end:]


def _insert(random, data, other):
    at, count = random.randint(len(data) + 1), random.randint(1, 30)
    new = (
        bytes(random.randint(0, 256, count).astype('u1')) if random.randint(2) else bytes([0xFF, pick(random, MARKERS)])
    )
    return data[:at] + new + data[at:]


def _repeat(random, data, other):
    start, end = _span(random, data)
    return data[:end] + data[start:end] * random.randint(1, 4) + data[end:]


def _splice(random, data, other):
    start, _ = _span(random, data)
    begin, end = _span(random, other)
    return data[:start] + (other[begin:] if random.randint(2) else other[begin:end] + data[start:])


ANYWHERE = (_flip, _put, _truncate, _delete, _insert, _repeat, _splice)


def split(data):
    """A JPEG as [[marker, contents], ...] up to its first scan, and what follows that scan's header."""
    parts, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        length = int.from_bytes(data[at + 2 : at + 4], 'big')
        parts.append([data[at + 1], data[at + 4 : at + 2 + length]])
        at += 2 + length
        if parts[-1][0] == SCAN:
            break
    return parts, data[at:]


def joined(parts, body):
    return b'\xff\xd8' + b''.join(part(marker, contents[:65533]) for marker, contents in parts) + body


def _change(random, contents, places, values):
    """Some of the bytes at `places`."""
    changed = bytearray(contents)
    for at in places:
        if at < len(changed) and random.randint(2):
            changed[at] = pick(random, values)
    return bytes(changed)


def _side(random, old):
    return pick(random, SIDES) if random.randint(2) else old + random.randint(-20, 21)


def _size(random, parts, body):
    for one in parts:
        if one[0] in FRAME and len(one[1]) >= 6:
            height, width = struct.unpack('>HH', one[1][1:5])
            new = [_side(random, old) if random.randint(2) else old for old in (height, width)]
            one[1] = one[1][:1] + struct.pack('>HH', *[max(0, min(n, 65535)) for n in new]) + one[1][5:]
    return body


def _factors(random, parts, body):
    for one in parts:
        if one[0] in FRAME:
            one[1] = _change(random, one[1], range(7, len(one[1]), 3), INTERESTING)
    return body


def _frame(random, parts, body):
    """Its kind, precision, count of components, their numbers and tables."""
    for one in parts:
        if one[0] in FRAME:
            if random.randint(3) == 0:
                one[0] = pick(random, FRAMES)
            places = pick(random, ([0], [5], range(6, len(one[1]), 3), range(8, len(one[1]), 3)))
            one[1] = _change(random, one[1], places, (*range(6), 8, 12, 16, 255))
    return body


def _scan(random, parts, body):
    for one in parts:
        if one[0] == SCAN:
            values = (*range(5), 0x01, 0x10, 0x11, 0x22, 0x33, 63, 64, 255)
            one[1] = _change(random, one[1], range(len(one[1])), values)
    return body


def _interval(random, parts, body):
    new = [0xDD, pick(random, (0, 1, 2, 3, 4, 5, 7, 9, 13, 17, 255, 65535)).to_bytes(2, 'big')]
    parts.insert(random.randint(len(parts) + 1), new)
    return body


def _tables(random, parts, body):
    for one in parts:
        if one[0] in TABLES and random.randint(2):
            few = random.randint(0, max(len(one[1]), 1), 3)
            one[1] = _change(random, one[1], [0, *few] if random.randint(3) == 0 else few, INTERESTING)
    return body


def _order(random, parts, body):
    """A part doubled, left out, moved, or of another kind."""
    at = random.randint(max(len(parts), 1))
    if parts:
        one = parts.pop(at)
        for _ in range(random.randint(3)):
            parts.insert(random.randint(len(parts) + 1), list(one))
        if parts and random.randint(4) == 0:
            pick(random, parts)[0] = pick(random, MARKERS)
    return body


def _more_scans(random, parts, body):
    """Scans with a few bytes each before the end, and sometimes a DNL."""
    end = body.rfind(b'\xff\xd9')
    new = b''
    for _ in range(pick(random, (1, 2, 5, 120))):
        components = [[1], [2], [1, 2, 3], [3, 3], [9]][random.randint(5)]
        ends = [(0, 63, 0, 0), (0, 0, 0, 1), (1, 5, 0, 2), (6, 63, 0, 0), (1, 63, 1, 0), (0, 0, 1, 0)][
            random.randint(6)
        ]
        new += scan(components, *ends) + bits('01' * random.randint(0, 90))
    new += part(0xDC, b'\0\x20') if random.randint(4) == 0 else b''
    return body[:end] + new + body[end:]


def _restarts(random, parts, body):
    """The restart markers of the scan: renumbered, doubled or left out."""
    places = [i for i in range(len(body) - 1) if body[i] == 0xFF and 0xD0 <= body[i + 1] <= 0xD7]
    for at in sorted({pick(random, places) for _ in range(random.randint(1, 4))} if places else [], reverse=True):
        new = pick(random, (b'', b'\xff', bytes([0xFF, 0xD0 + random.randint(8)]), body[at : at + 2] * 2))
        body = body[:at] + new + body[at + 2 :]
    return body


BY_MARKERS = (_size, _factors, _frame, _scan, _interval, _tables, _order, _more_scans, _restarts)


def _bare(random, data):
    """A marker without a length, fill bytes or a wrong length in front of one of the parts."""
    parts, body = split(data)
    at = random.randint(max(len(parts), 1))
    before, after = joined(parts[:at], b''), joined(parts[at:], body)[2:]
    new = pick(random, (b'\xff\x01', b'\xff\xd0', b'\xff\xd7', b'\xff', b'\xff\xff\xff', b'\xff\x00'))
    if random.randint(2) and len(after) > 4:
        after = after[:2] + pick(random, (0, 1, 2, 3, 17, 255, 65535)).to_bytes(2, 'big') + after[4:]
    return before + new * random.randint(2) + after


def _stop(random, data):
    """Cut off within one of the parts, behind its length."""
    parts, body = split(data)
    at = random.randint(max(len(parts), 1))
    after = joined(parts[at:], body)[2:]
    kept = 4 + random.randint(12) if random.randint(4) else random.randint(len(after) + 1)
    return joined(parts[:at], b'') + after[:kept]


def jpeg(random, data, other):
    """data damaged once to four times."""
    for _ in range(pick(random, (1, 1, 1, 2, 4))):
        way = random.randint(8)
        if data[:2] == b'\xff\xd8' and way < 5:
            parts, body = split(data)
            body = pick(random, BY_MARKERS)(random, parts, body)
            data = joined(parts, body)
        elif data[:2] == b'\xff\xd8' and way == 5:
            data = pick(random, (_bare, _bare, _stop))(random, data)
        elif data:
            data = pick(random, ANYWHERE)(random, data, other)
    return data


def png(random, data):
    """Another size, kind or contents, the checksums right."""
    out, at = data[:8], 8
    while at + 12 <= len(data):
        length, name = struct.unpack_from('>I4s', data, at)
        body = data[at + 8 : at + 8 + length]
        if random.randint(2) and body:
            size = struct.pack('>II', pick(random, SIDES), pick(random, SIDES))
            body = size + body[8:] if name == b'IHDR' and random.randint(2) else _flip(random, body, b'')
        out += struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))
        at += 12 + length
    return out


def records(random, data, starts):
    """A .rec file whose records begin at `starts`: magic, flags, lengths and labels changed, or anything."""
    if random.randint(3) == 0:
        return pick(random, ANYWHERE)(random, data, data)
    changed = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = pick(random, starts) + pick(random, (0, 4, 4, 4, 8, 8, 12, 16, 24))
        old = int.from_bytes(changed[at : at + 4], 'little')
        flags = [flag << 29 | old & 0x1FFFFFFF for flag in range(8)]
        near = [max(old + step, 0) for step in (-4, -1, 1, 4)]
        new = pick(random, (0, 1, 7, 23, 24, len(data), 0x1FFFFFFF, 0xFFFFFFFF, *flags, *near))
        changed[at : at + 4] = struct.pack('<I', new & 0xFFFFFFFF)
    return bytes(changed)


def index(random, text, size):
    """Lines id<tab>offset changed, doubled, left out, swapped, or anything."""
    if random.randint(4) == 0:
        return pick(random, ANYWHERE)(random, text, text)
    lines = text.splitlines()
    for _ in range(random.randint(1, 4)):
        at = random.randint(len(lines))
        key, offset = (lines[at].split(b'\t') + [b'0'])[:2]
        numbers = (0, -1, 1, 4, 8, size - 1, size - 32, size, size + 4, 2**31, 2**63 - 1, 2**63, -(2**63), 10**30)
        new = (
            b'%d' % pick(random, numbers)
            if random.randint(4)
            else pick(random, (b'', b'nan', b'1e3', b'\xff', b'0x10'))
        )
        line = pick(random, (key + b'\t' + new, new + b'\t' + offset, offset, lines[at] + b'\t5', pick(random, lines)))
        lines[at] = line
        if random.randint(3) == 0:
            del lines[random.randint(len(lines))]
            lines.insert(random.randint(len(lines) + 1), line)
    return b'\n'.join(lines) + b'\n'
