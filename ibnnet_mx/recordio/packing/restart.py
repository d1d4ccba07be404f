"""Restart markers for JPEGs that are packed already: without loss, picture by picture or a .rec file at a time."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Generator, Iterator, Tuple

import numpy as np

from ibnnet_mx.files import ahead, atomic
from ibnnet_mx.files.atomic import AtomicFile
from ibnnet_mx.recordio.fast import native
from ibnnet_mx.recordio.format import RecordError, RecordFile, write_index
from ibnnet_mx.recordio.framing import MAX_PART, Frames, frame
from ibnnet_mx.recordio.pixels.jpeg import SOI, headers
from ibnnet_mx.recordio.pixels.pictures import RESTART_INTERVAL, PictureError
from ibnnet_mx.recordio.pixels.region import DRI, layout

PROGRESSIVE = 0xC2
CHUNK = 8  # records that a thread is given at a time
AHEAD = 3  # chunks for each thread that may wait, so that memory stays bounded
ADDED, SEQUENTIAL, MARKED, FOREIGN, UNCUTTABLE, DAMAGED = range(6)  # the kinds of change of a record
Tell = Callable[[int, str], None]
Converted = Tuple[int, bytes, str]  # the kind of change, the record's bytes, its damage
CHANGED = (ADDED, SEQUENTIAL)
BLOCK = 16 << 20


def _library() -> Any:
    library = native.functions()
    if library is None:
        raise ValueError('restart markers are written in C, which is not built: ibnnet build reader')
    return library


def interval_of(payload: bytes) -> int:
    """Return the MCUs between the restart markers of a JPEG; 0 if it has none, or is no JPEG."""
    interval = 0
    for marker, at, end in headers(payload):
        if marker == DRI and at + 6 == end <= len(payload):
            interval = int.from_bytes(payload[at + 4 : end], 'big')
    return interval


def rewrite_jpeg(payload: bytes, interval: int) -> bytes:
    """Return the JPEG with a restart marker after every `interval` MCUs, 0: without any. Its coefficients are the same.

    Progressive JPEGs become sequential; EXIF, ICC profiles and comments stay. Raises PictureError if it cannot be done
    (no JPEG, damaged), and ValueError if the C library is not built.
    """
    library = _library()
    if not 0 <= interval <= 0xFFFF:
        raise ValueError(f'a restart interval of {interval} MCUs: JPEG has room for 0 to {0xFFFF}')
    if payload[:2] != SOI:
        raise PictureError('is no JPEG' if payload else 'is empty')
    seen = native.look(payload)  # it refuses truncated files, and sizes that would fill the memory
    if seen.why:
        raise PictureError(seen.why)
    why, length = np.zeros((1, native.WHY), np.uint8), ctypes.c_int64()
    at = library.fast_restart(payload, len(payload), interval, ctypes.addressof(length), native.address(why))
    if not at:
        raise PictureError(native.failures(why).get(0, 'is damaged'))
    try:
        return ctypes.string_at(at, length.value)
    finally:
        library.fast_release(at)


def _convert(payload: bytes) -> Converted:
    if payload[:2] != SOI:
        return FOREIGN, payload, ''
    if layout(payload) is not None:
        return MARKED, payload, ''
    try:
        new = rewrite_jpeg(payload, RESTART_INTERVAL)
    except PictureError as error:
        return DAMAGED, payload, str(error)
    if layout(new) is None:
        return UNCUTTABLE, payload, ''
    return SEQUENTIAL if any(marker == PROGRESSIVE for marker, _, _ in headers(payload)) else ADDED, new, ''


class _Records:
    """The records of a file, in the order in which they lie there, converted on `jobs` threads."""

    def __init__(self, records: RecordFile, frames: Frames, jobs: int) -> None:
        self._offsets, self._sizes = records.offsets, records.sizes
        self.order = np.argsort(self._offsets, kind='stable')
        self._records, self._frames, self._jobs = records, frames, jobs

    def _one(self, position: int) -> Converted:
        at, size = int(self._offsets[position]), int(self._sizes[position])
        payload = self._frames.item(position, at, size).payload
        became, new, why = _convert(payload)
        if became in CHANGED:
            data = self._frames.data(position, at, size)
            data = data[: len(data) - len(payload)] + new
            if len(data) < MAX_PART:
                return became, frame(data), ''
            became, why = DAMAGED, f'would have {len(data)} bytes with markers, the format ends at {MAX_PART - 1}'
        return became, self._frames.take(size, at, position, at), why

    def run(self) -> Generator[Converted, None, None]:
        chunks = np.array_split(self.order, -(-len(self.order) // CHUNK))
        with ThreadPoolExecutor(self._jobs) as pool:

            def begin(chunk: np.ndarray) -> ahead.Begun[None]:
                self._records.announce(chunk)
                return None, [pool.submit(lambda: [self._one(i) for i in chunk.tolist()])]

            with contextlib.closing(ahead.in_order(chunks, begin, AHEAD * self._jobs)) as converted:
                for _, (records,) in converted:
                    yield from records


class _Files:
    """The files FILE.rec and its index, and the files beside them while both are replaced."""

    def __init__(self, path: str) -> None:
        self.rec = os.path.realpath(path)  # a link stays one
        self.idx = os.path.realpath(os.path.splitext(path)[0] + '.idx')
        self.new_rec, self.new_idx, self.old_idx = f'{self.rec}.part', f'{self.idx}.part', f'{self.idx}.before'

    def _fits(self, index: str) -> bool:
        with contextlib.suppress(RecordError):
            RecordFile(self.rec, index).close()
            return True
        return False

    def mend(self) -> None:
        """End or undo a replacement that was interrupted, at any point. An index that fits comes back."""
        if not os.path.isfile(self.idx):
            for other in filter(self._fits, (self.new_idx, self.old_idx)):
                atomic.rename(other, self.idx)
                break
        for left in (self.new_rec, self.new_idx, f'{self.new_idx}.part', self.old_idx):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(left)

    def replace(self) -> None:
        """Replace records and index.

        After a kill in between there are records without an index. Every reader scans them, and mend() ends the
        replacement.
        """
        steps = [(self.new_rec, self.rec)]
        if os.path.isfile(self.idx):
            steps = [(self.idx, self.old_idx), *steps, (self.new_idx, self.idx)]
        for old, new in steps:
            atomic.rename(old, new)

    @contextlib.contextmanager
    def locked(self) -> Iterator[Frames]:
        """Lock the file in a `with`; its value is the file's frames. Raises RecordError while another process converts
        it.
        """
        frames = Frames(self.rec)
        try:
            import fcntl  # here: the rest of this file is of use on systems without it

            locked = True
            try:
                fcntl.flock(frames.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:  # or a file system without locks
                locked = not isinstance(error, BlockingIOError)
            if not locked or not os.path.samestat(os.fstat(frames.fd), os.stat(self.rec)):
                raise RecordError(f'{self.rec} is being converted by another process: wait for it')
            yield frames
        finally:
            frames.close()


def _alike(old: str, new: str) -> None:
    """Give a new file mode and owner of the old one."""
    shutil.copymode(old, new)
    with contextlib.suppress(PermissionError):
        os.chown(new, os.stat(old).st_uid, os.stat(old).st_gid)


class _Writer:
    """FILE.rec.part. It is begun with the first record that changes: a file without such records is only read."""

    def __init__(self, files: _Files, frames: Frames) -> None:
        self._files, self._frames, self.size = files, frames, 0
        self._file: AtomicFile | None = None

    def add(self, framed: bytes, changed: bool) -> None:
        if changed and self._file is None:
            self._begin()
        if self._file is not None:
            self._file.write(framed)
        self.size += len(framed)

    def _begin(self) -> None:
        name, free = self._files.new_rec, shutil.disk_usage(os.path.dirname(self._files.rec)).free
        if free < self._frames.size:
            raise RecordError(f'{name} needs about {self._frames.size} bytes, {free} are free: nothing was changed')
        self._file = AtomicFile(self._files.rec)
        for at in range(0, self.size, BLOCK):
            self._file.write(self._frames.take(min(BLOCK, self.size - at), at, 0, 0))

    def finish(self, ids: np.ndarray, offsets: np.ndarray) -> None:
        if self._file is None:
            return
        self._file.seal()
        _alike(self._files.rec, self._files.new_rec)
        if os.path.isfile(self._files.idx):
            write_index(self._files.new_idx, ids, offsets)
            _alike(self._files.idx, self._files.new_idx)
        self._files.replace()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _convert_all(records: RecordFile, frames: Frames, writer: _Writer, jobs: int, tell: Tell) -> None:
    path, converted = records.path, _Records(records, frames, jobs)
    offsets = np.zeros(len(records), np.int64)
    with contextlib.closing(converted.run()) as results:
        for position, (became, framed, why) in zip(converted.order, results):
            offsets[position] = writer.size
            writer.add(framed, became in CHANGED)
            tell(became, f'{path}: record {position} (id {records.ids[position]}) {why}' if why else '')
    writer.finish(records.ids, offsets)


def add_markers(path: str, jobs: int, tell: Tell) -> tuple[int, int]:
    """Add restart markers to the JPEGs of a .rec that lack them, in place. Return its bytes before and after.

    Labels, ids and order stay. Whatever happens, FILE.rec is the old or the new one, whole. tell(became, why) is called
    for each record, in the order of the file. why: which DAMAGED record it is, and what is wrong with it.

    Raises RecordError if the file is no .rec, there is no room for it, or another process converts it; ValueError if
    the C library is not built.
    """
    _library()
    files = _Files(path)
    with files.locked() as frames, contextlib.closing(_Writer(files, frames)) as writer:
        try:
            files.mend()
            with RecordFile(path) as records:
                _convert_all(records, frames, writer, jobs, tell)
        except OSError as error:
            if error.filename not in (None, files.rec, files.new_idx):
                raise
            failure = f'{files.new_rec} could not be written ({os.strerror(error.errno or 0)}): {path} was not changed'
            raise RecordError(f'{failure}, and about {frames.size} bytes are needed beside it') from None
        finally:
            files.mend()
        return frames.size, writer.size
