"""The options of a reader."""

from __future__ import annotations

from typing import Callable, NamedTuple

from ibnnet_mx.recordio.pixels.exif import APPLY
from ibnnet_mx.recordio.reading.sampler import Sampler


def unsaid(text: str) -> None:
    """Do nothing with a text: the report of a caller who does not want one."""


class Options(NamedTuple):
    """The options of a Reader, apart from the files that it reads. threads None: one for each usable core.

    sampler: which records make up a batch; None: every record once an epoch (sampler.EachOnce), by the three options
    shuffle (None: in training only), every (each so many-th record of the order alone) and limit (pictures of an epoch,
    None: all). share: this rank and how many ranks share the epoch. seed: of the order and of the changes.

    max_bad: damaged records that are skipped, each told to `report`, before an error. label_width: labels of a record
    that are given, more than one as an array (n, width); it must be as many as the records have. label_column: the one
    of several labels that is given, from 0. native: True makes pictures in C, False by OpenCV, None in C
    if it is built. Both are equal if nothing is resampled. Otherwise they differ by less than half a unit of 255 on
    average, or a unit if colours are changed. exif: 'apply' turns pictures upright by the orientation in their EXIF,
    'ignore' gives the pixels as they are stored. keep: small pictures stay decoded in memory, so that later epochs do
    not decode them again; False for a single pass.
    """

    seed: int = 0
    share: tuple[int, int] = (0, 1)
    limit: int | None = None
    every: int = 1
    threads: int | None = None
    max_bad: int = 0
    report: Callable[[str], None] = unsaid
    native: bool | None = None
    shuffle: bool | None = None
    label_width: int = 1
    label_column: int | None = None
    sampler: Sampler | None = None
    exif: str = APPLY
    keep: bool = True
