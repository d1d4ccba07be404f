"""Feeds the C reader with damaged records, indexes and JPEGs, under AddressSanitizer and UBSan:

    python tests/fuzz/run.py [--cases 20000] [--seed 0] [--jobs N] [--minutes M] [--libjpeg FILE.a] [--replay FILE]

The last line counts findings; each is a file for --replay, with a report beside it. The cases are a function of the
seed. libjpeg itself is only watched where a static one that is built with -fsanitize=address is given: README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from ibnnet_mx.recordio.fast import build  # noqa: E402
from tests.fuzz import cases  # noqa: E402

SANITIZERS = '-fsanitize=address,undefined,float-cast-overflow'
FLAGS = [
    '-g',
    '-O1',
    SANITIZERS,
    '-fno-sanitize-recover=all',
    '-fno-omit-frame-pointer',
    '-include',
    str(HERE / 'exact.h'),
]
START, STUCK = 180, 20  # seconds of wall time for a child to begin, and for a case; child.py's LIMIT is of its own time
SHOWN = 25  # reasons in the last lines


def sanitized(folder, libjpeg=None):
    """The C reader built with sanitizers. ValueError where that cannot be done."""
    library = Path(folder) / '_fast.so'
    whole = [f'-Wl,--whole-archive,{os.path.abspath(libjpeg)},--no-whole-archive'] if libjpeg else []
    build.build(library, FLAGS + whole)
    return library


def environment():
    """What a Python needs to load it. ValueError where the compiler brings no such libraries."""
    found = []
    for name in ('libasan.so', 'libubsan.so'):
        words = [build.compiler(), f'-print-file-name={name}']
        path = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
        if not os.path.isabs(path):
            raise ValueError(f'the compiler has no {name}')
        found.append(path)
    options = 'detect_leaks=0:quarantine_size_mb=16:allocator_may_return_null=1:exitcode=99'
    # Python's own allocator would hand out pieces of large blocks, between which nothing is watched.
    added = {'LD_PRELOAD': ' '.join(found), 'ASAN_OPTIONS': options, 'PYTHONMALLOC': 'malloc'}
    return {**os.environ, **added, 'UBSAN_OPTIONS': 'print_stacktrace=1', 'OMP_NUM_THREADS': '1'}


class Result:
    """Of all children together."""

    def __init__(self, seed, folder):
        self.seed, self.folder = seed, folder
        self.outcomes, self.findings = Counter(), []
        self.worst, self.memory, self._lock = (0.0, -1), (0, -1), threading.Lock()

    @property
    def done(self):
        return sum(self.outcomes.values())

    def add(self, number, outcome, seconds, taken, finding):
        with self._lock:
            self.outcomes[outcome] += 1
            self.worst, self.memory = max(self.worst, (seconds, number)), max(self.memory, (taken, number))
        if finding:
            self.found(number, finding)

    def found(self, number, text):
        """Writes a case down; -1: the child did not begin."""
        base = self.folder / f'seed{self.seed}-case{number}'
        self.folder.mkdir(parents=True, exist_ok=True)
        Path(f'{base}.txt').write_text(text)
        if number >= 0:
            cases.save(f'{base}.npz', cases.make(self.seed, number))
        with self._lock:
            self.findings.append(number)
        print(f'FINDING case {number}, {base}.npz: {text.strip().splitlines()[-1][:200]}', flush=True)

    def summary(self):
        accepted = sum(n for name, n in self.outcomes.items() if 'accepted' in name or name == 'read: all')
        rows = [f'{n:7d}  {name}' for name, n in self.outcomes.most_common(SHOWN)]
        rest = sum(n for _, n in self.outcomes.most_common()[SHOWN:])
        rows += [f'{rest:7d}  for {len(self.outcomes) - SHOWN} other reasons'] if rest else []
        return '\n'.join(rows) + (
            f'\ncases {self.done}: accepted {accepted}, refused {self.done - accepted}; '
            f'worst time {self.worst[0]:.2f} s (case {self.worst[1]}), most memory {self.memory[0] >> 20} MB '
            f'(case {self.memory[1]}), findings {len(self.findings)}'
        )


class Child:
    """A process that runs cases, and what it says."""

    def __init__(self, script, words, env):
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        command = [sys.executable, str(HERE / script), *map(str, words)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._errors, env=env)
        self._rest = b''

    def line(self, patience):
        """The next answer; None where it died, or said nothing for so many seconds and was ended."""
        until = time.monotonic() + patience
        fd = self._process.stdout.fileno()
        while b'\n' not in self._rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                self._errors.seek(0, os.SEEK_END)
                self._errors.write(f'\nnothing was heard for {patience} seconds'.encode())
                return None
            some = os.read(fd, 1 << 16)
            if not some:
                return None
            self._rest += some
        one, self._rest = self._rest.split(b'\n', 1)
        return json.loads(one)

    def end(self):
        """What it wrote to standard error."""
        self._process.kill()
        self.code = self._process.wait()
        self._process.stdout.close()
        self._errors.seek(max(self._errors.seek(0, os.SEEK_END) - 20000, 0))
        with self._errors:
            return self._errors.read().decode('utf-8', 'replace')


def work(library, result, numbers, until):
    """Runs numbers (a range) in children; one that dies of a case is followed by another, which begins behind it."""
    while numbers and time.monotonic() < until:
        words = (library, result.seed, numbers.start, numbers.step, numbers.stop)
        child, said = Child('child.py', words, environment()), None
        if child.line(START) != ['ready']:
            result.found(-1, child.end() or 'the child did not begin')
            return
        while numbers and time.monotonic() < until:
            said = child.line(STUCK)
            if said is None:
                break
            result.add(*said)
            numbers = numbers[1:]
        text = child.end()
        if said is None and numbers:
            result.found(numbers[0], text or 'the child ended')
            result.outcomes['died'] += 1
            numbers = numbers[1:]


def replay(library, path):
    child = Child('child.py', (library, path), environment())
    said = child.line(START) and child.line(STUCK)
    text = child.end()
    print(text if said is None else '\n'.join(map(str, said)))
    return 1 if said is None or said[-1] else 0


def options(words=None):
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--cases', type=int, default=20000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--first', type=int, default=0, help='number of the first case')
    parser.add_argument('--jobs', type=int, default=1, help='processes')
    parser.add_argument('--minutes', type=float, default=60, help='ends then, whatever is left')
    parser.add_argument('--libjpeg', help='a static libjpeg-turbo built with -fsanitize=address')
    parser.add_argument('--replay', metavar='FILE', help='a case that was written down')
    parser.add_argument('--findings', type=Path, default=HERE / 'findings', help='folder for what is found')
    return parser.parse_args(words)


def main():
    args = options()
    with tempfile.TemporaryDirectory() as folder:
        library = sanitized(folder, args.libjpeg)
        if args.replay:
            return replay(library, args.replay)
        result, began = Result(args.seed, args.findings), time.monotonic()
        until = began + 60 * args.minutes
        ranges = [range(args.first + job, args.first + args.cases, args.jobs) for job in range(args.jobs)]
        threads = [threading.Thread(target=work, args=(library, result, one, until)) for one in ranges]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            threads[0].join(20) if threads[0].is_alive() else time.sleep(1)
            print(f'{result.done} cases, {time.monotonic() - began:.0f} s, findings {len(result.findings)}', flush=True)
    print(result.summary())
    return 1 if result.findings or result.done < args.cases else 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except ValueError as error:
        sys.exit(f'tests/fuzz/run.py: {error}')
