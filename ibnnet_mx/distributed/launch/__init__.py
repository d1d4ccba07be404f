"""The launcher of a job: it starts the processes, here or over ssh, passes on their output, and ends them together."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Callable, NamedTuple, Sequence, cast

from ibnnet_mx import _env
from ibnnet_mx.distributed.launch import hosts
from ibnnet_mx.distributed.launch.hosts import Process
from ibnnet_mx.files import download

GUARD = str(Path(__file__).with_name('guard.py'))
SSH = ('ssh', '-o', 'BatchMode=yes')  # which asks nothing
HELLO = re.compile(rb'ibnnet_mx: worker (\d+) of \d+\s*')  # distributed.job.HELLO
PASSED = ('IBNNET_MX_', 'MXNET_', 'OMP_', 'DNNL_', 'CUDA_', 'PS_', 'DMLC_INTERFACE')  # to other machines
PATIENCE = 3.0  # seconds in which the other processes may report their own errors, once one has failed
LAST = 60.0  # and to end after the last worker has ended well


class Setup(NamedTuple):
    """The processes of a job to be started, the scheduler's port, and the command of the workers.

    python: the interpreter that runs the servers.
    """

    processes: list[Process]
    port: int
    command: Sequence[str]
    python: str = sys.executable

    def settings(self, process: Process) -> dict[str, str]:
        """Return the environment that gives a process its part in the job."""
        count = {role: sum(each.role == role for each in self.processes) for role in ('worker', 'server')}
        environment = {
            'DMLC_ROLE': process.role,
            'DMLC_PS_ROOT_URI': hosts.address_of(self.processes[0].host),
            'DMLC_PS_ROOT_PORT': str(self.port),
            'DMLC_NUM_WORKER': str(count['worker']),
            'DMLC_NUM_SERVER': str(count['server']),
            'IBNNET_MX_LOCAL_WORKERS': str(process.peers),
            'PYTHONUNBUFFERED': '1',
        }
        if all(each.local for each in self.processes):
            environment['DMLC_NODE_HOST'] = '127.0.0.1'
        if not process.local:
            environment.update({name: value for name, value in _env.BEFORE.items() if name.startswith(PASSED)})
        return environment

    def withheld(self, process: Process) -> dict[str, str]:
        """Return the settings that go to another machine by standard input: URLs with a user and a password."""
        settings = {} if process.local else self.settings(process)
        return {name: value for name, value in settings.items() if download.has_secret(value)}

    def words(self, process: Process) -> list[str]:
        """Return the command line that starts a process."""
        command = list(self.command) if process.role == 'worker' else [self.python, '-m', 'ibnnet_mx.distributed.serve']
        withheld = self.withheld(process)
        settings = [name if name in withheld else f'{name}={value}' for name, value in self.settings(process).items()]
        words = [self.python, GUARD, *settings, '--', *command]
        if process.local:
            return words
        return [*SSH, process.host, f'cd {shlex.quote(os.getcwd())} && exec {shlex.join(words)}']


class Output:
    """A stream of this process that takes the lines of all others. tell: is called once if it does not take them.

    The lines are read from the others all the same. A process whose lines nobody reads would wait for ever.
    """

    def __init__(self, stream: IO[str], lock: threading.Lock, tell: Callable[[str], None] | None) -> None:
        self._stream, self._lock, self._tell, self._failing = stream, lock, tell, False

    def write(self, line: str) -> None:
        """Write a line, now. Lines that the stream does not take are dropped."""
        with self._lock:
            try:
                self._stream.write(line)
                self._stream.flush()
                return
            except OSError as error:
                why = getattr(error, 'strerror', None) or str(error)
            first, self._failing = not self._failing, True
        if first and self._tell is not None:
            self._tell(
                f'lines cannot be passed on: {why.replace("cannot be written: ", "")}; the job goes on without them'
            )


class Child:
    """A process that was started. Its lines go to outputs, those of stdout and stderr, with its name before them."""

    def __init__(self, process: Process, setup: Setup, outputs: Sequence[Output]) -> None:
        self.process, self._rank = process, ''
        pipe = subprocess.PIPE
        # A session of its own: Ctrl-C comes to the launcher alone, which hands it on.
        self._popen = subprocess.Popen(
            setup.words(process), env=_env.BEFORE, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        for value in setup.withheld(process).values():
            self.send(value)
        pairs = zip((self._popen.stdout, self._popen.stderr), outputs)
        self._pumps = [threading.Thread(target=self._pump, args=pair, daemon=True) for pair in pairs]
        for pump in self._pumps:
            pump.start()

    @property
    def name(self) -> str:
        """Return the role and number. A worker's number is its rank, which it says itself, once it knows."""
        return f'{self.process.role} {self._rank or self.process.number}'

    def _pump(self, source: IO[bytes], to: Output) -> None:
        for line in source:
            hello = HELLO.fullmatch(line) if self.process.role == 'worker' else None
            if hello:
                self._rank = hello.group(1).decode()
            to.write(f'[{self.name}] {line.decode("utf-8", "replace").rstrip()}\n')

    def code(self) -> int | None:
        """Return the exit code; None while the process runs."""
        return self._popen.poll()

    def send(self, name: str) -> None:
        """Send 'INT', 'TERM' or 'KILL' to the process, or the value of a setting. If it has ended, nothing happens."""
        to = cast(IO[bytes], self._popen.stdin)
        with contextlib.suppress(OSError):
            to.write(f'{name}\n'.encode())
            to.flush()

    def end(self) -> None:
        """End the process at once, with all that it has started."""
        if self.code() is None:
            self.send('KILL')
            try:
                self._popen.wait(5)
            except subprocess.TimeoutExpired:
                self._popen.kill()
        for pump in self._pumps:
            pump.join(2)
        for stream in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            with contextlib.suppress(OSError, ValueError):
                cast(IO[bytes], stream).close()


class Job:
    """The processes of one try. asked: () -> 'INT', 'TERM', 'KILL' or '', the signal that the launcher got."""

    def __init__(self, setup: Setup, tell: Callable[[str], None], asked: Callable[[], str]) -> None:
        self._tell, self._asked, lock = tell, asked, threading.Lock()
        outputs = Output(sys.stdout, lock, tell), Output(sys.stderr, lock, None)
        self.children = [Child(process, setup, outputs) for process in setup.processes]
        self._workers = [child for child in self.children if child.process.role == 'worker']

    def wait(self) -> int:
        """Return the job's exit code: 0, or the code of the process that failed first. All processes have ended
        then.
        """
        try:
            return self._wait()
        finally:
            for child in self.children:
                child.end()

    def _wait(self) -> int:
        handed, since = '', None
        while True:
            asked = self._asked()
            if asked == 'KILL':
                return 130
            if asked != handed:
                handed = asked
                for child in self._workers:
                    child.send(asked)
            codes = [child.code() for child in self.children]
            if all(code is not None for code in codes):
                return next((code for code in codes if code), 0)
            failed = [child for child, code in zip(self.children, codes) if code]
            done = all(child.code() == 0 for child in self._workers)
            since = (since or time.monotonic()) if failed or done else None
            if since is not None and time.monotonic() - since > (PATIENCE if failed else LAST):
                return self._cut(failed, [child for child, code in zip(self.children, codes) if code is None])
            time.sleep(0.05)

    def _cut(self, failed: Sequence[Child], left: Sequence[Child]) -> int:
        names = ', '.join(child.name for child in left)
        if not failed:
            self._tell(f'all workers have ended, but not {names}; they are ended')
            return 0
        ends = ', '.join(f'{child.name} ended with {describe(child.code())}' for child in failed)
        self._tell(f'{ends}; the others are ended: {names}')
        return int(failed[0].code() or 0)


def describe(code: int | None) -> str:
    """Return an exit code in words."""
    return f'signal {code - 128}' if code is not None and code > 128 else f'code {code}'
