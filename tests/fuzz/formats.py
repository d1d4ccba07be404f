"""Feeds the commands with damaged files of every format, and with command lines that nobody should give:

    python tests/fuzz/formats.py [--cases 2500] [--seed 0] [--formats A,B] [--minutes M] [--replay FORMAT:NUMBER]

The last lines are a table of formats and outcomes; each finding is a file for reading, with the words that the commands
said. The cases are a function of the seed; README.md says what is a finding.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from tests.fuzz.place import OUTCOMES  # noqa: E402
from tests.fuzz.run import Child  # noqa: E402

START, STUCK = 120, 60  # seconds of wall time for a child to begin, and for a case
FOUND = 'findings'


def names():
    from tests.fuzz.formats_child import FORMATS

    return list(FORMATS)


class Tally:
    """Outcomes by format, and what was found."""

    def __init__(self, folder):
        self.folder, self.findings = Path(folder), []
        self.outcomes = defaultdict(Counter)
        self.slowest, self.largest = (0.0, ('', 0)), (0, ('', 0))

    @property
    def done(self):
        return sum(sum(counts.values()) for counts in self.outcomes.values())

    def add(self, case, outcome, seconds, taken, finding):
        name = case[0]
        self.outcomes[name][FOUND if finding else outcome] += 1
        self.slowest, self.largest = max(self.slowest, (seconds, case)), max(self.largest, (taken, case))
        if finding:
            self.found(case, finding)

    def found(self, case, text):
        self.findings.append(case)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / ''.join(c if c.isalnum() else '_' for c in f'{case[0]}-{case[1]}')
        path.with_suffix('.txt').write_text(text, errors='backslashreplace')
        last = (text.strip().splitlines() or ['?'])[-1][:300]
        print(f'FINDING {case[0]}:{case[1]}, {path}.txt: {last}'.encode('ascii', 'replace').decode(), flush=True)

    def table(self):
        """Rows of a Markdown table."""
        columns = [*OUTCOMES, FOUND]
        rows = [f'| format | cases | {" | ".join(columns)} |', '|---' * (len(columns) + 2) + '|']
        total = Counter()
        for name, counts in self.outcomes.items():
            total.update(counts)
            rows.append(f'| {name} | {sum(counts.values())} | ' + ' | '.join(str(counts[c]) for c in columns) + ' |')
        rows.append(f'| all | {self.done} | ' + ' | '.join(str(total[c]) for c in columns) + ' |')
        return rows

    def summary(self):
        slow, large = self.slowest, self.largest
        last = f'slowest {slow[0]:.1f} s {slow[1]}, most memory {large[0] >> 20} MB {large[1]}'
        return '\n'.join([*self.table(), f'{self.done} cases, {len(self.findings)} findings; {last}'])


def work(tally, seed, cases, until=float('inf'), stuck=STUCK, kept=None):
    """Runs cases, (format, number) each, in children; one that dies of a case is followed by another, which begins
    behind it. kept: a folder that stays."""
    while cases and time.monotonic() < until:
        with tempfile.TemporaryDirectory() if not kept else contextlib.nullcontext(kept) as folder:
            (Path(folder) / 'cases').write_text(json.dumps(cases))
            child, said = Child('formats_child.py', (folder, seed, Path(folder) / 'cases'), _environment()), None
            if child.line(START) != ['ready']:
                tally.found(('start', 0), child.end() or 'the child did not begin')
                return
            while cases and time.monotonic() < until:
                said = child.line(stuck)
                if said is None:
                    break
                tally.add(tuple(cases[0]), *said)
                cases = cases[1:]
            text = child.end()
        if said is None and cases:
            tally.add(tuple(cases[0]), FOUND, 0, 0, f'{text}\nthe child ended with {child.code}, -9: stopped here')
            cases = cases[1:]


def _environment():
    return {**os.environ, 'OMP_NUM_THREADS': '1', 'MXNET_HOME': '/nowhere', 'PYTHONFAULTHANDLER': '1'}


def options(words=None):
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--cases', type=int, default=2500)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--first', type=int, default=0, help='number of the first case of each format')
    parser.add_argument('--formats', help='names with commas; unset: all')
    parser.add_argument('--minutes', type=float, default=60, help='ends then, whatever is left')
    parser.add_argument('--replay', metavar='FORMAT:NUMBER', help='a case alone')
    parser.add_argument('--findings', type=Path, default=HERE / 'findings', help='folder for what is found')
    return parser.parse_args(words)


def main(words=None):
    args = options(words)
    chosen = args.formats.split(',') if args.formats else names()
    strange = set(chosen) - set(names())
    if strange:
        raise ValueError(f'--formats {args.formats}: there are {", ".join(names())}')
    cases = [(chosen[i % len(chosen)], args.first + i // len(chosen)) for i in range(args.cases)]
    kept = None
    if args.replay:
        name, _, number = args.replay.rpartition(':')
        cases, kept = [(name, int(number))], tempfile.mkdtemp()
        print(f'its files stay in {kept}/case')
    tally = Tally(args.findings)
    work(tally, args.seed, cases, time.monotonic() + 60 * args.minutes, kept=kept)
    print(tally.summary())
    return 1 if tally.findings or tally.done < len(cases) else 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except ValueError as error:
        sys.exit(f'tests/fuzz/formats.py: {error}')
