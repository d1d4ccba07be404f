"""The file packed.json: the origin of each finished record file of a folder, so that a second run leaves it alone."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

from ibnnet_mx.recordio import lists
from ibnnet_mx.recordio.sources import Sample, Store

NAME = 'packed.json'
VERSION = 1  # raise it when the packer's output changes


def fingerprint(samples: list[Sample], store: Store, options: Any) -> str:
    """Return the SHA-256 of the list in its order, each picture's size and time (or content), and the packing
    options.
    """
    digest = hashlib.sha256(repr((VERSION, options)).encode())
    for number, sample in enumerate(samples):
        line = f'{lists.list_line(number, sample)}\t{store.stamp(sample)}\n'
        digest.update(line.encode('utf-8', 'surrogateescape'))
    return digest.hexdigest()


def split_id(train: list[Sample], val: list[Sample]) -> str:
    """Return the SHA-256 of the names and labels of both sides in their order, whatever the records' sizes."""
    digest = hashlib.sha256()
    for side in (train, val):
        for sample in side:
            digest.update(f'{sample.labels}\t{sample.name}\n'.encode('utf-8', 'surrogateescape'))
        digest.update(b'\0')
    return digest.hexdigest()


class Manifest:
    """The entries of packed.json in a folder. A missing or foreign file has none."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.entries: dict[str, dict[str, Any]] = {}
        try:
            with open(os.path.join(folder, NAME), encoding='utf-8') as file:
                content = json.load(file)
            if isinstance(content, dict):
                self.entries = {name: entry for name, entry in content.items() if isinstance(entry, dict)}
        except (OSError, ValueError):
            pass  # none, or not ours: everything is packed

    def finished(self, name: str, origin: str) -> dict[str, Any] | None:
        """Return the entry of NAME.rec; None unless the file was made from `origin` and still has its size, .idx and
        .lst.
        """
        entry = self.entries.get(name)
        base = os.path.join(self.folder, name)
        try:
            if entry is None or entry.get('source') != origin or entry.get('bytes') != os.path.getsize(f'{base}.rec'):
                return None
        except OSError:
            return None
        return entry if os.path.isfile(f'{base}.idx') and os.path.isfile(f'{base}.lst') else None

    def left_alone(self, names: set[str], split: str) -> list[str]:
        """Return the files of another split that would stay beside new ones if only `names` are packed anew.

        A run might then train on one split and validate on the other. Entries of older versions know no split.
        """
        groups: dict[str, set[str]] = {}
        for name, entry in self.entries.items():
            if entry.get('split') and os.path.isfile(os.path.join(self.folder, f'{name}.rec')):
                groups.setdefault(entry['split'], set()).add(name)
        mixed = [group - names for other, group in groups.items() if other != split and group & names]
        return sorted(set().union(*mixed))

    def put(self, name: str, entry: dict[str, Any] | None) -> None:
        """Note a finished file, or (None) that NAME.rec is unfinished again."""
        if entry is not None:
            self.entries[name] = entry
        elif self.entries.pop(name, None) is None:
            return
        lists.write_text(os.path.join(self.folder, NAME), [json.dumps(self.entries, indent=1, sort_keys=True)])
