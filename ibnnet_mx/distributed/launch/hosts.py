"""The machines of a job, and which process runs on which."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import NamedTuple, Sequence

NAME = re.compile(
    r'([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9][A-Za-z0-9_.:-]*'
)  # begins with no dash: no option of ssh
HERE = 'localhost'


class Process(NamedTuple):
    """A process of a job. role: 'scheduler', 'server' or 'worker'; number: among those of its role; peers: workers on
    its host.
    """

    role: str
    number: int
    host: str
    peers: int

    @property
    def local(self) -> bool:
        """Return True if the process runs on this machine."""
        return self.host == HERE


def read_hosts(path: str | None) -> list[str]:
    """Return the names of the machines in a file, one a line without comments; path None: this machine alone.

    Raises ValueError, which names the file and the line.
    """
    if path is None:
        return [HERE]
    names = []
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f'-H {path} cannot be read: {getattr(error, "strerror", None) or "it is no text"}') from None
    for number, line in enumerate(text.splitlines(), 1):
        name = line.partition('#')[0].strip()
        if name and not NAME.fullmatch(name):
            raise ValueError(
                f'-H {path}: line {number}, {name[:80]!r} is no name of a machine, such as node1 or me@node1'
            )
        if name:
            names.append(name)
    if not names:
        raise ValueError(f'-H {path} names no machine: one for each line, such as node1')
    if len(names) > 1 and HERE in names:
        raise ValueError(f'-H {path}: {HERE} is another machine for each of them; use names that all of them know')
    return names


def spread_processes(names: Sequence[str], workers: int, servers: int) -> list[Process]:
    """Return the scheduler on the first machine, then servers and workers, spread over the machines as evenly as can
    be.
    """
    places = [names[i % len(names)] for i in range(workers)]
    others = [('server', i, names[i % len(names)]) for i in range(servers)]
    others += [('worker', i, place) for i, place in enumerate(places)]
    roles = [('scheduler', 0, names[0]), *others]
    return [Process(role, number, host, max(places.count(host), 1)) for role, number, host in roles]


def address_of(name: str) -> str:
    """Return the address of a machine for the others: its name without the user."""
    return '127.0.0.1' if name == HERE else name.rpartition('@')[2]


def free_port() -> int:
    """Return a port that was free on this machine a moment ago."""
    with socket.socket() as probe:
        probe.bind(('', 0))
        return int(probe.getsockname()[1])
