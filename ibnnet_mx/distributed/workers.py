"""The ways in which the processes of a run add arrays up: alone, over mxnet's parameter server, or by Horovod."""

from __future__ import annotations

from typing import Any

import mxnet as mx
import numpy as np
from mxnet.base import _LIB

from ibnnet_mx import operators
from ibnnet_mx.distributed import address, alive, job
from ibnnet_mx.errors import OptionError


class Alone:
    """The one worker of a run."""

    rank, count = 0, 1

    def sum(self, key: str, array: Any) -> None:
        """Replace the array by its sum over all workers, later. All workers call it in the same order."""

    def close(self) -> None:
        """Wait for the others. All workers call it."""


class ParameterServer:
    """A worker among others. It ends the process if another one of the job dies.

    rank: from 0, as the scheduler gives it; count: of all workers. Raises ValueError for wrong DMLC_ variables, and
    Stopped if no scheduler answers in time.
    """

    def __init__(self, kind: str, way_out: str = '') -> None:
        seconds = job.join_seconds()
        process = address.resolve(job.read_job(), seconds)
        job.find_scheduler(process, seconds)
        alive.prepare()
        with job.Deadline(seconds, alive.missing_line(process, seconds), job.tell):
            self._store = mx.kv.create(kind)
        job.joined.append(self)
        self._alive = alive.Alive(alive.Peers(_LIB, self._store.handle), process, seconds, way_out)
        self.rank, self.count = self._store.rank, self._store.num_workers
        self._keys: set[str] = set()
        job.tell(job.HELLO.format(rank=self.rank, count=self.count))

    def sum(self, key: str, array: Any) -> None:
        """Sum as Alone.sum. key: a name that always has this shape. All workers get the same values."""
        if key not in self._keys:
            self._store.init(key, mx.nd.zeros(array.shape, array.context, array.dtype))
            self._keys.add(key)
        self._store.pushpull(key, array, out=array)

    def close(self) -> None:
        """Wait for the others, and leave the job."""
        mx.nd.waitall()
        self._store._barrier()
        self._alive.stop()
        with job.Deadline(alive.SILENT, 'the other processes of the job did not end with this one', job.tell):
            del self._store
        job.joined.remove(self)


class Horovod:
    """A worker that horovodrun has started. Horovod's ring adds up without a server. Used as ParameterServer."""

    def __init__(self) -> None:
        operators.loaded()  # before Horovod's library, whose C++ symbols would take the place of theirs
        try:
            import horovod.mxnet as horovod
        except ImportError as error:
            raise OptionError(
                'kv_store', job.HOROVOD, f'needs Horovod 0.28.1, see docs/distributed.md: {error}'
            ) from None
        horovod.init()
        job.joined.append(self)
        self._horovod, self.rank, self.count = horovod, horovod.rank(), horovod.size()
        job.tell(job.HELLO.format(rank=self.rank, count=self.count))

    def sum(self, key: str, array: Any) -> None:
        """Sum as Alone.sum."""
        self._horovod.allreduce_(array, average=False, name=key)

    def close(self) -> None:
        """Wait for the others, and leave the job."""
        mx.nd.waitall()
        self._horovod.shutdown()
        job.joined.remove(self)


def open_workers(kv_store: str, way_out: str = '') -> Alone | ParameterServer | Horovod:
    """Return the workers of a kv_store that job.check_kv_store() lets pass. way_out: see cluster.connect()."""
    if kv_store in job.PARAMETER_SERVER:
        return ParameterServer(kv_store, way_out)
    return Horovod() if kv_store == job.HOROVOD else Alone()


def gather(workers: Any, name: str, values: Any) -> np.ndarray:
    """Return float64 (count, n): the values (n,) of each worker, exactly, and the same on every worker.

    They travel as bytes in float32, each added by one worker alone, because mxnet's servers know sums only.
    """
    values = np.asarray(values, np.float64)
    rows = np.zeros((workers.count, values.nbytes), np.float32)
    rows[workers.rank] = np.frombuffer(values.tobytes(), np.uint8)
    if rows.size and workers.count > 1:
        array = mx.nd.array(rows)
        workers.sum(f'{name} {rows.shape[1]}', array)
        rows = array.asnumpy()
    return np.frombuffer(rows.astype(np.uint8).tobytes(), np.float64).reshape(workers.count, -1)


class Buckets:
    """Arrays of float32 that are summed over workers a few at a time, because each transfer costs time of its own.

    The last arrays come first, as a backward pass makes them. size: floats of a bucket, at least.
    """

    def __init__(self, workers: Any, name: str, arrays: list[Any], size: int) -> None:
        self._workers, self._name = workers, name
        self._groups: list[list[int]] = [[]]
        room = 0
        for i in reversed(range(len(arrays))):
            if room >= size:
                self._groups.append([])
                room = 0
            self._groups[-1].append(i)
            room += arrays[i].size

    def sum(self, arrays: list[Any]) -> None:
        """Replace the arrays by their sums over all workers. They must have the shapes of those of __init__()."""
        for number, group in enumerate(self._groups):
            bucket = [arrays[i] for i in group]
            flat = mx.nd.concat(*(array.reshape((-1,)) for array in bucket), dim=0)
            self._workers.sum(f'{self._name} {number}, {flat.size}', flat)
            start = 0
            for array in bucket:
                flat[start : start + array.size].reshape(array.shape).copyto(array)
                start += array.size
