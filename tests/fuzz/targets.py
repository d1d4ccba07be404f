"""Feeds a case to the reader and says what came of it; Finding: what must never come of it."""

from __future__ import annotations

import ctypes
import os
import re

import numpy as np

from ibnnet_mx.recipe import AUGMENT
from ibnnet_mx.recordio.fast import native
from ibnnet_mx.recordio.format import RecordError
from ibnnet_mx.recordio.pixels import augment, opencv, view
from ibnnet_mx.recordio.pixels.augment import Augment
from ibnnet_mx.recordio.pixels.pictures import PictureError, decode
from ibnnet_mx.recordio.pixels.region import Decoded
from ibnnet_mx.recordio.reading.options import Options
from ibnnet_mx.recordio.reading.reader import Reader
from tests.fuzz import corpus

LEVELS = {name: Augment(**AUGMENT[name]) for name in (1, 2, 3, 'rrc', 'cifar')}
VIEWS = {'central': view.View(), 'ten crops': view.View(crops=10)}
SIZES = (1, 2, 3, 7, 8, 15, 16, 17, 24, 31, 32, 33, 48, 57, 64, 93, 112, 127, 160, 224)
LARGE = 1 << 22  # pixels; of larger pictures one view is made, and not compared, for the time it takes
MEAN = ((123.68, 116.78, 103.94), (58.4, 57.1, 57.4))


class Finding(Exception):
    """Something is wrong with the reader."""


def reason(text):
    """An error without its numbers and names, for counting."""
    text = re.sub(r'^.*?\.rec: (record -?\d+ \(.*?\) )?', '', text)
    text = re.sub(r'^.*?\.idx: ', '', text)
    return re.sub(r'\d[\dx]*|0x\w+', '#', text.replace('\n', ' '))[:60]


class Held:
    """A picture in memory that ends where the picture ends, with its SOURCE; heads() has seen it."""

    def __init__(self, payload):
        self.bytes = np.empty(len(payload), np.uint8)  # bytes objects have one more behind them
        self.bytes[:] = np.frombuffer(payload, np.uint8) if payload else 0
        self.source, self.why = np.zeros(1, native.PAYLOAD), np.zeros((1, native.WHY), np.uint8)
        self.source['data'], self.source['length'] = native.address(self.bytes), len(payload)
        native.heads(self.source, self.why)
        self.size = np.array([[self.source['width'][0], self.source['height'][0]]], np.int64)

    @property
    def refused(self):
        return native.failures(self.why).get(0, '' if self.source['kind'][0] == native.JPEG else 'is no JPEG')


class Fill:
    """The byte that new buffers of the C code hold, where it is built with exact.h."""

    def __init__(self):
        try:
            self._byte = ctypes.c_ubyte.in_dll(native.functions(), 'fuzz_fill')
        except ValueError:
            self._byte = ctypes.c_ubyte()

    def set(self, value):
        self._byte.value = value


class Targets:
    def __init__(self, folder):
        self._folder = folder
        self._fill = Fill()
        self._used = [native.Decoder(level) for level in range(3)]  # which see every case, whatever went before
        self._whole = {}
        self._rewrite, self._release = native.functions()['fast_restart'], native.functions()['fast_release']
        self._rewrite.restype, self._release.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        self._rewrite.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]

    def run(self, case):
        """A word or two for what came of it. Finding, or whatever else was raised."""
        return getattr(self, f'_{case.kind}')(np.random.RandomState(case.choice), *case.blobs)

    def _plan(self, random, size, sizes):
        names = [*LEVELS, *VIEWS]
        name = names[random.randint(len(names))]
        if name in VIEWS:
            return view.view_rows(sizes, size, VIEWS[name])
        u = augment.uniforms(random.randint(1 << 20), 0, np.arange(1))
        return augment.draw_rows(LEVELS[name], u, sizes, size)[:, None]

    def _render(self, held, rows, size, decoder, pixels, fill):
        """Pixels and error of a source; memory that nobody writes to holds `fill`."""
        self._fill.set(fill)
        shape = (*rows.shape, 3, size, size)
        out = np.full(shape, fill, np.uint8) if not pixels['floats'][0] else np.full(shape, fill, np.float32)
        why = held.why.copy()
        decoder.render(held.source, rows, pixels, out, why)
        return out, native.failures(why).get(0, '')

    def _jpeg(self, random, payload):
        held = Held(payload)
        checked = held.refused or self._used[2].check(held.source)
        told = [self._compare(random, held) for _ in range(1 if held.size.prod() > LARGE else 2)]
        if held.refused and any(text != held.refused for text in told):
            raise Finding(f'refused by its header ({held.refused}), then {told}')
        if not checked and any(told):
            raise Finding(f'decodes as a whole, but {told}')
        return f'accepted in part: {reason(checked)}' if checked and not all(told) else reason(checked) or 'accepted'

    def _compare(self, random, held):
        """The error of a view drawn at random. Finding where kernels differ, or what memory held before is seen."""
        size = SIZES[random.randint(len(SIZES))]
        rows = np.ascontiguousarray(self._plan(random, size, np.maximum(held.size, 1)))
        pixels = np.zeros(1, native.PIXELS)
        pixels['floats'] = random.randint(2)
        pixels['factor'], pixels['shift'] = ((1 / 58, 1, 1 / 57), (120, 0, 100)) if random.randint(2) else (1, 0)
        level = 1 + random.randint(2)
        decoder = self._used[level] if random.randint(4) else native.Decoder(level)
        found, told = self._render(held, rows, size, decoder, pixels, 0xFF)
        if held.refused:
            return held.refused
        if held.size.prod() > LARGE:
            return told
        plain, other = self._render(held, rows, size, native.Decoder(0), pixels, 0)
        if told != other:
            raise Finding(f'level {level} says {told!r}, level 0 {other!r}')
        if not told and not np.array_equal(found, plain):
            raise Finding(
                f'level {level} and level 0 differ at {np.argwhere(found != plain)[:3].tolist()}, size {size}'
            )
        self._used[0].render(held.source, rows, pixels, None, held.why.copy())
        return told

    def _restart(self, random, payload):
        why, length = np.zeros((1, native.WHY), np.uint8), ctypes.c_int64()
        interval = (1, 2, 3, 7, 9, 65535, 0)[random.randint(7)]
        held = Held(payload)
        at = self._rewrite(
            native.address(held.bytes), len(payload), interval, ctypes.addressof(length), native.address(why)
        )
        told = native.failures(why).get(0, '')
        if bool(at) == bool(told):
            raise Finding(f'gave {"a JPEG and" if at else "neither a JPEG nor"} an error {told!r}')
        if told:
            return f'restart: {reason(told)}'
        new = Held(ctypes.string_at(at, length.value))
        self._release(at)
        told = new.refused or self._used[1].check(new.source)
        if told and not (held.refused or self._used[1].check(held.source)):
            raise Finding(f'a JPEG without fault {told}, once it has markers')
        return f'restart: accepted, then {reason(told)}' if told else 'restart: accepted'

    def _write(self, records, index):
        path, beside = os.path.join(self._folder, 'case.rec'), os.path.join(self._folder, 'case.idx')
        for name, data in ((path, records), (beside, index)):
            with open(name, 'wb') as file:
                file.write(data)
        if not index:
            os.unlink(beside)
        return path

    def _reader(self, random, records, index):
        names = [*LEVELS, None, None]
        changes = LEVELS.get(names[random.randint(len(names))])
        max_bad, threads = (0, 3, 100)[random.randint(3)], 1 + random.randint(2)
        options = Options(seed=random.randint(99), threads=threads, max_bad=max_bad, native=True)
        pixels = (None, ((0.0,) * 3, (1.0,) * 3), MEAN)[random.randint(3)]
        shown = view.View(crops=1 if changes or random.randint(2) else 10)
        size = SIZES[random.randint(len(SIZES))]
        try:
            reader = Reader(self._write(records, index), size, 1 + random.randint(4), changes, pixels, options, shown)
        except (RecordError, PictureError, ValueError) as error:
            return f'open: {reason(str(error))}'
        try:
            count = sum(batch.real for epoch in range(2) for batch in reader.epoch(epoch))
        except (RecordError, PictureError, ValueError) as error:
            return f'read: {reason(str(error))}'
        finally:
            reader.close()
        return 'reader: accepted' if count == 2 * reader.count else 'reader: accepted but for some'

    def _read(self, random, records, index):
        """JPEGs in a file, at places that need not be records."""
        fd, count = os.open(self._write(records, index), os.O_RDONLY), random.randint(1, 9)
        sources, why = np.zeros(count, native.PAYLOAD), np.zeros((count, native.WHY), np.uint8)
        ends = np.array([0, -1, -(2**63), 2**62, len(records), len(records) - 1])
        sources['offset'] = np.where(
            random.randint(0, 4, count) == 0, random.choice(ends, count), random.randint(0, len(records), count)
        )
        sources['fd'] = np.where(random.randint(0, 9, count) == 0, -1, fd)
        sources['start'] = random.choice([8, 32, 36, 400], count)
        sources['length'] = random.randint(0, 4 * len(records), count)
        try:
            native.heads(sources, why)
            sources['kind'][sources['kind'] != native.JPEG] = native.BROKEN
            sizes = np.stack([sources['width'], sources['height']], axis=1).astype(np.int64)
            rows = np.ascontiguousarray(view.view_rows(np.maximum(sizes, 1), 24, view.View()))
            out, pixels = np.zeros((count, 1, 3, 24, 24), np.uint8), np.zeros(1, native.PIXELS)
            native.Decoder().render(sources, rows, pixels, out, why)
        finally:
            os.close(fd)
        seen = (sources['kind'] == native.JPEG) & ~why.any(1)
        return 'read: some' if seen.any() else 'read: none'

    def _overrun(self, random, records):
        """What a sanitizer must report; no case but a test of the fuzzer itself."""
        short = np.full(2000, 0xFF, np.uint8)
        short[1] = 0xD8
        sources, why = np.zeros(1, native.PAYLOAD), np.zeros((1, native.WHY), np.uint8)
        sources['data'], sources['length'] = native.address(short), 4000
        native.heads(sources, why)
        return 'accepted'

    def verify(self, names=None):
        """Pictures that are whole come out as OpenCV has them, and as they did before. Finding."""
        pixels = np.zeros(1, native.PIXELS)
        for name in names or sorted(corpus.pictures()):
            held = Held(corpus.pictures()[name])
            for shown, size in (('central', 24), ('ten crops', 48)) if not held.refused else ():
                rows = np.ascontiguousarray(view.view_rows(held.size, size, VIEWS[shown]))
                out, told = self._render(held, rows, size, self._used[2], pixels, 0x55)
                if (name, shown) not in self._whole and not told:
                    self._against_opencv(name, rows, out)
                before = self._whole.setdefault((name, shown), (out, told))
                if told != before[1] or not np.array_equal(out, before[0]):
                    raise Finding(f'{name} comes out in another way than before')

    def _against_opencv(self, name, rows, out):
        wanted, picture = np.empty(out.shape, np.uint8), Decoded(decode(corpus.pictures()[name]))
        for seen, planes in zip(opencv.views(picture, rows[0]), wanted[0]):
            opencv.planes(seen, None, planes)
        step, difference = rows['last'][0, 0], np.abs(out.astype(int) - wanted)
        enlarged = step['box'][2] != step['full_width'] or step['box'][3] != step['full_height']
        if difference.mean() > (1 if enlarged else 0):
            raise Finding(f'{name} is {difference.mean():.2f} from what OpenCV makes of it, {difference.max()} at most')
