"""A profile of a training step: its time by kind of layer, by stage and by operator.

mxnet's own profiler cannot be used: it tells only the types of operators, and its events come in the order of running,
which is not the graph's. But mxnet's graph executor calls a hook with the name of each node after it ran, forward and
backward. A hybridized block has hooks only without static_alloc, where each result is allocated anew, which takes the
CPU up to half as long again. So some whole steps are measured as they are, and then some steps in the executor.

The hook waits for the operator; the time since the operator before is its time. Limits: the host cannot work ahead
while it waits (10 to 50 us an operator, included), and the hook's own time is not counted. On several devices the
operators take turns, so their sum is over all devices.
"""

from __future__ import annotations

import io
import json
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import mxnet as mx

from ibnnet_mx.errors import OptionError
from ibnnet_mx.files import outputs
from ibnnet_mx.graph.symbol_json import SymbolGraph

WARMUP, MEASURED = 2, 3
ENDINGS = ('.json', '.png')
COLOURS = {  # kind: its colour in the picture
    'convolution forward': '#4878a8',
    'convolution backward': '#1f3f66',
    'norm': '#e1812c',
    'activation': '#3a923a',
    'add and copy': '#9c9c9c',
    'pooling': '#845b53',
    'dense': '#9372b2',
    'loss': '#d684bd',
    'optimiser': '#c03d3e',
    'rest': '#d9d9d9',
}
LIGHT = ('add and copy', 'loss', 'rest')  # their colours need black text
OPERATORS = {  # beginnings of an operator's type: kind; the first that fits counts
    ('Convolution', 'Deconvolution', 'ibnnet_winograd', 'ibnnet_cent'): 'convolution',
    ('BatchNorm', '_contrib_BatchNorm', '_contrib_Sync', 'LayerNorm', 'InstanceNorm', 'GroupNorm', 'ibnnet'): 'norm',
    ('Activation', 'LeakyReLU', 'relu', 'sigmoid'): 'activation',
    ('Pooling', 'mean'): 'pooling',
    ('FullyConnected',): 'dense',
    ('elemwise', 'broadcast', '_plus', '_add', '_mul', 'add_n', 'Concat', 'stack', 'slice', 'Slice'): 'add and copy',
    ('Reshape', 'reshape', 'Flatten', 'expand_dims', 'transpose', 'tile', 'repeat'): 'add and copy',
    ('Cast', 'amp_', '_copy', 'identity', 'BlockGrad'): 'add and copy',
}
UPDATE = 'update'  # the stage of all work before and after the network


class Operator(NamedTuple):
    name: str
    stage: str
    kind: str


class Layers:
    """Finds the stage and layer of a network's nodes by their names."""

    def __init__(self, net):
        self._stages, self._norms = {}, set()
        for part, block in net.parts().items():
            blocks = [block]
            for layer in blocks:
                blocks += layer._children.values()
                if layer.prefix:
                    self._stages[layer.prefix] = 'head' if part == 'embedding' else part
                if any(name.endswith('gamma') for name in layer.params):  # only norms have one
                    self._norms.add(layer.prefix)
        self.stages = [*dict.fromkeys(self._stages.values()), UPDATE]

    def find(self, node, kind):
        """Return (stage or None, kind) of a node. All nodes inside a norm get the kind 'norm'."""
        prefix = node
        while prefix and prefix not in self._stages:
            prefix = prefix[:-1].rpartition('_')[0]
            prefix += '_' if prefix else ''
        inside = prefix in self._norms and kind != 'convolution'
        return self._stages.get(prefix), 'norm' if inside else kind


class Clock:
    """Measures the operators of a step: times is {Operator: [calls, seconds]}. hook() is the callback of a graph."""

    def __init__(self, net):
        self.layers, self._types, self._known = Layers(net), {}, {}
        self._last: Operator = Operator('', UPDATE, 'rest')
        self.start()

    def start(self):
        """Begin a step."""
        self.times, self._since = {}, time.perf_counter()

    def graph(self, symbol):
        """Learn the types of the nodes of a graph that will call the hook."""
        self._types.update((node['name'], node['op']) for node in SymbolGraph.of_symbol(symbol).nodes)

    def hook(self, name, *_):
        """Count a result of a node that ran. name: with endings, such as bn1_fwd_mirror_backward_output0."""
        name = name.decode() if isinstance(name, bytes) else name
        if name not in self._known:
            self._known[name] = self._operator(name)
        self._count(self._known[name] or Operator('sum of gradients', self._last.stage, 'add and copy'))

    def tick(self, kind):
        """Count work that is not an operator of a graph."""
        self._count(Operator(kind, UPDATE, kind))

    def _count(self, operator):
        mx.nd.waitall()
        entry = self.times.setdefault(operator, [0, 0.0])
        entry[1] += time.perf_counter() - self._since
        entry[0] += operator != self._last  # a node calls the hook once for each result
        self._last, self._since = operator, time.perf_counter()

    def _operator(self, name):
        """Return the Operator of a name; None for the sum of gradients of a node with several readers."""
        node = name
        while node and node not in self._types:
            node = node.rpartition('_')[0]
        endings, node = name[len(node) :], node or name
        if 'loss' in name:
            return Operator('loss', 'head', 'loss')
        if not endings or node == name:
            return None if name.startswith(('sum_grad', 'zeros')) else Operator(name, UPDATE, 'rest')
        backward = '_backward' in endings
        kind = next((k for types, k in OPERATORS.items() if self._types[node].startswith(types)), 'rest')
        stage, kind = self.layers.find(node, kind)
        if kind == 'convolution':
            kind += ' backward' if backward else ' forward'
        direction = ' backward' if backward else ' again' if '_mirror' in endings else ''
        return Operator(node + direction, stage or 'head', kind)


class Profile(NamedTuple):
    """The times of a step.

    step_ms: of the whole step. waiting_ms: of waiting for its data, which is not part of step_ms.
    operators: (Operator, calls, ms).
    """

    model: str
    batch_size: int
    step_ms: float
    waiting_ms: float
    stages: list
    operators: list

    def by_stage(self):
        """Return {stage: {kind: ms}}, in the order of the network and of COLOURS."""
        stages = {}
        for stage in self.stages:
            kinds = self._sums(row for row in self.operators if row[0].stage == stage)
            stages.update({stage: kinds} if kinds else {})
        return stages

    def by_kind(self):
        return self._sums(self.operators)

    @staticmethod
    def _sums(rows):
        total = dict.fromkeys(COLOURS, 0.0)
        for operator, _, ms in rows:
            total[operator.kind] += ms
        return {kind: ms for kind, ms in total.items() if ms}

    def lines(self):
        """Yield the lines of a short table for the log."""
        kinds, stages = self.by_kind(), self.by_stage()
        total = sum(kinds.values())
        beside = f'{self.waiting_ms:.1f} ms of waiting for data on top'
        yield f'{self.model}, batch {self.batch_size}: {self.step_ms:.1f} ms a step, {beside}'
        for kind, ms in sorted(kinds.items(), key=lambda pair: -pair[1]):
            yield f'{kind:<20} {ms:9.1f} ms {100 * ms / total:5.1f} %'
        yield ', '.join(f'{stage} {sum(ms.values()):.1f} ms' for stage, ms in stages.items())
        yield f'one by one the operators take {total:.1f} ms, {100 * total / self.step_ms:.0f} % of the step'

    def to_dict(self):
        rows = sorted(self.operators, key=lambda row: -row[2])
        return {
            'model': self.model,
            'batch_size': self.batch_size,
            'step_ms': self.step_ms,
            'waiting_ms': self.waiting_ms,
            'by_kind': self.by_kind(),
            'by_stage': self.by_stage(),
            'operators': [{**operator._asdict(), 'calls': calls, 'ms': ms} for operator, calls, ms in rows],
        }


def full_batches(train, epoch):
    """Yield (data, label) of a data.Iterator without end, only batches as large as the first."""
    rows = None
    while True:
        before = rows
        for data, label, real in train.epoch(epoch):
            rows = rows or (data.shape[0] if real else None)
            if real and data.shape[0] == rows:
                yield data, label
        if before is None and rows is None:
            raise OptionError('profile', None, ': no batch of the epoch has an undamaged picture')


def measure(step, watch, batches, net):
    """Return the Profile of step(data, label). watch(clock): from then on steps call the clock's hook."""
    name, size = net.model.name if net.model else type(net).__name__, 0
    whole, waiting = [], []
    for i in range(WARMUP + MEASURED):
        begin = time.perf_counter()
        data, label = next(batches)
        ready, size = time.perf_counter(), data.shape[0]
        step(data, label)
        mx.nd.waitall()
        if i >= WARMUP:
            whole.append(time.perf_counter() - ready)
            waiting.append(ready - begin)
    clock = Clock(net)
    watch(clock)
    steps = []
    for _ in range(1 + MEASURED):  # the first one only makes the executor
        data, label = next(batches)
        clock.start()
        step(data, label)
        steps.append(clock.times)
    calls = {operator: calls for operator, (calls, _) in steps[-1].items()}
    operators = [(operator, n, 1e3 * median(step[operator][1] for step in steps[1:])) for operator, n in calls.items()]
    return Profile(name, size, 1e3 * median(whole), 1e3 * fmean(waiting), clock.layers.stages, operators)


def check_path(path):
    """Raise OptionError if a profile cannot be written to such a file."""
    if Path(path).suffix.lower() not in ENDINGS:
        raise OptionError('profile', str(path), f': the name must end in {" or ".join(ENDINGS)}')
    if Path(path).suffix.lower() == '.png' and find_spec('matplotlib') is None:
        raise OptionError(
            'profile', None, ': drawing needs matplotlib, which is missing: pip install matplotlib; or use .json'
        )


def write_profile(profile, path):
    """Write a profile as .json or .png, by the path's ending. Raises OptionError if it cannot be written."""
    if Path(path).suffix.lower() == '.json':
        data = (json.dumps(profile.to_dict(), indent=1) + '\n').encode()
    else:
        drawn = io.BytesIO()
        draw_profile(profile).savefig(drawn, dpi=150, format='png')
        data = drawn.getvalue()
    outputs.write_output('profile', str(path), data)


def draw_profile(profile):
    """Return a figure with a bar for each stage, divided into kinds."""
    from matplotlib.figure import Figure  # not pyplot, which needs a display

    stages, kinds = profile.by_stage(), profile.by_kind()
    total, longest = sum(kinds.values()), max(sum(ms.values()) for ms in stages.values())
    figure = Figure(figsize=(10, 1.6 + 0.55 * len(stages)), layout='constrained')
    axes = figure.add_subplot()
    for row, kinds_of in enumerate(stages.values()):
        left = 0.0
        for kind, ms in kinds_of.items():
            axes.barh(row, ms, left=left, height=0.7, color=COLOURS[kind], edgecolor='white', linewidth=0.5)
            if ms > 0.045 * longest:  # the number has room in the bar
                colour = 'black' if kind in LIGHT else 'white'
                axes.text(left + ms / 2, row, _short(ms), ha='center', va='center', fontsize=8, color=colour)
            left += ms
        axes.text(left + 0.008 * longest, row, f'{_short(left)} ms', va='center', fontsize=9, weight='bold')
    axes.set_yticks(range(len(stages)), stages)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.1 * longest)
    axes.set_xlabel('ms of a step, operator by operator')
    waiting = f'{_short(profile.waiting_ms)} ms of waiting for data on top'
    title = f'{profile.model}, batch {profile.batch_size}: {_short(profile.step_ms)} ms a step, {waiting}'
    axes.set_title(title, loc='left')
    axes.spines[['top', 'right']].set_visible(False)
    patches = [axes.barh(0, 0, color=COLOURS[kind]) for kind in kinds]
    shares = [f'{100 * ms / total:.0f} %' if ms > 0.01 * total else '< 1 %' for ms in kinds.values()]
    names = [f'{kind}  {_short(ms)} ms, {share}' for (kind, ms), share in zip(kinds.items(), shares)]
    figure.legend([bars.patches[0] for bars in patches], names, loc='outside right center', frameon=False, fontsize=9)
    return figure


def _short(ms):
    return f'{ms:.0f}' if ms >= 100 else f'{ms:.1f}' if ms >= 1 else f'{ms:.2f}'
