"""The renderers: pictures of records, by position, into the arrays of a batch; in C if it is built, else by OpenCV."""

from __future__ import annotations

import threading
from typing import Any, Callable, Optional

import cv2
import numpy as np

from ibnnet_mx.recordio.fast import native
from ibnnet_mx.recordio.fast.native import BROKEN, CHANGED, FOREIGN, JPEG, UNREAD
from ibnnet_mx.recordio.format import RecordError
from ibnnet_mx.recordio.pixels import opencv
from ibnnet_mx.recordio.pixels.exif import APPLY, IGNORE
from ibnnet_mx.recordio.pixels.jpeg import SOI
from ibnnet_mx.recordio.pixels.pictures import PictureError, decode
from ibnnet_mx.recordio.pixels.region import Decoded, open_picture

MOST_NOTED = 1 << 20  # records; of more, no picture is kept decoded
# Pictures' numbers (n,), widths and heights (n, 2) -> ROW (n, views), the views that are made of them.
RowsOf = Callable[[np.ndarray, np.ndarray], np.ndarray]
Refusal = Optional[Callable[[int, int], Optional[str]]]  # of a width and height: why such a picture cannot be used


class OpenCV:
    """A picture at a time. normalisation: mean and std of each RGB plane, None for bytes as they are."""

    def __init__(self, records: Any, normalisation: Any, refusal: Refusal, exif: str = APPLY) -> None:
        self._records, self._refusal, self._exif = records, refusal, exif
        self._cached: dict[int, Decoded] = {}
        self._table = None if normalisation is None else opencv.pixel_table(*normalisation)

    def cache(self, position: int, picture: np.ndarray) -> None:
        """Keep a decoded picture, BGR, so that it is not read again."""
        self._cached[position] = Decoded(picture)

    def cached(self) -> list[int]:
        """Return the positions of these pictures."""
        return sorted(self._cached)

    def is_sound(self, payload: bytes) -> bool:
        """Return True: OpenCV does not tell if a picture that it has decoded is whole."""
        return True

    def render(self, positions: np.ndarray, rows_of: RowsOf, out: np.ndarray) -> dict[int, str]:
        """Fill out (n, views, 3, height, width). Return {number: why} of the pictures that cannot be read."""
        bad = {}
        for number, position in enumerate(positions.tolist()):
            try:
                picture = self._cached.get(position) or open_picture(self._records.read(position).payload, self._exif)
                self._draw(picture, number, rows_of, out[number])
            except RecordError as error:
                bad[number] = str(error)
            except (PictureError, cv2.error) as error:
                why = f'cannot be used ({error.err})' if isinstance(error, cv2.error) else error
                bad[number] = f'{self._records.describe(position)} {why}'
        return bad

    def _draw(self, picture: Decoded, number: int, rows_of: RowsOf, out: np.ndarray) -> None:
        refused = self._refusal and self._refusal(picture.width, picture.height)
        if refused:
            raise PictureError(refused)
        (rows,) = rows_of(np.array([number]), np.array([[picture.width, picture.height]]))
        for view, planes in zip(opencv.views(picture, rows), out):
            opencv.planes(view, self._table, planes)


class Native:
    """The renderer in C, on slices of a batch and without the GIL. OpenCV decodes formats other than JPEG."""

    def __init__(self, records: Any, normalisation: Any, exif: str = APPLY) -> None:
        self._records, self._exif = records, exif
        self._pixels = np.zeros(1, native.PIXELS)
        if normalisation is not None:
            mean, std = normalisation
            self._pixels['shift'], self._pixels['factor'] = mean, 1 / np.array(std, np.float64)
            self._pixels['floats'] = 1
        # One for each record, in which decoded pictures are noted; None: too many, they are made for each batch.
        self._payloads = self._describe(np.arange(len(records))) if len(records) <= MOST_NOTED else None
        self._cached: list[np.ndarray] = []
        self._local = threading.local()

    def cache(self, position: int, picture: np.ndarray) -> None:
        """Keep a decoded picture, BGR, so that it is not read again."""
        if self._payloads is not None:
            self._cached.append(_place(self._payloads, position, picture))

    def cached(self) -> list[int]:
        """Return the positions of these pictures."""
        return [] if self._payloads is None else np.flatnonzero(self._payloads['stride']).tolist()

    def is_sound(self, payload: bytes) -> bool:
        """Return True if a picture that OpenCV has decoded is whole: C decodes a JPEG again and tells."""
        return payload[:2] != SOI or native.check_jpeg(self._decoder(), payload)[0] == ''

    def _decoder(self) -> native.Decoder:
        if not hasattr(self._local, 'decoder'):
            self._local.decoder = native.Decoder()
        return self._local.decoder

    def render(self, positions: np.ndarray, rows_of: RowsOf, out: np.ndarray) -> dict[int, str]:
        """Fill out (n, views, 3, height, width). Return {number: why} of the pictures that cannot be read."""
        payloads = self._describe(positions) if self._payloads is None else native.pick(self._payloads, positions)
        why = np.zeros((len(positions), native.WHY), np.uint8)
        alive: list[np.ndarray] = []
        bad: dict[int, str] = {}
        if not payloads['stride'].all():
            alive, bad = self._read_foreign(positions, payloads, why)
        sizes = np.stack([payloads['width'], payloads['height']], axis=1).astype(np.int64)
        rows = np.ascontiguousarray(rows_of(np.arange(len(positions)), np.maximum(sizes, 1)))
        self._decoder().render(payloads, rows, self._pixels, out, why)
        for number, text in native.failures(why).items():
            position = int(positions[number])
            bad[number] = self._changed(position) if text == CHANGED else f'{self._records.describe(position)} {text}'
        return bad

    def _describe(self, positions: np.ndarray) -> np.ndarray:
        """Return native.PAYLOAD (n,) of records, by their places in the files."""
        payloads = np.zeros(len(positions), native.PAYLOAD)
        payloads['kind'], payloads['as_stored'] = UNREAD, self._exif == IGNORE
        spans = self._records.spans(positions)
        if spans is not None:
            for name, part in zip(('fd', 'offset', 'start', 'length'), spans):
                payloads[name] = part
            payloads['kind'][payloads['start'] > 0] = JPEG
        return payloads

    def _read_foreign(
        self, positions: np.ndarray, payloads: np.ndarray, why: np.ndarray
    ) -> tuple[list[np.ndarray], Any]:
        """Fill in the sizes of all, and pixels or payloads of those that C does not read.

        Return the arrays that hold these, which must live as long as the payloads, and {number: why} of damaged ones.
        """
        alive: list[np.ndarray] = []
        bad: dict[int, str] = {}
        native.heads(payloads, why)
        for number in np.flatnonzero((payloads['kind'] == FOREIGN) | (payloads['kind'] == UNREAD)):
            try:
                payload = self._records.read(int(positions[number])).payload
                if payload[:2] == SOI:
                    alive.append(np.frombuffer(payload, np.uint8))
                    one = payloads[number : number + 1]
                    one['data'], one['length'], one['kind'] = native.address(alive[-1]), len(payload), JPEG
                    native.heads(one, why[number : number + 1])
                else:
                    alive.append(_place(payloads, number, decode(payload, exif=self._exif)))
            except RecordError as error:
                bad[int(number)] = str(error)
                payloads['kind'][number] = BROKEN
            except PictureError as error:
                _break(payloads, number, why, str(error))
        return alive, bad

    def _changed(self, position: int) -> str:
        """Return why a record is not the same as when its file was opened."""
        try:
            self._records.read(position)
        except RecordError as error:
            return str(error)
        return f'{self._records.describe(position)} {CHANGED}'


def _place(payloads: np.ndarray, number: int, picture: np.ndarray) -> np.ndarray:
    """Make a payload one of decoded pixels: BGR uint8 (height, width, 3). The caller must hold the returned array."""
    height, width = picture.shape[:2]
    memory = np.empty(3 * height * width + width + native.SLACK, np.uint8)
    for number_of_plane, plane in enumerate(memory[: 3 * height * width].reshape(3, height, width)):
        cv2.extractChannel(picture, 2 - number_of_plane, plane)
    payloads[number] = native.address(memory), 0, 0, 0, 0, width, height, width, JPEG, 0, 0
    return memory


def _break(payloads: np.ndarray, number: int, why: np.ndarray, text: str) -> None:
    payloads['kind'][number] = BROKEN
    message = text.encode()[: native.WHY - 1]
    why[number] = 0
    why[number, : len(message)] = np.frombuffer(message, np.uint8)


def renderer(
    records: Any, normalisation: Any, refusal: Refusal, use_native: bool | None, exif: str = APPLY
) -> OpenCV | Native:
    """Return the renderer of a reader. Raises ValueError if C is asked for and not built.

    use_native None: C if it is built, unless pictures are brought to size, which predict does by OpenCV, too. exif: as
    in decode().
    """
    if use_native and native.functions() is None:
        raise ValueError('the C reader is not built: ibnnet build reader')
    if use_native and refusal:
        raise ValueError('pictures are brought to size by OpenCV alone')
    wanted = native.functions() is not None and refusal is None if use_native is None else use_native
    return Native(records, normalisation, exif) if wanted else OpenCV(records, normalisation, refusal, exif)
