"""Search for a plan: the results that a training step keeps. It binds executors, because these know their memory."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

EQUAL = (64, 24, 16, 10, 6, 4)  # counts of segments with about equal bytes
SHRINKING = (4, 5, 6, 6.5, 7, 7.5)  # counts of segments that shrink by the bytes of the cuts before them
MARKED = (0.0, 0.5, 0.8)  # shares of the convolutions that are marked, those with most work for a byte first
TINY = 1000  # results below 1/TINY of the largest are kept: recomputing them would save nothing
SLACK = 1.05  # 'least' takes up to so many times the least memory if that saves work
COARSE = 16  # megabytes; mxnet tells whole megabytes, so less is too coarse to compare
LAYOUTS, REPAIRS = 4, 24  # layouts that are filled up; trials that fill the best of these further


class Plan(NamedTuple):
    """A decision about a step, and its price.

    decision: graph.Kept; None keeps everything. megabytes: mxnet's memory for activations, their gradients and other
    arrays between layers. plain: the same without recomputing. extra: repeated multiplications as a share of a plain
    step's.
    """

    decision: Any
    megabytes: int
    plain: int
    extra: float
    nodes: tuple  # (count of nodes whose results are kept, count of all)

    def __str__(self):
        return (
            f'{self.plain:,} MB of activations become {self.megabytes:,} MB, {100 * self.extra:.0f} % more '
            f'multiplications; {self.nodes[0]} of {self.nodes[1]} nodes are kept'
        )


class Trial(NamedTuple):
    """The figures of one choice of kept nodes. cost, work: of the nodes that run again (graph.Node)."""

    megabytes: int
    bytes_held: int
    cost: float
    work: int
    stays: set
    marked: set


class Search:
    """The search for a plan. bind: function (symbol, careful) -> executor, as Step.bind()."""

    def __init__(self, graph, bind):
        self._graph, self._bind = graph, bind
        text = bind(graph.symbol(), False).debug_str()
        graph.learn(text)
        self.plain = megabytes(text, graph.density)
        self._heavy = [i for i in graph.operators if graph.nodes[i].work * 1e4 > graph.multiplications]
        largest = max(graph.nodes[i].bytes for i in graph.operators)
        self._tiny = {i for i in graph.operators if graph.nodes[i].bytes * TINY < largest}
        self._seen = {}

    def trial(self, stays, marked):
        """Return the Trial of a choice of nodes, which are numbers."""
        key = frozenset(stays), frozenset(marked)
        if key not in self._seen:
            graph = self._graph
            text = self._bind(graph.symbol(graph.names(*key))).debug_str()
            again = [graph.nodes[i] for i in graph.again(text)]
            bytes_held = sum(graph.nodes[i].bytes for i in graph.held_by(*key))
            cost, work = sum(node.cost for node in again), sum(node.work for node in again)
            self._seen[key] = Trial(megabytes(text, graph.density), bytes_held, cost, work, set(key[0]), set(key[1]))
        return self._seen[key]

    def measured(self, decision):
        """Return the Plan of a decision for another shape; None if the graph does not have its nodes."""
        if decision is None:
            count = len(self._graph.operators)
            return Plan(None, self.plain, self.plain, 0.0, (count, count))
        numbers = self._graph.numbers
        if not (decision.stays | decision.marked) <= numbers.keys():
            return None
        return self._plan(self.trial(*({numbers[name] for name in names} for names in decision)))

    def find(self, budget=None):
        """Return the Plan of the least memory, or the Plan of the least work within budget megabytes.

        Raises ValueError if none fits.
        """
        if budget is not None and budget >= self.plain:
            return self.measured(None)
        layouts = sorted(self._layouts(), key=lambda trial: (trial.megabytes, trial.bytes_held))
        least = layouts[0].megabytes
        if budget is not None and least > budget:
            raise ValueError(f'{least:,} MB is the least, {self.plain:,} MB without recomputing')
        if least < COARSE and budget is None:
            return self._plan(layouts[0])
        limit = budget if budget is not None else max(int(least * SLACK), least)
        fitting = [trial for trial in layouts if trial.megabytes <= limit][:LAYOUTS]
        best = min((self._filled(trial, limit) for trial in fitting), key=lambda trial: trial.cost)
        return self._plan(self._brimful(best, limit))

    def _plan(self, trial):
        graph = self._graph
        # A step multiplies forward, for the gradients of inputs, and for those of weights.
        extra = trial.work / max(3 * graph.multiplications, 1)
        counts = len(graph.held_by(trial.stays, trial.marked)), len(graph.operators)
        return Plan(graph.names(trial.stays, trial.marked), trial.megabytes, self.plain, extra, counts)

    def _layouts(self):
        """Yield trials that keep some cuts, tiny results and marked convolutions, and recompute everything else."""
        graph = self._graph
        by_work = sorted(self._heavy, key=lambda i: -graph.nodes[i].work / graph.nodes[i].bytes)
        for chosen in [self._chosen(n, False) for n in EQUAL] + [self._chosen(n, True) for n in SHRINKING]:
            stays = {i for i in chosen if graph.alone(i)} | self._tiny
            for share in MARKED:
                marked = (chosen | set(by_work[: int(share * len(by_work))])) - stays
                yield self.trial(graph.closed(stays, marked), marked)

    def _chosen(self, pieces, shrinking):
        """Return the cuts between segments of about 1 / pieces of all bytes.

        shrinking: a segment and the cuts before it have this size together. While a segment is computed again, these
        cuts are held, and nothing after it.
        """
        nodes, cuts = self._graph.nodes, self._graph.cuts()
        sizes = [sum(nodes[i].bytes for i in self._graph.operators if a < i <= b) for a, b in zip([-1, *cuts], cuts)]
        chosen: set[int] = set()
        limit, since = sum(sizes) / pieces, 0
        for cut, size, following in zip(cuts, sizes, [*sizes[1:], 0]):
            since += size
            bytes_held = sum(nodes[i].bytes for i in chosen)
            if since + following + bytes_held > limit if shrinking else since > limit:
                chosen.add(cut)
                since = 0
        return chosen

    def _order(self, trial):
        """Return the convolutions that run again. Those that save most work for a kept byte come first."""
        graph, holding = self._graph, self._graph.held_by(trial.stays, trial.marked)
        left = [i for i in self._heavy if i not in trial.stays]
        return sorted(left, key=lambda i: -graph.nodes[i].work / (1 + graph.added(i, trial.stays, holding)))

    def _with(self, trial, more):
        """Return the trial in which more nodes stay."""
        marked = trial.marked - set(more)
        stays = self._graph.closed(trial.stays | set(more), marked)
        return self.trial(stays, marked - stays)

    def _filled(self, trial, limit):
        """Return the trial in which as many convolutions stay, in the order of _order(), as fit the limit."""
        order, best = self._order(trial), trial
        low, high = 0, len(order)
        while low < high:
            middle = (low + high + 1) // 2
            candidate = self._with(trial, order[:middle])
            low, high = (middle, high) if candidate.megabytes <= limit else (low, middle - 1)
            if candidate.megabytes <= limit and candidate.cost < best.cost:
                best = candidate
        return best

    def _brimful(self, best, limit):
        """Return the trial in which single further convolutions stay. They fit if their memory is free at the peak."""
        queue, left = [self._order(best)], REPAIRS
        while queue and left:
            part = queue.pop(0)
            if not part:
                continue
            left -= 1
            candidate = self._with(best, part)
            if candidate.megabytes <= limit and candidate.cost < best.cost:
                best = candidate
            elif len(part) > 1:
                queue += [part[: len(part) // 2], part[len(part) // 2 :]]
        return best


def megabytes(text, density=1.0):
    """Return an executor's memory from its debug_str(). mxnet counts four bytes for any value; density corrects it."""
    total = re.search(r'Total (\d+) MB', text)
    if total is None:
        raise ValueError(f'mxnet does not tell the memory of an executor: {text[-200:]}')
    return round(int(total.group(1)) * density)
