"""Verification sets of face recognition, such as lfw.bin, cfp_fp.bin and agedb_30.bin: pairs of pictures.

A .bin is a pickle of (pictures, same): encoded pictures, two for each pair, and a bool for each pair.
Source: insightface, recognition/arcface_mxnet/verification.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ibnnet_mx.files.pickles import PickleError, load_arrays
from ibnnet_mx.files.regular import read_regular
from ibnnet_mx.recordio.format import RecordError

MOST_BYTES = 1 << 32  # of a file


class Pairs(NamedTuple):
    """Encoded pictures, 2n of them: 2i and 2i + 1 are a pair. same: bool (n,), True if both show one person."""

    pictures: list[bytes]
    same: np.ndarray


def read_pairs(path: Any) -> Pairs:
    """Return the Pairs of a .bin, without running anything in it. Raises RecordError, which names the file."""
    try:
        content = load_arrays(read_regular(str(path), MOST_BYTES))
    except OSError as error:
        raise RecordError(f'{path} cannot be read: {error.strerror or error}') from None
    except PickleError as error:
        raise RecordError(f'{path} {error}, which a verification set does not need: refused') from None
    if not isinstance(content, (tuple, list)) or len(content) != 2:
        raise RecordError(f'{path} is no verification set: it must hold pictures and a list that says which are alike')
    pictures, same = content
    if not all(isinstance(part, (list, tuple, np.ndarray)) for part in content):
        raise RecordError(f'{path} is no verification set: it holds no two lists')
    if len(pictures) != 2 * len(same):
        raise RecordError(f'{path} is no verification set: {len(pictures)} pictures for {len(same)} pairs')
    return Pairs([_bytes_of(path, number, one) for number, one in enumerate(pictures)], np.array(same, bool))


def _bytes_of(path: Any, number: int, picture: Any) -> bytes:
    if isinstance(picture, np.ndarray) and picture.dtype == np.uint8:
        return picture.tobytes()
    if isinstance(picture, bytes):
        return picture
    raise RecordError(f'{path}: picture {number} is a {type(picture).__name__}, no encoded picture')
