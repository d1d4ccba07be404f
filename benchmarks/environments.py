"""Environments of their own for other people's programs, from exact versions, and measurements as processes.

What cannot be had, and what fails, is told in one line: a benchmark leaves it out.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent / 'requirements'
PEERS = Path(__file__).resolve().parent / '.peers'  # where the environments are unless something else is asked for
LIMIT = 1800  # seconds that an installation may take
KILLED = -9


def last_error(text):
    """The line of a program's output that says best what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ['nothing was said']
    telling = [line for line in lines if 'Error' in line or line.startswith('ERROR')]
    return (telling or lines)[-1][:200]


def _clean():
    """The variables without those that would let one environment look into another."""
    return {name: value for name, value in os.environ.items() if name not in ('PYTHONPATH', 'VIRTUAL_ENV')}


def _run(*words):
    """None where it worked, else why not."""
    try:
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_clean(), timeout=LIMIT
        )
    except subprocess.TimeoutExpired:
        return f'it took more than {LIMIT} seconds'
    return None if done.returncode == 0 else _why(done.stdout)


def _why(said):
    """pip's own last word is that a wheel failed; what the build said comes before."""
    telling = [line.strip() for line in said.splitlines() if 'Error: ' in line and 'subprocess' not in line]
    return telling[-1][:200] if telling else last_error(said)


def install(environment, files, folder, tell):
    """(the environment's Python, None), or (None, why it cannot be had). What is there already is not touched.

    files: names in requirements/, installed one after the other. folder: where the environments are.
    """
    place = Path(folder).absolute() / environment
    python = place / 'bin' / 'python'
    for step in files:
        file = REQUIREMENTS / f'{step}.txt'
        done = place / f'{step}-{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}.done'
        if done.exists():
            continue
        tell(f'installing {step} in {place}')
        if not python.exists():
            error = _run(sys.executable, '-m', 'venv', str(place))
            if error:
                return None, f'no environment: {error}'
        error = _run(str(python), '-m', 'pip', 'install', '--disable-pip-version-check', '--no-deps', '-r', str(file))
        if error:
            return None, error
        done.touch()
    return str(python), None


def child(command, limit, **variables):
    """(what a process says in its last line, as JSON, None), or (None, why there is none).

    limit: seconds; variables: of its environment, beside what is set already.
    """
    own = command[0] == sys.executable
    env = {**(os.environ if own else _clean()), **variables}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=env)
    except subprocess.TimeoutExpired:
        return None, f'took more than {limit} seconds'
    if done.returncode == KILLED:
        return None, 'killed; mostly that is lack of memory'
    if done.returncode:
        return None, f'exit code {done.returncode}: {last_error(done.stderr)}'
    return json.loads(done.stdout.splitlines()[-1]), None
