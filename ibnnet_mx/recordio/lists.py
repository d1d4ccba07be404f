"""The picture lists of mxnet, `id<tab>label[<tab>label ...]<tab>path` a line, and synset.txt, a class name a line."""

from __future__ import annotations

import codecs
import os
import re
from typing import Any, Iterable

import numpy as np

from ibnnet_mx.files import atomic
from ibnnet_mx.recordio.sources import Sample, Source, SourceError, Store


def write_text(path: str, lines: Iterable[str]) -> None:
    """Write lines to a text file, whole or not at all."""
    atomic.write_file(path, (f'{line}\n'.encode('utf-8', 'surrogateescape') for line in lines))


def record_id(number: int, sample: Sample) -> int:
    """Return the id of a sample's record: the one in its list, or its number in the packed order."""
    return number if sample.id is None else sample.id


def list_line(number: int, sample: Sample) -> str:
    """Return the line of a sample in a list. number: its id, if its own list gave none."""
    labels = [f'{label:g}' if label == int(label) and abs(label) < 1e6 else repr(label) for label in sample.labels]
    return '\t'.join([str(record_id(number, sample)), *labels, sample.name])


def _decoded(path: Any, errors: str) -> str:
    """Return the text of a file: UTF-8 with or without a byte order mark, or UTF-16 with one."""
    with open(path, 'rb') as file:
        data = file.read()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode('utf-16', errors='replace')
    return data[3 * data.startswith(codecs.BOM_UTF8) :].decode('utf-8', errors)


def read_list(path: str) -> list[Sample]:
    """Return the samples in the order of the lines. Tabs and blanks behind a path are dropped, as im2rec.py does.

    Raises SourceError, which names a line that is none.
    """
    samples: list[Sample] = []
    for number, line in enumerate(_decoded(path, 'surrogateescape').split('\n'), 1):
        fields = line.rstrip('\r\t ').split('\t')
        if fields == ['']:
            continue
        try:
            key = int(fields[0])
            labels = tuple(float(field) for field in fields[1:-1])
            finite = all(label - label == 0 for label in labels)
        except ValueError:
            finite = False
        if len(fields) < 3 or not finite or not fields[-1]:
            shown = repr(line.rstrip('\r')[:60])
            raise SourceError(f'{path}: line {number} is {shown}, not "id<tab>label<tab>path"')
        if samples and len(labels) != len(samples[0].labels):
            first = len(samples[0].labels)
            raise SourceError(f'{path}: line {number} has {len(labels)} labels, the first line has {first}')
        samples.append(Sample(labels, fields[-1], fields[-1], key))
    if not samples:
        raise SourceError(f'{path}: the list is empty')
    return samples


def parse_names(text: str) -> list[str]:
    """Return the class names of a text, a line each. Blank lines, blanks around a name and comments (# ...) are no
    names; control characters become U+FFFD.
    """
    lines = [re.sub(r'[\x00-\x08\x0b-\x1f\x7f-\x9f]', '\ufffd', line.strip()) for line in text.split('\n')]
    return [line for line in lines if line and line != '#' and not line.startswith('# ')]


def read_names(path: Any, errors: str = 'replace') -> list[str]:
    """Return the class names in a file; see parse_names(). errors: for bytes that are no UTF-8, as in bytes.decode().

    Every command reads class names here, so that none sees another count of classes.
    """
    return parse_names(_decoded(path, errors))


def read_synset(folder: Any) -> list[str]:
    """Return the class names beside records, in synset.txt; [] without the file."""
    path = os.path.join(os.fspath(folder), 'synset.txt')
    return read_names(path) if os.path.isfile(path) else []


def no_class(labels: np.ndarray) -> np.ndarray:
    """Return bool (n,): True for labels that are no class numbers 0, 1, 2, ...; float32 lacks some from 2**24 on."""
    return ~((labels >= 0) & (labels < 1 << 24) & (labels == np.floor(labels)))


def class_names(folder: str, samples: list[Sample]) -> list[str]:
    """Return names for the labels 0, 1, ...: from synset.txt in `folder`, else the pictures' folders if they fit, else
    class 3.

    Return [] if the labels are no classes (several a picture, fractions, negative ones).
    """
    numbers = {sample.labels[0] for sample in samples}
    if len(samples[0].labels) > 1 or any(number < 0 or number != int(number) for number in numbers):
        return []
    count = int(max(numbers)) + 1
    synset = os.path.join(folder, 'synset.txt')
    if os.path.isfile(synset):
        names = read_names(synset, 'surrogateescape')
        if len(names) < count:
            raise SourceError(f'{synset} names {len(names)} classes, the lists have the label {count - 1}')
        return names
    folders: dict[int, set[str]] = {}
    for sample in samples:
        folders.setdefault(int(sample.labels[0]), set()).add(os.path.basename(os.path.dirname(sample.name)))
    unanimous = {next(iter(names)) for names in folders.values() if len(names) == 1} - {''}
    if len(unanimous) == count:
        return [next(iter(folders[number])) for number in range(count)]
    return [f'class {number}' for number in range(count)] if count <= len(samples) * 10 else []


def read_lists(train: str, val: str | None, root: str | None) -> Source:
    """Return the pictures of one list or two, below `root` (None: the lists' folder). Labels stay as they are."""
    folder = os.path.dirname(train) or '.'
    sides = [read_list(train), read_list(val) if val else []]
    if val and len(sides[1][0].labels) != len(sides[0][0].labels):
        raise SourceError(f'{val} has {len(sides[1][0].labels)} labels a picture, {train} {len(sides[0][0].labels)}')
    classes = class_names(folder, sides[0] + sides[1])
    notes: list[str] = []
    for path, side in zip((train, val), sides):
        side[:] = _with_sound_ids(str(path), side, notes)
    return Source(sides[0], sides[1], classes, Store(root or folder), notes)


def _with_sound_ids(path: str, samples: list[Sample], notes: list[str]) -> list[Sample]:
    """Return the samples, without their ids and with a note if records cannot have these."""
    ids = {sample.id for sample in samples}
    if len(ids) == len(samples) and all(0 <= (key or 0) < 1 << 63 for key in ids):
        return samples
    notes.append(f'{path}: ids are negative or come twice: the records are numbered by their place')
    return [sample._replace(id=None) for sample in samples]
