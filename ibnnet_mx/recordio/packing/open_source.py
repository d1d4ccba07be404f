"""The word or path SOURCE, as the user types it -> Source."""

from __future__ import annotations

import os
from statistics import median

from ibnnet_mx.errors import OptionError
from ibnnet_mx.recordio import folders, lists, sources
from ibnnet_mx.recordio.packing import archives
from ibnnet_mx.recordio.packing.worker import pixels_of
from ibnnet_mx.recordio.pixels.pictures import CIFAR_SIDE, PictureError
from ibnnet_mx.recordio.sources import Sample, Source, SourceError
from ibnnet_mx.size import MAX_SIDE, Size

PEEK = 32  # pictures that decide whether a source holds CIFAR-sized ones


def open_source(name: str, root: str | None = None, domain: str | None = None) -> Source:
    """Return the Source of a name. Raises SourceError if it is none of these, or holds no pictures.

    The word digits, a .lst, a folder with train.lst (and val.lst), a folder or tar of pictures, or CIFAR-10's archive.
    domain: of folders and tars of DOMAIN/CLASS/..., as in domains.choose_domains().
    Labels follow the sorted class names, except those that a list or the CIFAR-10 archive states and those of digits.
    """
    if name == 'digits':
        source = sources.from_digits()
    elif os.path.isdir(name):
        source = _folder(name, root, domain)
    elif os.path.isfile(name):
        is_list = name.lower().endswith('.lst')
        source = lists.read_lists(name, None, root) if is_list else archives.from_archive(name, domain)
    else:
        raise SourceError(f'SOURCE {name} is not there: name a folder, a .lst, a tar, or the word digits')
    if domain is not None and not source.by_folders:
        raise OptionError('domain', domain, f': SOURCE {name} has no folders of domains; leave it out')
    if not source.train:
        raise SourceError(f'SOURCE {name} holds no pictures')
    return source if source.cifar else _decided(source)


def _folder(name: str, root: str | None, domain: str | None) -> Source:
    train, val = os.path.join(name, 'train.lst'), os.path.join(name, 'val.lst')
    if os.path.isfile(train):
        return lists.read_lists(train, val if os.path.isfile(val) else None, root)
    return archives.cifar_folder(name) or folders.from_folder(name, domain)


def _decided(source: Source) -> Source:
    """Return the source with its kind, CIFAR-sized if most of a sample of pictures that can be read are, and their
    usual size.
    """
    sizes = [_size(source, sample) for sample in source.train[:: max(len(source.train) // PEEK, 1)][:PEEK]]
    readable = [size for size in sizes if size is not None]
    small = sum(size == (CIFAR_SIDE, CIFAR_SIDE) for size in readable)
    cifar = small > len(readable) / 2
    notes = list(source.notes)
    if small and small < len(sizes):
        kind, other = ('cifar10', 'imagenet') if cifar else ('imagenet', 'cifar10')
        notes.append(
            f'{small} of {len(sizes)} pictures that were looked at are {CIFAR_SIDE}x{CIFAR_SIDE}, '
            f'{len(sizes) - len(readable)} cannot be read: packed as {kind} (`data_type` {other} for the other kind)'
        )
    sides = [int(median(lengths)) for lengths in zip(*readable)]
    usual = Size(*sides) if readable and max(sides) <= MAX_SIDE else None
    return source._replace(cifar=cifar, notes=notes, usual=usual)


def _size(source: Source, sample: Sample) -> tuple[int, int] | None:
    """Return height and width of a picture; None if it cannot be read."""
    picture = source.store.fetch(sample)
    try:
        pixels = pixels_of(picture, 'ignore')
    except PictureError:
        return None
    return pixels.shape[0], pixels.shape[1]
