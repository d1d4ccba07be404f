"""The size that the pictures of a file have, from the headers of a few of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ibnnet_mx.recordio.format import RecordError
from ibnnet_mx.recordio.pixels import jpeg
from ibnnet_mx.recordio.pixels.exif import APPLY, orientation
from ibnnet_mx.size import MAX_SIDE, Size

LOOKED_AT = 9  # pictures, evenly spread
TURNED = 4  # orientations above it swap height and width


def usual_size(records: Any, exif: str = APPLY) -> Size | None:
    """Return the median height and width of a few pictures; None if no header of them says its size.

    exif: 'apply' takes pictures as upright as they are read, 'ignore' as they are stored.
    """
    sides = []
    for position in np.unique(np.linspace(0, len(records) - 1, min(LOOKED_AT, len(records))).astype(int)).tolist():
        try:
            payload = records.read(position).payload
        except RecordError:
            continue
        width, height = jpeg.declared(payload) or (0, 0)
        turned = exif == APPLY and orientation(payload) > TURNED
        if 1 <= min(width, height) <= max(width, height) <= MAX_SIDE:
            sides.append((width, height) if turned else (height, width))
    return Size(*np.median(sides, axis=0).astype(int).tolist()) if sides else None
