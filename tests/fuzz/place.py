"""Where a case runs: a folder of its own, whole files to damage, the commands, and what no command may do."""

from __future__ import annotations

import importlib
import io
import os
import re
import shutil
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

COMMANDS = {  # name: (module of main, name in front of its errors)
    'train': ('ibnnet_mx.cli.train', 'train_resnet'),
    'evaluate': ('ibnnet_mx.cli.evaluate', 'evaluate'),
    'predict': ('ibnnet_mx.cli.predict', 'predict'),
    'convert': ('ibnnet_mx.cli.convert', 'ibnnet convert'),
    'plot': ('ibnnet_mx.cli.plot', 'plot_curve'),
    'im2rec': ('ibnnet_mx.cli.im2rec', 'im2rec_wrapper'),
    'models': ('ibnnet_mx.cli.models', 'ibnnet models'),
    'recordio': ('ibnnet_mx.cli.records', 'ibnnet records'),
    'shift': ('ibnnet_mx.cli.shifts', 'ibnnet shifts'),
}
TRACES = ('Traceback (most recent call last)', 'Stack trace:', 'Check failed', 'terminate called')
LOG = r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (INFO|WARNING) '
REFUSED, EQUAL, WRITTEN, TOLD, UNKNOWN = 'refused', 'equal', 'as written', 'told', 'unknown'
OUTCOMES = {
    REFUSED: 'refused with one line',
    TOLD: 'read in part, and said so',
    EQUAL: 'read, with the result of the whole file',
    WRITTEN: 'read, and an independent reader finds the same in it',
    UNKNOWN: 'read, where nothing in the format can tell',
}


class Finding(Exception):
    """What must never come of a case."""


class Ran(NamedTuple):
    """What a command did."""

    words: tuple
    code: int
    out: str
    err: str


class Noise:
    """What C and C++ write to file descriptor 2, where that is a file."""

    def __init__(self):
        self._at = 0

    def take(self):
        size = os.fstat(2).st_size
        text = os.pread(2, min(size - self._at, 1 << 20), self._at).decode('utf-8', 'replace')
        self._at = size
        return text


class Place:
    """A folder for cases, emptied between them. whole: valid.Valid, the files that are damaged."""

    def __init__(self, folder, whole):
        self.folder, self.whole, self.noise = Path(folder), whole, Noise()
        self.said = []  # what the commands of the case said

    def clear(self):
        os.chdir(self.folder.parent)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        os.chdir(self.folder)
        self.said = []

    def write(self, name, data):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return str(path)

    def run(self, name, *words):
        """A command in this process, as a Ran. Finding: it did what no command may do."""
        module, prog = COMMANDS[name]
        words = tuple(map(str, words))
        kept = sys.stdout, sys.stderr
        sys.stdout = io.TextIOWrapper(io.BytesIO(), 'utf-8', 'strict', write_through=True)
        sys.stderr = io.TextIOWrapper(io.BytesIO(), 'utf-8', 'backslashreplace', write_through=True)
        raised = ''
        try:
            code = importlib.import_module(module).main(list(words)) or 0
        except SystemExit as error:
            code = error.code or 0
        except BaseException:
            code, raised = -1, traceback.format_exc()
        finally:
            out, err = (stream.buffer.getvalue().decode('utf-8', 'replace') for stream in (sys.stdout, sys.stderr))
            sys.stdout, sys.stderr = kept
        ran = Ran((name, *words), code, out, err)
        self.said.append(ran)
        self._judge(ran, prog, raised, self.noise.take())
        return ran

    def _judge(self, ran, prog, raised, noise):
        if raised:
            raise Finding(raised)
        for text in (ran.out, ran.err, noise):
            for trace in TRACES:
                if trace in text:
                    raise Finding(f'{ran.words[0]} shows {trace!r}: {text[:3000]}')
        if ran.code not in (0, 1, 2):
            raise Finding(f'{ran.words[0]} ends with {ran.code}')
        lines = [line for line in re.split('\r?\n', ran.err) if line]
        known = re.compile(rf'{re.escape(prog)}: |{LOG}|skipped: |left as it was: ')
        strange = [line for line in lines if not known.match(line)]
        if strange:
            raise Finding(
                f'{ran.words[0]} writes {strange[0][:300]!r}, which is no line of its own; {ran.err[:1000]!r}'
            )
        if ran.code == 2 and not (lines and lines[-1].startswith(f'{prog}: ')):
            raise Finding(f'{ran.words[0]} ends with 2 and does not say why: {ran.err[-300:]!r}')


def told(ran):
    """The lines of a command about single files or records, its last error aside."""
    return [line for line in ran.err.splitlines() if line]
