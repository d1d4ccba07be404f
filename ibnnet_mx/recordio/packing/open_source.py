"""The word or path SOURCE, as the user types it -> Source."""

from __future__ import annotations

import os

import cv2
import numpy as np

from ibnnet_mx.recordio import folders, lists, sources
from ibnnet_mx.recordio.packing import archives
from ibnnet_mx.recordio.pixels.pictures import CIFAR_SIDE, FLAGS
from ibnnet_mx.recordio.sources import Source, SourceError

PEEK = 8  # pictures that decide whether a source holds CIFAR-sized ones


def open_source(name: str, root: str | None = None) -> Source:
    """Return the Source of a name. Raises SourceError if it is none of these, or holds no pictures.

    The word digits, a .lst, a folder with train.lst (and val.lst), a folder or tar of pictures, or CIFAR-10's archive.
    Labels follow the sorted class names, except those that a list or the CIFAR-10 archive states and those of digits.
    """
    if name == 'digits':
        source = sources.from_digits()
    elif os.path.isdir(name):
        source = _folder(name, root)
    elif os.path.isfile(name):
        is_list = name.lower().endswith('.lst')
        source = lists.read_lists(name, None, root) if is_list else archives.from_archive(name)
    else:
        raise SourceError(f'SOURCE {name} is not there: name a folder, a .lst, a tar, or the word digits')
    if not source.train:
        raise SourceError(f'SOURCE {name} holds no pictures')
    return source if source.cifar else source._replace(cifar=_cifar_sized(source))


def _folder(name: str, root: str | None) -> Source:
    train, val = os.path.join(name, 'train.lst'), os.path.join(name, 'val.lst')
    if os.path.isfile(train):
        return lists.read_lists(train, val if os.path.isfile(val) else None, root)
    return archives.cifar_folder(name) or folders.from_folder(name)


def _cifar_sized(source: Source) -> bool:
    for sample in source.train[:: max(len(source.train) // PEEK, 1)][:PEEK]:
        picture = source.store.fetch(sample)
        if isinstance(picture, str):
            try:
                with open(picture, 'rb') as file:
                    picture = file.read()
            except OSError:
                return False
        if isinstance(picture, bytes) and picture:
            picture = cv2.imdecode(np.frombuffer(picture, np.uint8), FLAGS)
        if picture is None or np.shape(picture)[:2] != (CIFAR_SIDE, CIFAR_SIDE):
            return False
    return True
