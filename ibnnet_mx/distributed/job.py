"""Read from the DMLC_ variables of mxnet's parameter server what this process is in a job of several.

Wrong variables make mxnet wait for ever or train alone, so they are checked first.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
import traceback
from typing import Callable, Mapping, NamedTuple

from ibnnet_mx.errors import OptionError, Stopped

ROLES = ('worker', 'server', 'scheduler')
LOCAL, PARAMETER_SERVER, HOROVOD = ('local', 'device'), ('dist_sync', 'dist_device_sync'), 'horovod'
KV_STORES = (*LOCAL, *PARAMETER_SERVER, HOROVOD)
REFUSED = {
    'dist_async': 'workers that do not wait for each other diverge',
    'dist_device_async': 'workers that do not wait for each other diverge',
    'dist': 'it is another name of dist_sync',
}
JOIN_SECONDS = 25.0  # for all processes to be there, IBNNET_MX_JOIN_SECONDS has another
ENDED = 75  # exit code: another process of the job is gone, and the job can be started again (sysexits.h: EX_TEMPFAIL)
HELLO = 'ibnnet_mx: worker {rank} of {count}'  # the first line of a worker; the launcher reads it


class Job(NamedTuple):
    """A process's role in a job. role: 'worker', 'server' or 'scheduler'; host and port: of the scheduler."""

    role: str
    host: str
    port: int
    workers: int
    servers: int

    @property
    def scheduler(self) -> str:
        """Return the scheduler's address, host:port."""
        return f'{self.host}:{self.port}'


def check_kv_store(kv_store: str, environ: Mapping[str, str] = os.environ) -> None:
    """Raise OptionError if there is no such kv_store, or the environment's variables ask for another."""
    if kv_store not in KV_STORES:
        why = f': {REFUSED[kv_store]}' if kv_store in REFUSED else ''
        raise OptionError('kv_store', kv_store, f'is not available{why}; use one of {", ".join(KV_STORES)}')
    if kv_store in PARAMETER_SERVER:
        try:
            read_job(environ, who='')
        except ValueError as error:
            raise OptionError('kv_store', kv_store, f': {error}') from None
    elif kv_store == HOROVOD and 'HOROVOD_SIZE' not in environ:
        advice = ': HOROVOD_SIZE is not set; start it by horovodrun --gloo -np 2 ibnnet train ...'
        raise OptionError('kv_store', kv_store, advice)
    elif environ.get('DMLC_ROLE') == 'worker' and environ.get('DMLC_NUM_WORKER', '1') not in ('', '0', '1'):
        raise OptionError(
            'kv_store',
            kv_store,
            f': DMLC_NUM_WORKER={environ["DMLC_NUM_WORKER"]} says that this is one of several workers, each would '
            'train alone and write the same files; add `kv_store` dist_sync, or unset DMLC_ROLE',
        )


def count_workers(kv_store: str, environ: Mapping[str, str] = os.environ) -> int:
    """Return how many workers train together."""
    if kv_store == HOROVOD:
        return int(environ['HOROVOD_SIZE'])
    return read_job(environ).workers if kv_store in PARAMETER_SERVER else 1


def read_job(environ: Mapping[str, str] = os.environ, who: str = 'this process') -> Job:
    """Return the Job that the variables tell. who: begins the text of an error, '' for no such beginning.

    Raises ValueError, which names the variable that is missing or wrong.
    """
    who = f'{who}: ' if who else ''
    role = environ.get('DMLC_ROLE', '')
    if role not in ROLES:
        mistake = f'DMLC_ROLE={role!r} is none of {", ".join(ROLES)}' if role else 'DMLC_ROLE is not set'
        raise ValueError(
            f'{who}{mistake}; start the job by ibnnet launch -n 2 -s 1 -- COMMAND, or see docs/distributed.md'
        )
    numbers = {name: _number(environ, name, who) for name in ('PS_ROOT_PORT', 'NUM_WORKER', 'NUM_SERVER')}
    host = environ.get('DMLC_PS_ROOT_URI', '')
    if not host:
        raise ValueError(f'{who}DMLC_PS_ROOT_URI is not set, it is the address of the scheduler')
    return Job(role, host, numbers['PS_ROOT_PORT'], numbers['NUM_WORKER'], numbers['NUM_SERVER'])


def _number(environ: Mapping[str, str], name: str, who: str) -> int:
    """Return the number in a DMLC_ variable. Raises ValueError for any other text."""
    text, most = environ.get(f'DMLC_{name}', ''), 65535
    if not text.isdecimal() or not 1 <= int(text) <= most:
        mistake = f'DMLC_{name}={text} is no number from 1 to {most}' if text else f'DMLC_{name} is not set'
        raise ValueError(f'{who}{mistake}')
    return int(text)


def join_seconds(environ: Mapping[str, str] = os.environ) -> float:
    """Return how long to wait for the other processes at the start."""
    text = environ.get('IBNNET_MX_JOIN_SECONDS', str(JOIN_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise ValueError(f'IBNNET_MX_JOIN_SECONDS={text} is no number of seconds')
    return seconds


def find_scheduler(job: Job, seconds: float) -> None:
    """Return when the scheduler answers.

    Raises ValueError if its name is unknown, and Stopped with ENDED if nobody answers for so many seconds: it may have
    started too late, and the job can be started again.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((job.host, job.port), timeout=max(until - time.monotonic(), 0.1)).close()
            return
        except socket.gaierror as error:
            raise ValueError(f"DMLC_PS_ROOT_URI={job.host}: {error.strerror}; it is the scheduler's address") from None
        except OSError as error:
            if time.monotonic() > until:
                raise Stopped(
                    ENDED,
                    f'the scheduler does not answer at {job.scheduler} (DMLC_PS_ROOT_URI, DMLC_PS_ROOT_PORT) for '
                    f'{seconds:g} s: {error.strerror or error}; start it first, or wait longer: IBNNET_MX_JOIN_SECONDS',
                ) from None
        time.sleep(0.2)


def check_port(job: Job) -> None:
    """Raise ValueError if the scheduler's port is taken, or the address is not of this machine: mxnet would abort."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(('', job.port))
        except OSError as error:
            raise ValueError(
                f'DMLC_PS_ROOT_PORT={job.port}: {error.strerror}; is another scheduler running? Choose another port'
            ) from None


class Deadline:
    """A context that ends the process with ENDED and a text if it is not left within so many seconds."""

    def __init__(self, seconds: float, text: str, tell: Callable[[str], None], end: Callable[[int], None] = os._exit):
        self._seconds, self._text, self._tell, self._end = seconds, text, tell, end
        self._left = threading.Event()

    def __enter__(self) -> Deadline:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()

    def _watch(self) -> None:
        if not self._left.wait(self._seconds):
            self._tell(self._text)
            self._end(ENDED)


def tell(text: str) -> None:
    """Write one line to stderr, now. A stderr that is full, or that nobody reads, takes none."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


joined: list[object] = []  # connections that must be closed before the process may end normally


def leave(code: int) -> None:
    """End the process at once if it is still part of a job. mxnet would wait for the others, which may be gone."""
    if joined:
        with contextlib.suppress(OSError):
            if sys.exc_info()[0] is not None:
                traceback.print_exc()
            sys.stderr.flush()
            sys.stdout.flush()
        os._exit(code)


def read_devices(gpus: str = '', cpus: int = 1) -> list[int]:
    """Return the numbers of the GPUs that '0,1' names, [] for the CPU. Raises OptionError for gpus or cpus."""
    if gpus and cpus != 1:
        raise OptionError('cpus', cpus, f'contradicts `gpus` {gpus}: give one of them')
    try:
        ids = [int(number) for number in gpus.split(',')] if gpus else []
    except ValueError:
        raise OptionError('gpus', gpus, 'must be numbers with commas, such as 0,1') from None
    if cpus < 1:
        raise OptionError('cpus', cpus, 'must be at least 1')
    return ids


class Planned(NamedTuple):
    """The devices of a command line, counted without being opened. contexts: one each of this process."""

    contexts: range
    devices: int


def planned(kv_store: str, gpus: str = '', cpus: int = 1) -> Planned:
    """Return how many devices a run would have here and over all its workers."""
    count = max(len(gpus.split(',')) if gpus else cpus, 1)
    return Planned(range(count), count * count_workers(kv_store))
