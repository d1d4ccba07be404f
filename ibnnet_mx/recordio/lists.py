"""The picture lists of mxnet, `id<tab>label[<tab>label ...]<tab>path` a line, and synset.txt, a class name a line."""

from __future__ import annotations

import os
from typing import Any, Iterable

import numpy as np

from ibnnet_mx.files import atomic
from ibnnet_mx.recordio.sources import Sample, Source, SourceError, Store


def write_text(path: str, lines: Iterable[str]) -> None:
    """Write lines to a text file, whole or not at all."""
    atomic.write_file(path, (f'{line}\n'.encode('utf-8', 'surrogateescape') for line in lines))


def list_line(record_id: int, sample: Sample) -> str:
    """Return the line of a sample in a list."""
    labels = [f'{label:g}' if label == int(label) and abs(label) < 1e6 else repr(label) for label in sample.labels]
    return '\t'.join([str(record_id), *labels, sample.name])


def read_list(path: str) -> list[Sample]:
    """Return the samples in the order of the lines. Raises SourceError, which names a line that is none."""
    samples: list[Sample] = []
    with open(path, encoding='utf-8', errors='surrogateescape', newline='\n') as file:
        for number, text in enumerate(file, 1):
            fields = text.rstrip('\r\n').split('\t')
            if fields == ['']:
                continue
            try:
                int(fields[0])
                labels = tuple(float(field) for field in fields[1:-1])
                finite = all(label - label == 0 for label in labels)
            except ValueError:
                finite = False
            if len(fields) < 3 or not finite or not fields[-1]:
                raise SourceError(f'{path}: line {number} is {text.strip()[:60]!r}, not "id<tab>label<tab>path"')
            if samples and len(labels) != len(samples[0].labels):
                first = len(samples[0].labels)
                raise SourceError(f'{path}: line {number} has {len(labels)} labels, the first line has {first}')
            samples.append(Sample(labels, fields[-1], fields[-1]))
    if not samples:
        raise SourceError(f'{path}: the list is empty')
    return samples


def read_synset(folder: Any) -> list[str]:
    """Return the class names beside records: the lines of synset.txt, with anything but UTF-8 replaced; [] without the
    file.
    """
    path = os.path.join(os.fspath(folder), 'synset.txt')
    if not os.path.isfile(path):
        return []
    with open(path, encoding='utf-8', errors='replace') as file:
        return [name.rstrip('\n') for name in file]


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
        with open(synset, encoding='utf-8', errors='surrogateescape') as file:
            names = [name.strip() for name in file if name.strip()]
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
    return Source(sides[0], sides[1], classes, Store(root or folder), [])
