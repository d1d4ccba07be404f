"""Machines that are not there: network namespaces, each with a link of a given rate. Needs root and iproute2."""

from __future__ import annotations

import contextlib
import subprocess

NAME = 'ibnnet'  # of the bridge, and the first letters of all that is made here


def _run(*words, check=True):
    done = subprocess.run(words, capture_output=True, text=True)
    if check and done.returncode:
        raise ValueError(f'{" ".join(words)}: {done.stderr.strip() or "failed"}; it needs root and iproute2')
    return done


class Machines:
    """A context: `count` machines on one switch, 10.77.0.1 and so on, each sending gigabits a second at most."""

    def __init__(self, count, gigabits):
        self._count, self._gigabits = count, gigabits

    def names(self):
        return [f'{NAME}{i}' for i in range(1, self._count + 1)]

    def address(self, i):
        return f'10.77.0.{i + 1}'

    def command(self, i, words):
        return ['ip', 'netns', 'exec', self.names()[i], *words]

    def __enter__(self):
        self._clear()
        _run('ip', 'link', 'add', NAME, 'type', 'bridge')
        _run('ip', 'link', 'set', NAME, 'up')
        for i, name in enumerate(self.names()):
            own = ['ip', '-n', name]
            _run('ip', 'netns', 'add', name)
            _run('ip', 'link', 'add', f'{name}v', 'type', 'veth', 'peer', 'name', 'e0', 'netns', name)
            _run('ip', 'link', 'set', f'{name}v', 'master', NAME, 'up')
            _run(*own, 'addr', 'add', f'{self.address(i)}/24', 'dev', 'e0')
            _run(*own, 'link', 'set', 'e0', 'up')
            _run(*own, 'link', 'set', 'lo', 'up')
            rate = ['rate', f'{self._gigabits}gbit', 'burst', '512kb', 'latency', '20ms']
            _run('tc', '-n', name, 'qdisc', 'add', 'dev', 'e0', 'root', 'tbf', *rate)
            _run('tc', 'qdisc', 'add', 'dev', f'{name}v', 'root', 'tbf', *rate)  # and receiving
        return self

    def __exit__(self, *_):
        self._clear()

    def _clear(self):
        with contextlib.suppress(OSError):
            for name in self.names():
                _run('ip', 'link', 'del', f'{name}v', check=False)
                _run('ip', 'netns', 'del', name, check=False)
            _run('ip', 'link', 'del', NAME, check=False)
