"""Open a log and return its runs, or one of them."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from ibnnet_mx.logs.curves import LONGEST, Reader, Run, stem_of
from ibnnet_mx.logs.lines import decimals_of


def read_runs(path: str | Path) -> list[Run]:
    """Return all runs in a log of this project, of 2016, of mxnet 1.x or GluonCV, plain or gzip.

    By worker, then in the order of the log. Raises ValueError if the file is missing, damaged, or without epochs.
    """
    path, reader = Path(path), Reader()
    try:
        with open(path, 'rb') as file:
            packed = file.read(2) == b'\x1f\x8b'  # whatever the name says
        opener = gzip.open if packed else open
        with opener(path, 'rb') as file:
            # PowerShell's `>` writes UTF-16.
            encoding = 'utf-16' if file.read(2) in (b'\xff\xfe', b'\xfe\xff') else 'utf-8'
        with opener(path, 'rt', encoding=encoding, errors='replace') as lines:
            digits = 0
            for line in iter(lambda: lines.readline(LONGEST), ''):
                if not line.endswith('\n') and decimals_of(line) < digits:
                    break  # the file ends within a number: 0.5 may be the beginning of 0.5123
                digits = max(digits, decimals_of(line))
                reader.take(line)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f'{path} cannot be read as a log: {getattr(error, "strerror", None) or error}') from error
    runs = reader.runs(stem_of(path))
    if not runs:
        raise ValueError(f'{path} is no training log: no line has Epoch[0] Train-... or Epoch[0] Validation-...')
    return runs


def read_log(path: str | Path) -> Run:
    """Return the last run in a log, of its first worker; see read_runs()."""
    runs = read_runs(path)
    return [run for run in runs if run.worker == runs[0].worker][-1]
