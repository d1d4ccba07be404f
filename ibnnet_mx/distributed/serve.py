"""A server or the scheduler of a job, until its workers end: DMLC_ROLE=server python -m ibnnet_mx.distributed.serve

ibnnet train does the same if DMLC_ROLE says server or scheduler.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Any

from ibnnet_mx.distributed import address, alive, job
from ibnnet_mx.errors import Stopped


def _ignore(command: int, body: bytes, _: Any) -> None:
    """Carry out no command of a worker. mxnet's own server would unpickle it, and a pickle may be any code."""
    job.tell(f'{os.environ["DMLC_ROLE"]}: command {command} of a worker is not carried out')


def serve(process: job.Job) -> None:
    """Serve until the job is done. Raises ValueError if the port is taken; Stopped if no scheduler answers."""
    seconds = job.join_seconds()
    process = address.resolve(process, seconds)
    if process.role == 'scheduler':
        job.check_port(process)
    else:
        job.find_scheduler(process, seconds)
    # They come to the whole job at once; the workers need a server until they have saved and ended.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.environ['DMLC_ROLE'] = 'worker'  # else `import mxnet` itself would serve, and not return
    import mxnet as mx
    from mxnet.base import _LIB, check_call

    os.environ['DMLC_ROLE'] = process.role
    alive.prepare()
    with job.Deadline(seconds, alive.missing_line(process, seconds), job.tell):
        store = mx.kv.create('dist_sync')
    job.joined.append(store)
    watch = alive.Alive(alive.Peers(_LIB, store.handle), process, seconds)
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
    try:
        check_call(_LIB.MXKVStoreRunServer(store.handle, kind(_ignore), None))
    except mx.base.MXNetError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ValueError(f'it could not serve at {process.scheduler}: {lines[-1] if lines else error}') from None
    watch.stop()
    with job.Deadline(alive.SILENT, f'{process.role}: the other processes did not end with this one', job.tell):
        job.joined.remove(store)
        del store


def main() -> int:
    """Serve, and return the exit code. A mistake is one line and code 2; no scheduler in time is 75."""
    code = 1
    try:
        process = job.read_job(who='python -m ibnnet_mx.distributed.serve')
        if process.role == 'worker':
            raise ValueError('DMLC_ROLE=worker: a server or the scheduler is started here, use DMLC_ROLE=server')
        serve(process)
        code = 0
    except ValueError as error:
        job.tell(f'{os.environ.get("DMLC_ROLE") or "serve"}: {error}')
        code = 2
    except Stopped as stopped:
        job.tell(f'{os.environ.get("DMLC_ROLE") or "serve"}: {stopped}')
        code = stopped.code
    finally:
        job.leave(code)
    return code


if __name__ == '__main__':
    sys.exit(main())
