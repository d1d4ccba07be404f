"""Class folders as a source: the names of files in a folder or an archive -> samples of both sides, class names."""

from __future__ import annotations

import os
import re
from typing import Any

from ibnnet_mx.recordio.domains import choose_domains
from ibnnet_mx.recordio.layout import LayoutError, is_litter, read_layout
from ibnnet_mx.recordio.sources import Sample, Source, SourceError, Store


def from_names(
    names: list[str], where: str, store: Store, keys: list[Any] | None = None, domain: str | None = None
) -> Source:
    """Return the Source of pictures by their names; see layout.read_layout(). domain: see choose_domains().

    Labels follow the sorted names of the classes of both sides. Other files are counted in a note.
    """
    try:
        layout, classes = choose_domains(read_layout(names, where), where, domain)
    except LayoutError as error:
        raise SourceError(str(error)) from None
    label = {name: float(number) for number, name in enumerate(classes)}
    unseen = {parts[0] for parts, _ in layout.val} - {parts[0] for parts, _ in layout.train}
    if layout.val and unseen:
        raise SourceError(f'{where}: the class {sorted(unseen)[0]!r} is in the validation side only')

    def sample(parts: Any, number: int) -> Sample:
        name = '/'.join(part for part in names[number].split('/') if part not in ('', '.'))
        return Sample((label[parts[0]],), name, keys[number] if keys is not None else names[number])

    train, val = ([sample(*picture) for picture in side] for side in (layout.train, layout.val))
    notes = layout.notes + describe_numbers(classes)
    one_sided = layout.two_sided and not val
    return Source(train, val, classes, store, notes, by_folders=True, one_sided=one_sided)


def describe_numbers(classes: list[str]) -> list[str]:
    """Return a line if class names are numbers whose order as text is another one: 0, 1, 10, 2; else []."""
    if not all(re.fullmatch('[0-9]{1,18}', name) for name in classes) or classes == sorted(classes, key=int):
        return []
    label, name = next((label, name) for label, name in enumerate(classes) if name != sorted(classes, key=int)[label])
    return [
        f'class names are ordered as text, as torchvision does: {name} is label {label}; '
        'for the order of the numbers write a list train.lst (id<tab>label<tab>path)'
    ]


class _Walk:
    """The files below a folder. Links to folders are followed, but each real folder is read once."""

    def __init__(self, root: str) -> None:
        self.names: list[str] = []
        self.notes: list[str] = []
        self._root, self._irregular = root, 0
        self._litter: dict[str, list[str]] = {}  # by their own names, such as @eaDir in every class
        self._seen: dict[tuple[int, int], str] = {}
        self._above = {_identity(path) for path in _parents(os.path.realpath(root))}
        links = self._read('.')
        while links:  # after the real folders, so that these keep their names
            link = links.pop(0)
            links += self._follow(link)
        for name, folders in sorted(self._litter.items()):
            more = f' and {len(folders) - 1} more' if len(folders) > 1 else ''
            kind = 'hidden' if name.startswith('.') else 'not for pictures'
            self.notes.append(f'the folder {folders[0]}{more} is {kind}: it is no class')
        if self._irregular:
            self.notes.append(f'{self._irregular} entries that are no regular files are left out')

    def _follow(self, link: str) -> list[str]:
        """Read the folder that a link leads to, unless it was read or lies above. Return the links in it."""
        path = os.path.join(self._root, link)
        identity = _identity(path)
        if identity in self._above:
            self.notes.append(f'the link {link} leads to a folder above: it is left out')
        elif identity in self._seen:
            self.notes.append(f'the link {link} leads to {self._seen[identity]}, which is read: it is left out')
        else:
            return self._read(link)
        return []

    def _read(self, below: str) -> list[str]:
        """Read a folder and the real folders in it. Return the links to folders that it has, at any depth."""
        links: list[str] = []
        waiting = [below]
        while waiting:
            folder = waiting.pop()
            path = self._root if folder == '.' else os.path.join(self._root, folder)
            self._seen[_identity(path)] = folder
            inner: list[str] = []
            empty = True
            for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
                name = entry.name if folder == '.' else f'{folder}/{entry.name}'
                if not entry.is_dir():
                    empty = False
                    self._add_file(entry, name)
                elif is_litter(entry.name):
                    self._litter.setdefault(entry.name, []).append(name)
                else:
                    empty = False
                    (links if entry.is_symlink() else inner).append(name)
            waiting += inner[::-1]
            if empty and folder != '.':
                self.notes.append(f'the folder {folder} is empty: no class comes from it')
        return links

    def _add_file(self, entry: os.DirEntry[str], name: str) -> None:
        # A link that leads nowhere stays a name, so that the picture is reported when it cannot be read.
        if entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path)):
            self.names.append(name)
        else:
            self._irregular += 1


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _parents(path: str) -> list[str]:
    """Return the folders above a path."""
    parents = []
    while os.path.dirname(path) != path:
        path = os.path.dirname(path)
        parents.append(path)
    return parents


def from_folder(folder: str, domain: str | None = None) -> Source:
    """Return the Source of a folder of class folders. Raises SourceError, also for a folder that cannot be read.

    domain: as in domains.choose_domains().
    """
    try:
        walk = _Walk(folder)
    except OSError as error:
        raise SourceError(f'{error.filename} cannot be read: {error.strerror}') from None
    source = from_names(walk.names, folder, Store(folder), domain=domain)
    return source._replace(notes=source.notes + walk.notes)
