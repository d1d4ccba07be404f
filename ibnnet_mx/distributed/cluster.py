"""The devices and processes of a run, and how values travel between them."""

from __future__ import annotations

import zlib
from typing import Any, Callable

import mxnet as mx
import numpy as np
from mxnet import gluon

from ibnnet_mx.distributed import job, workers
from ibnnet_mx.errors import OptionError

BUCKET = 1 << 18  # floats that go to the servers at once: fast on all links of benchmarks/scaling
SIGNALS = 1, 2, 15  # that may ask a run to end: SIGHUP, SIGINT, SIGTERM


def connect(kv_store: str = 'local', gpus: str = '', cpus: int = 1, way_out: str = '') -> Cluster:
    """Return the Cluster of this process, once the other workers of its job have come.

    kv_store: one of job.KV_STORES. gpus: numbers with commas, such as '0,1'; '' computes on `cpus` CPU contexts.
    way_out: the end of the line that is written if another process of the job is gone.
    Raises OptionError for kv_store, gpus or cpus.
    """
    job.check_kv_store(kv_store)
    devices = open_contexts(gpus, cpus)
    return Cluster(kv_store, devices, workers.open_workers(kv_store, way_out))


def open_contexts(gpus: str = '', cpus: int = 1) -> list[Any]:
    """Return mxnet's contexts: [gpu(0), gpu(1)] for gpus='0,1', and `cpus` CPU contexts for gpus=''.

    Raises OptionError for gpus or cpus; the text says how many GPUs there are.
    """
    ids = job.read_devices(gpus, cpus)
    if not ids:
        return [mx.cpu(i) for i in range(cpus)]
    count = mx.context.num_gpus() if mx.runtime.Features().is_enabled('CUDA') else 0
    if len(set(ids)) < len(ids) or any(not 0 <= i < count for i in ids):
        has = f'this machine has {count}' if count else 'this machine or this mxnet has none'
        raise OptionError('gpus', gpus, f': {has}; leave `gpus` out to run on the CPU')
    return [mx.gpu(i) for i in ids]


class Told:
    """The sums over all workers for a step. rows: of all workers; asked: the signal that one was asked to end by, 0 for
    none.
    """

    def __init__(self, array: Any) -> None:
        self._array = array
        self._sums: np.ndarray | None = None

    def _read_sums(self) -> np.ndarray:
        if self._sums is None:
            self._sums = self._array.asnumpy()  # waits for the last of the workers
        return self._sums

    @property
    def rows(self) -> int:
        """Return the rows of the step over all workers."""
        return int(self._read_sums()[0])

    @property
    def asked(self) -> int:
        """Return the signal that a worker was asked to end by; 0 for none."""
        return max((number for number, count in zip(SIGNALS, self._read_sums()[1:]) if count), default=0)


class ToldAlone:
    """The Told of the one worker of a run, which may be asked to end until the last moment."""

    def __init__(self, rows: int, asked: Callable[[], int]) -> None:
        self.rows, self._asked = rows, asked

    @property
    def asked(self) -> int:
        """Return the signal that this process was asked to end by; 0 for none."""
        return self._asked()


class Cluster:
    """The devices that train together, in this process and in others like it; a context that all leave together.

    rank: of this process among num_workers. kv_store: 'local' or 'device', how its own devices add up. processes: how
    the workers add up, workers.Alone or the like. All workers must call a method that is "for all workers", in the same
    order.
    """

    def __init__(self, kv_store: str, devices: list[Any], processes: Any) -> None:
        self.contexts, self._workers = devices, processes
        self.kvstore = 'device' if 'device' in kv_store else 'local'
        self.rank, self.num_workers = self._workers.rank, self._workers.count
        self._gradients: workers.Buckets | None = None

    @property
    def is_main(self) -> bool:
        """Return True if this process writes checkpoints."""
        return self.rank == 0

    @property
    def devices(self) -> int:
        """Return the number of devices of all workers."""
        return self.num_workers * len(self.contexts)

    @staticmethod
    def cut(array: Any, count: int) -> list[Any]:
        """Return `count` slices of a batch, whose sizes differ by at most one; fewer slices if there are fewer rows."""
        parts = min(count, array.shape[0])
        cuts = [array.shape[0] * i // parts for i in range(parts + 1)]
        return [array[a:b] for a, b in zip(cuts, cuts[1:])] if parts > 1 else [array]

    def split(self, array: Any) -> list[Any]:
        """Return one slice of a batch for each context."""
        return [part.as_in_context(c) for part, c in zip(self.cut(array, len(self.contexts)), self.contexts)]

    def tell(self, rows: int, asked: Callable[[], int]) -> Told | ToldAlone:
        """Return the Told of a step: its rows over all workers, and the signal to end; for all workers.

        asked: () -> the signal that this worker was asked to end by, 0 for none.
        """
        if self.num_workers == 1:
            return ToldAlone(rows, asked)
        signal = asked()
        array = mx.nd.array([rows, *(float(signal == number) for number in SIGNALS)])
        self._workers.sum('told', array)
        return Told(array)

    def gather(self, values: dict[str, float]) -> list[dict[str, float]]:
        """Return [{name: number} of each worker], exactly; for all workers, with the same names."""
        rows = workers.gather(self._workers, 'values', list(values.values()))
        return [dict(zip(values, row.tolist())) for row in rows]

    def sum_over_workers(self, values: dict[str, float]) -> dict[str, float]:
        """Return {name: sum over all workers}, the same to the last bit on every worker; for all workers."""
        values_of_workers = self.gather(values)
        return {name: sum(worker[name] for worker in values_of_workers) for name in values}

    def average(self, params: list[Any]) -> None:
        """Give all devices of all workers the mean of these parameters, which a checkpoint holds; for all workers."""
        if self.devices == 1 or not params:
            return
        means = [
            mx.nd.add_n(*(d.as_in_context(mx.cpu()) for d in param.list_data())) / self.devices for param in params
        ]
        self._sum('average', means)
        for param, mean in zip(params, means):
            param.set_data(mean)

    def rows_of(self, params: list[Any]) -> np.ndarray:
        """Return float32 (devices, values): the values of these parameters on each device of each worker; for all
        workers.
        """
        values = [[p.data(c).asnumpy().ravel() for p in params] for c in self.contexts]
        rows = np.zeros((self.num_workers, len(values), sum(part.size for part in values[0])), np.float32)
        rows[self.rank] = [np.concatenate(part) for part in values]
        array = mx.nd.array(rows)
        self._workers.sum('rows', array)
        return array.asnumpy().reshape(self.devices, -1)

    def _sum(self, name: str, arrays: list[Any]) -> None:
        if self.num_workers > 1:
            workers.Buckets(self._workers, f'{name} of {len(arrays)}', arrays, BUCKET).sum(arrays)

    def differing(self, facts: dict[str, Any]) -> dict[int, list[str]]:
        """Return {worker: names} of the {name: text or arrays} that differ from those of worker 0; for all workers."""
        sums = self.gather({name: _checksum(fact) for name, fact in facts.items()})
        differences = {
            rank: [name for name in facts if checksums[name] != sums[0][name]] for rank, checksums in enumerate(sums)
        }
        return {rank: names for rank, names in differences.items() if names}

    def share(self, arrays: list[Any]) -> None:
        """Overwrite these arrays with those of worker 0; for all workers."""
        for array in arrays if self.rank else ():
            array[:] = 0
        self._sum('share', arrays)

    def connect(self, params: dict[str, Any], optimizer: Any) -> Any:
        """Return the gluon.Trainer of a run: initialised, and every device with equal parameters, before any other use.

        update_on_kvstore=True ignores set_learning_rate, and without the wait a first pull may overtake the push.
        """
        in_order = list(params.values())  # a dict would be sorted by name, and states() counts in the net's order
        trainer = gluon.Trainer(in_order, optimizer, kvstore=self.kvstore, update_on_kvstore=False)
        trainer._init_kvstore()
        trainer._init_params()
        mx.nd.waitall()
        return trainer

    def sum_gradients(self, trainer: Any, gradients: Callable[[Any], list[Any]], loss: Any) -> None:
        """Sum gradients over all devices, and the loss over all workers, each in its place; for all workers.

        trainer: of connect(). gradients: context -> its gradients. loss: (1,), of this worker.
        """
        trainer.allreduce_grads()
        if self.num_workers == 1:
            return
        arrays = [*gradients(self.contexts[0]), loss]
        if self._gradients is None:
            self._gradients = workers.Buckets(self._workers, 'gradient', arrays, BUCKET)
        self._gradients.sum(arrays)
        for context in self.contexts[1:]:
            for array, whole in zip(gradients(context), arrays):
                whole.copyto(array)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        # After an error the others may wait for something else; job.leave() ends the process then.
        if kind is None or getattr(error, 'together', False):
            self._workers.close()


def _checksum(fact: Any) -> float:
    if isinstance(fact, str):
        return float(zlib.crc32(fact.encode()))
    total = 0
    for array in fact:
        total = zlib.crc32(array.asnumpy() if isinstance(array, mx.nd.NDArray) else array, total)
    return float(total)
