"""JPEGs one behind the other in a file, and where each ends: peers' environments know nothing of RecordIO.

Only Python's own library.
"""

from __future__ import annotations

import json
import os
from pathlib import Path


def write(folder, payloads):
    ends, at = [], 0
    with open(Path(folder) / 'payloads.bin', 'wb') as file:
        for payload in payloads:
            at += file.write(payload)
            ends.append(at)
    (Path(folder) / 'payloads.json').write_text(json.dumps(ends))


class Payloads:
    """By number, from any number of threads and forked processes."""

    def __init__(self, folder):
        self.ends = [0, *json.loads((Path(folder) / 'payloads.json').read_text())]
        self._fd = os.open(Path(folder) / 'payloads.bin', os.O_RDONLY)

    def __len__(self):
        return len(self.ends) - 1

    def __getitem__(self, number):
        if not 0 <= number < len(self):
            raise IndexError(number)
        return os.pread(self._fd, self.ends[number + 1] - self.ends[number], self.ends[number])
