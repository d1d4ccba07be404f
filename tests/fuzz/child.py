"""Runs cases in a process that may die of them:  child.py LIBRARY SEED FIRST STEP LAST, or LIBRARY FILE.

Writes a line of JSON for each to standard output: number, outcome, seconds of processor time, MB, finding.
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ibnnet_mx.recordio.fast import native  # noqa: E402
from tests.fuzz import cases, corpus  # noqa: E402

LIMIT = 5.0  # seconds of processor time
SPARE = 160 << 20  # bytes that a case may take whatever it declares: what the sanitizers hold back, threads, OpenCV
PER_PIXEL = (
    24  # and for each pixel that it declares: coefficients of four components (8), planes (3), and as much again
)
VERIFIED_EVERY = 50  # cases
JPEG_LIMIT, PNG_LIMIT = 1 << 28, 1 << 31  # pixels: above what fast.h and OpenCV refuse, as sides are rounded up
FRAME = re.compile(rb'\xff[\xc0-\xcf]..\x08(....)', re.DOTALL)
IHDR = re.compile(rb'IHDR(.{8})', re.DOTALL)


def _memory(field):
    with open('/proc/self/status') as file:
        return int(re.search(rf'{field}:\s+(\d+)', file.read()).group(1)) << 10


def _reset_peak():
    try:
        with open('/proc/self/clear_refs', 'w') as file:
            file.write('5')
    except OSError:
        return False
    return True


def _pixels(case):
    """Of all headers in it that are not refused, rounded up to what the blocks of JPEGs take."""
    found = [(match.group(1), '>HH', JPEG_LIMIT) for match in FRAME.finditer(case.blobs[0])]
    found += [(match.group(1), '>II', PNG_LIMIT) for match in IHDR.finditer(case.blobs[0])]
    total = 0
    for size, form, limit in found:
        pixels = math.prod(-(-side // 32) * 32 for side in struct.unpack(form, size))
        total += pixels if pixels <= limit else 0
    return total


def _one(targets, case):
    """Outcome, seconds, bytes, and the finding or ''."""
    pixels, known = _pixels(case), _reset_peak()
    before, began, finding, outcome = _memory('VmRSS'), time.process_time(), '', 'finding'
    try:
        outcome = targets.run(case)
    except Exception:  # of any kind: it is told as a finding, with its traceback
        finding = traceback.format_exc()
    seconds, taken = time.process_time() - began, _memory('VmHWM') - before
    if seconds > LIMIT:
        finding = finding or f'took {seconds:.1f} seconds'
    if known and taken > SPARE + PER_PIXEL * pixels:
        finding = finding or f'took {taken >> 20} MB for {pixels} pixels'
    return outcome, seconds, taken, finding


def _say(to, *values):
    to.write(json.dumps(values) + '\n')
    to.flush()


def main(library, *words):
    to = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # what libraries print does not belong to the answers
    native.LIBRARY = Path(library)
    from tests.fuzz.targets import Targets

    names = sorted(corpus.pictures())
    with tempfile.TemporaryDirectory() as folder:
        targets = Targets(folder)
        if len(words) == 1:
            _say(to, 'ready')
            _say(to, 0, *_one(targets, cases.load(words[0])))
            return
        targets.verify()
        _say(to, 'ready')
        seed, first, step, last = map(int, words)
        for count, number in enumerate(range(first, last, step)):
            _say(to, number, *_one(targets, cases.make(seed, number)))
            if count % VERIFIED_EVERY == 0:
                targets.verify([names[(count // VERIFIED_EVERY * 5 + i) % len(names)] for i in range(5)])
        _say(to, 'end')


if __name__ == '__main__':
    main(*sys.argv[1:])
