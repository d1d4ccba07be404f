"""The packing processes: pictures in, framed records out. They have no state except the decoders' complaints."""

from __future__ import annotations

import signal
from typing import NamedTuple, Union

import cv2
import numpy as np

from ibnnet_mx.files.parent import end_with_parent
from ibnnet_mx.recordio.framing import encode
from ibnnet_mx.recordio.pixels import pictures
from ibnnet_mx.recordio.pixels.exif import APPLY
from ibnnet_mx.recordio.pixels.pictures import Complaints, PictureError
from ibnnet_mx.recordio.sources import Picture

_complaints: Complaints | None = None


class Output(NamedTuple):
    """One record file: NAME.rec with JPEGs whose short side has `short` pixels, or (short 0) 32x32 PNGs."""

    name: str
    short: int
    quality: int


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
    if not output.short:
        return pictures.encode_cifar(picture)
    return pictures.encode_jpeg(pictures.to_short_side(picture, output.short), output.quality)
