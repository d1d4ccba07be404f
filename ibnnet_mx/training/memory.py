"""The memory that a run needs, estimated before its first step, and the cheapest way of a step that fits.

mxnet plans the memory of a step when its graph is bound, and takes it page by page in the first step. A machine that
has less memory freezes then, or kills the process. So the graph is bound for a few pictures, which costs no memory, and
its plan is scaled to a whole chunk. The factors below were fitted to the peaks of real runs: benchmarks/need/.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import mxnet as mx
import numpy as np

from ibnnet_mx import _limits
from ibnnet_mx.errors import OptionError
from ibnnet_mx.graph.symbol_json import SymbolGraph
from ibnnet_mx.norm.table import SMALL
from ibnnet_mx.training import memonger
from ibnnet_mx.training.memonger.plan import megabytes

MB = 1_000_000
FEW, SIDE, ENOUGH = 4, 224, 200  # pictures of the first trial, and their side; megabytes of a plan that is scaled
STEP = 1.1  # oneDNN's scratch memory and arrays in blocked layout, beside mxnet's plan of a training step
PREDICTION = 2.5  # the same for a prediction, whose plan is small
COPIES = 2  # of the weights, beside weight and gradient: momentum, and oneDNN's blocked form
BATCHES = 4  # of pictures: two ahead in the reader, the one in use, and its copy for the device
AT_ONCE = 32 * SIDE**2  # pixels of a prediction: mxnet takes much for each, and more at once are no faster
# Operators that oneDNN does not compute: their results get memory of their own, beside the plan of a prediction.
PLAIN = {'slice_axis': 2.4, 'Reshape': 0.5, 'LayerNorm': 0.5, 'reshape_like': 0.5, 'broadcast_mul': 3.0}


class Need(NamedTuple):
    """Bytes that a run will take beside what the process has, on all devices of this worker."""

    step: float
    validation: float
    weights: float
    pictures: float

    @property
    def total(self) -> float:
        """All of it."""
        return sum(self)

    def __str__(self) -> str:
        parts = ', '.join(f'{name} {value / 1e9:.1f}' for name, value in zip(self._fields, self))
        return f'{self.total / 1e9:.1f} GB ({parts})'


class Estimate:
    """The estimate for a trainer.Trainer and pictures of (height, width). Its factors were measured on CPUs."""

    def __init__(self, run: Any, shape: tuple[int, int]) -> None:
        self._run, self._shape = run, shape
        self._plans: dict[int, float] = {}
        self._devices, self.batch_size = len(run.cluster.contexts), run.recipe.batch_size
        self.rows = -(-run.recipe.batch_size // run.cluster.devices)  # the pictures of a device in a step
        params = run.net.collect_params().values()
        self._weights = sum(4 * math.prod(param.shape) for param in params)

    def need(self, chunks: int, megabytes: float | None = None, shrink: int = 1) -> Need:
        """Return the Need with a device's share cut into chunks.

        megabytes: of memonger's plan; None: no memonger. shrink: the batch is so many times smaller.
        """
        rows, (height, width) = -(-self.rows // shrink), self._shape
        step = STEP * (self.plain(-(-rows // chunks)) if megabytes is None else megabytes) * MB
        weights = (COPIES + (chunks > 1)) * self._weights
        pictures = BATCHES * rows * 3 * height * width * 4
        return Need(*(self._devices * part for part in (step, self._prediction(rows, chunks), weights, pictures)))

    def counts(self) -> list[int]:
        """Return the counts of chunks that cut a device's share evenly, the fewest first."""
        whole, rows = self._run.recipe.norm_batch_size or 1, self.rows
        even = self.batch_size % self._run.cluster.devices == 0
        return [n for n in range(1, rows + 1) if n == 1 or even and rows % n == 0 and rows // n % whole == 0]

    def plain(self, rows: int) -> float:
        """Return the megabytes of mxnet's plan for a step of so many pictures that keeps everything."""
        multiple = self._run.recipe.norm_batch_size or 1
        few = min(rows, -(-FEW // multiple) * multiple)
        while True:
            plan = self._bound(few)
            if plan >= ENOUGH or few == rows:
                return plan * rows / few
            few = min(rows, few * 4)

    def _bound(self, rows: int) -> float:
        if rows not in self._plans:
            step = memonger.Step(self._run.net, self._run.objective.loss, *self.batch(rows))
            text = step.bind(step.graph.symbol(), False).debug_str()
            self._plans[rows] = megabytes(text, step.graph.density)
        return self._plans[rows]

    def batch(self, rows: int) -> tuple[Any, Any]:
        """Return pictures and targets of zeros."""
        context = self._run.cluster.contexts[0]
        data, labels = mx.nd.zeros((rows, 3, *self._shape), context), mx.nd.zeros((rows,), context)
        return self._run.objective.targets(data, labels, lambda: np.random.RandomState(0))

    def _prediction(self, rows: int, chunks: int) -> float:
        """Return the bytes of a prediction of a device's share, which is cut as a step's at least."""
        return -(-rows // prediction_chunks((rows, 3, *self._shape), chunks)) * self._predicted

    @functools.cached_property
    def _predicted(self) -> float:
        """The bytes of a prediction for each picture."""
        params = self._run.net.collect_params()
        symbol, constants = self._run.net.trace()
        context = self._run.cluster.contexts[0]
        rows = -(-FEW * SIDE**2 // math.prod(self._shape))  # mxnet tells whole megabytes
        data = mx.nd.zeros((rows, 3, *self._shape), context)
        constants = {name: array.as_in_context(context) for name, array in constants.items()}
        arrays = {name: params[name].data(context) for name in symbol.list_inputs() if name in params}
        arrays.update({**constants, 'data': data})
        arguments = {name: arrays[name] for name in symbol.list_arguments()}
        states = {name: arrays[name] for name in symbol.list_auxiliary_states()}
        text = symbol.bind(context, arguments, grad_req='null', aux_states=states).debug_str()
        plan = PREDICTION * megabytes(text) * MB
        return (plan + _apart(symbol, data.shape)) / rows


def _apart(symbol: Any, shape: tuple[int, ...]) -> float:
    """Return the bytes of a prediction's results that get memory of their own. shape: of the pictures."""
    internals = symbol.get_internals()
    kinds = {node['name']: node['op'] for node in SymbolGraph.of_symbol(symbol).nodes}
    sizes = internals.infer_shape(data=shape)[1]
    return sum(4 * math.prod(size) * PLAIN.get(kinds[entry.name], 0) for entry, size in zip(internals, sizes))


def prediction_chunks(shape: tuple[int, ...], least: int) -> int:
    """Return into how many chunks a prediction is cut: equal ones, because mxnet plans anew for each shape."""
    least = max(least, -(-shape[0] * shape[2] * shape[3] // AT_ONCE))
    return next((count for count in range(least, 2 * least) if shape[0] % count == 0), least)


def _on_gpus(run: Any) -> bool:
    return run.cluster.contexts[0].device_type == 'gpu'


def free_for(run: Any) -> float:
    """Return the bytes that a Trainer can take: a worker's share of the machine, or the memory of its GPUs."""
    if _on_gpus(run):
        contexts = run.cluster.contexts  # they get equal shares, so the fullest one decides
        return len(contexts) * min(mx.context.gpu_memory_info(context.device_id)[0] for context in contexts)
    return _limits.free_memory() / _limits.local_workers()


def settle(run: Any, shape: tuple[int, int], free: float, chunks: Any, recompute: Any, check: bool = True) -> list[str]:
    """Give a Trainer the cheapest way of a step that fits `free` bytes. Return lines for the log.

    chunks: of a device's share, or 'auto': the fewest that fit. recompute: memonger's budget, or 'auto': recompute no
    more than is needed, and nothing if all fits. check False: a run that does not fit is only told.
    Raises OptionError for batch_size, with the ways that fit, if it does not fit.
    """
    estimate, chosen = Estimate(run, shape), chunks == 'auto'
    if chosen:
        chunks = _fewest(estimate, free) if recompute is None else 1
    automatic = recompute == 'auto'
    if automatic:
        recompute = _budget(estimate, free, chunks)
    run.economise(chunks, recompute)
    try:
        plan = run.planned_megabytes(*estimate.batch(-(-estimate.rows // chunks)))
    except OptionError:
        if not automatic:
            raise
        plan = None
    need = estimate.need(chunks, plan)
    where = ' on GPUs' if _on_gpus(run) else f' beside the {_limits.resident_memory() / 1e9:.1f} GB in use'
    line = f'memory: about {need.total / 1e9:.1f} GB{where}; {free / 1e9:.1f} GB are free'
    lines = [_chunks_line(run, -(-estimate.rows // chunks), chunks)] if chosen and chunks > 1 else []
    if need.total <= free:
        return [line, *lines]
    if check:
        raise OptionError('batch_size', run.recipe.batch_size, _refusal(estimate, need, free, chunks, recompute))
    return [f'{line}: it may end for lack of memory', *lines]


def _chunks_line(run: Any, rows: int, chunks: int) -> str:
    """Return the line about chunks that were chosen. rows: the pictures of a chunk."""
    alike = run.recipe.norm_batch_size or run.recipe.norm not in (*SMALL, 'syncbn')
    after = '' if alike else '; norms that look at a batch see a chunk'
    return f'`accumulate` auto: {chunks} chunks of {rows} pictures{after}'


def _fewest(estimate: Estimate, free: float) -> int:
    """Return the fewest chunks that fit; if none does, 1."""
    return next((count for count in estimate.counts() if estimate.need(count).total <= free), 1)


def _budget(estimate: Estimate, free: float, chunks: int) -> int | None:
    """Return the megabytes that a step may take; None if it fits without recomputing."""
    if estimate.need(chunks).total <= free:
        return None
    beside = estimate.need(chunks, 0.0).total
    return max(int((free - beside) / STEP / MB), 1)


def _refusal(estimate: Estimate, need: Need, free: float, chunks: int, recompute: Any) -> str:
    """Return what a run needs, what is free, and the ways that fit."""
    ways, batch = [], estimate.batch_size
    fewest = _fewest(estimate, free)
    if fewest > chunks:
        ways.append(f'`accumulate` {fewest}')
    if recompute is None:
        ways.append('`memonger` auto')
    shrink = next((n for n in (2, 4, 8, 16, 32, 64) if estimate.need(1, shrink=n).total <= free), None)
    if shrink and estimate.rows >= shrink:
        ways.append(f'`batch_size` {batch // shrink}')
    listed = ', '.join(ways[:-1]) + ' or ' * (len(ways) > 1) + ''.join(ways[-1:])
    end = f'use {listed}' if ways else 'stop other programs, or take a smaller network or pictures'
    return f': the run needs about {need}, and {free / 1e9:.1f} GB of memory are free: {end}'
