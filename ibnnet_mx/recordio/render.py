"""Pictures of records, by their positions, into the arrays of a batch: in C where that is built, else by OpenCV."""

from __future__ import annotations

import threading
from typing import Any, Callable, Optional

import cv2
import numpy as np

from ibnnet_mx.recordio import native, opencv
from ibnnet_mx.recordio.format import RecordError
from ibnnet_mx.recordio.native import BROKEN, FOREIGN, JPEG
from ibnnet_mx.recordio.pictures import PictureError, decode
from ibnnet_mx.recordio.region import Pixels, open_picture

# Of some of the pictures, their numbers (n,), widths and heights (n, 2): ROW (n, views), what becomes of them.
Plan = Callable[[np.ndarray, np.ndarray], np.ndarray]
Refusal = Optional[Callable[[int, int], Optional[str]]]  # of a width and height: why such a picture cannot be used


class OpenCV:
    """A picture at a time. pixels: mean and std of each RGB plane, None for bytes as they are."""

    def __init__(self, records: Any, pixels: Any, refusal: Refusal) -> None:
        self._records, self._refusal = records, refusal
        self._kept: dict[int, Pixels] = {}
        self._table = None if pixels is None else opencv.pixel_table(*pixels)

    def keep(self, position: int, picture: np.ndarray) -> None:
        """A decoded picture, BGR, that is not to be read again."""
        self._kept[position] = Pixels(picture)

    def kept(self) -> list[int]:
        """The positions of these."""
        return sorted(self._kept)

    def render(self, positions: np.ndarray, plan: Plan, out: np.ndarray) -> dict[int, str]:
        """Fills out (n, views, 3, size, size); says of those that could not be had, by their numbers, why."""
        bad = {}
        for number, position in enumerate(positions.tolist()):
            try:
                picture = self._kept.get(position) or open_picture(self._records.read(position).payload)
                self._draw(picture, number, plan, out[number])
            except RecordError as error:
                bad[number] = str(error)
            except (PictureError, cv2.error) as error:
                why = f'cannot be used ({error.err})' if isinstance(error, cv2.error) else error
                bad[number] = f'{self._records.describe(position)} {why}'
        return bad

    def _draw(self, picture: Pixels, number: int, plan: Plan, out: np.ndarray) -> None:
        refused = self._refusal and self._refusal(picture.width, picture.height)
        if refused:
            raise PictureError(refused)
        (rows,) = plan(np.array([number]), np.array([[picture.width, picture.height]]))
        for view, planes in zip(opencv.views(picture, rows), out):
            opencv.planes(view, self._table, planes)


class _Thread:
    """What each thread has of its own: a decoder, and memory for the records of a slice."""

    def __init__(self) -> None:
        self.decoder = native.Decoder()
        self._memory = np.empty(0, np.uint8)

    def room(self, size: int) -> np.ndarray:
        if self._memory.size < size:
            self._memory = np.empty(size + size // 2, np.uint8)
        return self._memory[:size]


class Native:
    """The same in slices of a batch, without the GIL. Formats besides JPEG are decoded by OpenCV."""

    def __init__(self, records: Any, pixels: Any) -> None:
        self._records, self._spans = records, records.spans()
        self._pixels = np.zeros(1, native.PIXELS)
        if pixels is not None:
            mean, std = pixels
            self._pixels['shift'], self._pixels['factor'] = mean, 1 / np.array(std, np.float64)
            self._pixels['floats'] = 1
        self._sources = np.zeros(len(records), native.SOURCE)
        self._kept: list[np.ndarray] = []
        self._local = threading.local()

    def keep(self, position: int, picture: np.ndarray) -> None:
        self._kept.append(_place(self._sources, position, picture))

    def kept(self) -> list[int]:
        return np.flatnonzero(self._sources['stride']).tolist()

    def render(self, positions: np.ndarray, plan: Plan, out: np.ndarray) -> dict[int, str]:
        sources, why = native.pick(self._sources, positions), np.zeros((len(positions), native.WHY), np.uint8)
        if not hasattr(self._local, 'thread'):
            self._local.thread = _Thread()
        thread, bad, held = self._local.thread, {}, []
        missing = np.flatnonzero(sources['stride'] == 0)
        if len(missing):
            held, bad = self._read(thread, positions, missing, sources)
            native.heads(sources, why)
            held += self._decode_foreign(sources, why)
        sizes = np.stack([sources['width'], sources['height']], axis=1).astype(np.int64)
        rows = np.ascontiguousarray(plan(np.arange(len(positions)), np.maximum(sizes, 1)))
        thread.decoder.render(sources, rows, self._pixels, out, why)
        for number, text in native.failures(why).items():
            bad[number] = f'{self._records.describe(int(positions[number]))} {text}'
        return bad

    def _read(self, thread: _Thread, positions: np.ndarray, missing: np.ndarray, sources: np.ndarray) -> Any:
        """Gives the sources that are missing their payloads. What holds the memory, and which records are damaged."""
        held, bad = [], {}
        for number in self._read_whole(thread, positions, missing, sources):
            try:
                payload = np.frombuffer(self._records.read(int(positions[number])).payload, np.uint8)
                held.append(payload)
                sources['data'][number], sources['length'][number] = native.address(payload), len(payload)
            except RecordError as error:
                bad[int(number)] = str(error)
                sources['kind'][number] = BROKEN
        return held, bad

    def _read_whole(self, thread: _Thread, positions: np.ndarray, missing: np.ndarray, sources: np.ndarray) -> Any:
        """Reads those that lie in a file in one piece; the numbers of those that do not, or are not as they were."""
        if self._spans is None:
            return missing
        fds, offsets, sizes, heads, starts = (part[positions[missing]] for part in self._spans)
        ends = np.cumsum(sizes)
        memory = thread.room(int(ends[-1]))
        read = native.read(fds, offsets, sizes, memory)
        begins = (ends - sizes)[:read]
        same = (memory[begins[:, None] + np.arange(heads.shape[1])] == heads[:read]).all(1) & (starts[:read] > 0)
        whole = missing[:read][same]
        sources['data'][whole] = native.address(memory) + (begins + starts[:read])[same]
        sources['length'][whole] = heads[:read, 4:8].copy().view('<u4')[same, 0] - (starts[:read] - 8)[same]
        return np.concatenate([missing[:read][~same], missing[read:]])

    def _decode_foreign(self, sources: np.ndarray, why: np.ndarray) -> list[np.ndarray]:
        held = []
        for number in np.flatnonzero(sources['kind'] == FOREIGN):
            try:
                payload = native.payload(sources[number])
                held.append(_place(sources, number, decode(payload)))
            except PictureError as error:
                _break(sources, number, why, str(error))
        return held


def _place(sources: np.ndarray, number: int, picture: np.ndarray) -> np.ndarray:
    """Makes a source one of decoded pixels: BGR uint8 (height, width, 3). Whoever uses it must hold what comes back."""
    height, width = picture.shape[:2]
    memory = np.empty(3 * height * width + width + native.SLACK, np.uint8)
    for number_of_plane, plane in enumerate(memory[: 3 * height * width].reshape(3, height, width)):
        cv2.extractChannel(picture, 2 - number_of_plane, plane)
    sources[number] = native.address(memory), 0, width, height, width, JPEG
    return memory


def _break(sources: np.ndarray, number: int, why: np.ndarray, text: str) -> None:
    sources['kind'][number] = BROKEN
    said = text.encode()[: native.WHY - 1]
    why[number] = 0
    why[number, : len(said)] = np.frombuffer(said, np.uint8)


def renderer(records: Any, pixels: Any, refusal: Refusal, use_native: bool | None) -> OpenCV | Native:
    """use_native None: where it is built, unless pictures are brought to size: predict does that by OpenCV, too.

    ValueError where it is asked for and cannot be had.
    """
    if use_native and native.library() is None:
        raise ValueError('the C reader is not built: python -m ibnnet_mx.recordio.build')
    if use_native and refusal:
        raise ValueError('pictures are brought to size by OpenCV alone')
    wanted = native.library() is not None and refusal is None if use_native is None else use_native
    return Native(records, pixels) if wanted else OpenCV(records, pixels, refusal)
