"""The packing processes: pictures in, framed records out. They have no state except the decoders' complaints."""

from __future__ import annotations

import signal
from typing import Any, NamedTuple, Union

import cv2
import numpy as np

from ibnnet_mx.files.parent import end_with_parent
from ibnnet_mx.recordio.framing import encode
from ibnnet_mx.recordio.pixels import pictures
from ibnnet_mx.recordio.pixels.exif import APPLY
from ibnnet_mx.recordio.pixels.pictures import Complaints, PictureError
from ibnnet_mx.recordio.sources import Picture
from ibnnet_mx.size import Size

_complaints: Complaints | None = None


class Output(NamedTuple):
    """One record file: NAME.rec with JPEGs whose short side has `short` pixels, or (short 0) 32x32 PNGs.

    size: the pictures are for networks of this size. For a square a longer short side is brought to it, and no picture
    is enlarged. A size that is not square, or has at most size.SMALL pixels a side, is the size of all pictures. Small
    ones are PNGs.
    """

    name: str
    short: int
    quality: int
    size: Size | None = None

    @property
    def settings(self) -> tuple[Any, ...]:
        """All that decides about the pixels."""
        return self[1:3] if self.size is None else self[1:]


def sized_output(side: str, size: Size, quality: int) -> Output:
    """Return the Output of 'train' or 'val' for networks of a size."""
    short = size.height if size.square and not size.small else 0
    return Output(f'{side}_{size}', short, quality, size)


class Task(NamedTuple):
    """A picture to be packed: its record's id and labels."""

    id: int
    labels: tuple[float, ...]
    picture: Picture


Packed = Union[list, str]  # a record for each output, or why there is none


def prepare_process() -> None:
    """Prepare a new process: one thread, no Ctrl-C of its own, decoders' complaints caught, no life after its
    parent's.
    """
    global _complaints
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to all of its processes
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(1)
    _complaints = Complaints()
    end_with_parent()


def pack_tasks(tasks: list[Task], outputs: list[Output], largest: int, exif: str = APPLY) -> list[Packed]:
    """Return the records of each task, or why there are none.

    largest: the largest short side of all files of this side, finished ones too, because they all hold the same
    pictures. exif: 'apply' packs pictures upright, 'ignore' as they are stored.
    """
    return [_pack_one(task, outputs, largest, exif) for task in tasks]


def _pack_one(task: Task, outputs: list[Output], largest: int, exif: str) -> Packed:
    try:
        picture = pixels_of(task.picture, exif)
        if largest:
            pictures.check_sides(picture.shape, largest)
        return [encode(_payload(picture, output), task.labels, task.id) for output in outputs]
    except PictureError as error:
        return str(error)


def pixels_of(picture: Picture, exif: str) -> np.ndarray:
    """Return 8-bit BGR (H, W, 3) of a path, an encoded picture, or pixels. Raises PictureError."""
    if isinstance(picture, str):
        return pictures.read_picture(picture, _complaints, exif)
    return pictures.decode(picture, _complaints, exif) if isinstance(picture, bytes) else picture


def _payload(picture: np.ndarray, output: Output) -> bytes:
    size = output.size
    if size is not None and not output.short:
        whole = pictures.to_size(picture, size)
        return pictures.encode_png(whole) if size.small else pictures.encode_jpeg(whole, output.quality)
    if not output.short:
        return pictures.encode_cifar(picture)
    if size is not None and min(picture.shape[:2]) <= output.short:
        return pictures.encode_jpeg(picture, output.quality)
    return pictures.encode_jpeg(pictures.to_short_side(picture, output.short), output.quality)
