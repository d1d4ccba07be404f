"""Finished record files, and the orientation of the pictures that they were packed from.

Older versions packed pictures as they are stored, and their packed.json does not say so. Such a file stays finished if
no picture of its source is turned, because packing it once more would give the same bytes.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Optional

from ibnnet_mx.files.regular import open_regular, read_regular
from ibnnet_mx.recordio.packing.worker import Output
from ibnnet_mx.recordio.pixels.exif import IGNORE, UPRIGHT, orientation
from ibnnet_mx.recordio.pixels.jpeg import SOI
from ibnnet_mx.recordio.pixels.pictures import MAX_BYTES
from ibnnet_mx.recordio.sources import Sample, Store

HEAD = 1 << 17  # bytes; the EXIF of a JPEG comes first, and has 65,535 bytes at most
Entries = Dict[Output, Optional[Dict[str, Any]]]


def is_turned(samples: list[Sample], store: Store) -> bool:
    """Return True if a picture declares an orientation other than upright."""
    for sample in samples:
        picture = store.fetch(sample)
        if isinstance(picture, str):
            picture = _beginning(picture)
        if isinstance(picture, bytes) and orientation(picture) != UPRIGHT:
            return True
    return False


def _beginning(path: str) -> bytes:
    """Return the bytes of a picture file in which its orientation stands; of a JPEG only the first ones."""
    try:
        fd = open_regular(path)
        try:
            head = os.read(fd, HEAD)
        finally:
            os.close(fd)
        return head if head[:2] == SOI else read_regular(path, MAX_BYTES)
    except OSError:
        return b''


def still_right(entries: Entries, samples: list[Sample], store: Store, exif: str) -> Entries:
    """Return the entries of packed.json by output, None for those that were packed with another `exif`."""
    before = {entry.get('exif', IGNORE) for entry in entries.values() if entry is not None}
    if before <= {exif}:
        return entries
    alike = not is_turned(samples, store)
    return {
        output: {**entry, 'exif': exif} if entry and (alike or entry.get('exif', IGNORE) == exif) else None
        for output, entry in entries.items()
    }
