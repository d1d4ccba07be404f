"""The search for what a training step keeps and recomputes. It tries: mxnet plans a bound executor's memory exactly."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

EQUAL = (64, 24, 16, 10, 6, 4)  # into about how many pieces of equal bytes a graph is cut
SHRINKING = (4, 5, 6, 6.5, 7, 7.5)  # the same, of pieces that become smaller by what is held for those before
MARKED = (0.0, 0.5, 0.8)  # shares of the convolutions, those first whose bytes are dear to compute, that are marked
TINY = 1000  # a result of less than a 1/TINY of the largest is kept: recomputing it would save nothing
SLACK = 1.05  # 'auto' takes so much of the least memory where that saves work
COARSE = 16  # megabytes, in which mxnet tells its plan: below there is nothing to weigh
LAYOUTS, REPAIRS = 4, 24  # cut graphs that are filled up; trials that fill the best one to the brim


class Plan(NamedTuple):
    """A decision about a step, and its price.

    decision: graph.Kept; None keeps everything. megabytes: mxnet's plan for activations, their gradients and all else
    between the layers; plain: the same without recomputing. extra: multiplications computed again, as a share of those
    of a plain step.
    """

    decision: Any
    megabytes: int
    plain: int
    extra: float
    nodes: tuple  # (those whose results are kept, all)

    def __str__(self):
        return (
            f'{self.plain:,} MB of activations become {self.megabytes:,} MB, {100 * self.extra:.0f} % more '
            f'multiplications; {self.nodes[0]} of {self.nodes[1]} nodes are kept'
        )


class Trial(NamedTuple):
    megabytes: int
    bytes_held: int
    cost: float
    work: int
    stays: set
    marked: set


class Search:
    """The search for a plan. bind: (symbol, whether its memory is planned with care) -> executor."""

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
        """The Plan of what is known to be kept; None where the graph has other nodes."""
        numbers = self._graph.numbers
        if not (decision.stays | decision.marked) <= numbers.keys():
            return None
        return self._plan(self.trial(*({numbers[name] for name in names} for names in decision)))

    def find(self, budget=None):
        """The Plan of the least memory, or of the least work within budget megabytes.

        ValueError: none fits.
        """
        if budget is not None and budget >= self.plain:
            count = len(self._graph.operators)
            return Plan(None, self.plain, self.plain, 0.0, (count, count))
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
        extra = trial.work / max(3 * graph.multiplications, 1)  # forward, to the inputs, to the weights
        counts = len(graph.held_by(trial.stays, trial.marked)), len(graph.operators)
        return Plan(graph.names(trial.stays, trial.marked), trial.megabytes, self.plain, extra, counts)

    def _layouts(self):
        """Trials in which all but some cuts, tiny results and marked convolutions is recomputed."""
        graph = self._graph
        dear = sorted(self._heavy, key=lambda i: -graph.nodes[i].work / graph.nodes[i].bytes)
        for chosen in [self._chosen(n, False) for n in EQUAL] + [self._chosen(n, True) for n in SHRINKING]:
            stays = {i for i in chosen if graph.alone(i)} | self._tiny
            for share in MARKED:
                marked = (chosen | set(dear[: int(share * len(dear))])) - stays
                yield self.trial(graph.closed(stays, marked), marked)

    def _chosen(self, pieces, shrinking):
        """The cuts between segments of about 1 / pieces of all bytes, or of what the chosen ones before leave of it.

        Where a segment is computed again, nothing after it is held any more, and the chosen cuts before it are.
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
        """Convolutions that are computed again, those first that save most work for a byte that is kept."""
        graph, holding = self._graph, self._graph.held_by(trial.stays, trial.marked)
        left = [i for i in self._heavy if i not in trial.stays]
        return sorted(left, key=lambda i: -graph.nodes[i].work / (1 + graph.added(i, trial.stays, holding)))

    def _with(self, trial, more):
        marked = trial.marked - set(more)
        stays = self._graph.closed(trial.stays | set(more), marked)
        return self.trial(stays, marked - stays)

    def _filled(self, trial, limit):
        """With as many of the convolutions in that order as fit."""
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
        """With single ones of the others, where their memory is free by the time that most is needed."""
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
    """Return an executor's memory from its debug_str(). mxnet counts four bytes a value, whatever its type."""
    total = re.search(r'Total (\d+) MB', text)
    if total is None:
        raise ValueError(f'mxnet does not tell the memory of an executor: {text[-200:]}')
    return round(int(total.group(1)) * density)
