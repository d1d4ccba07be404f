"""A training step that recomputes activations in its backward pass instead of keeping them (arXiv:1604.06174).

mxnet 1.9.1 obeys the mirroring attribute in its graph executor only, not in a hybridized block. So an executor is
bound to the Parameters' own arrays. Its values, gradients and running statistics are those of a plain step.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, nullcontext

import mxnet as mx

from ibnnet_mx import norm
from ibnnet_mx.errors import OptionError
from ibnnet_mx.training.memonger.graph import Graph
from ibnnet_mx.training.memonger.plan import Search


class Recompute:
    """A step that recomputes: (data, label) on one context -> (loss (n,), logits); Parameters get their gradients.

    budget: 'least' for nearly the least memory, or megabytes, within which as little as possible is recomputed. The
    megabytes count the arrays between the layers of a step on one context: activations, their gradients, and values
    that operators keep for their backward pass. They do not count weights, gradients of weights, the optimiser's
    state, pictures, and scratch memory of oneDNN's kernels.
    tell: function that gets a line about each plan.
    Raises OptionError for another budget, and before anything is computed if no plan fits the budget.
    """

    def __init__(self, net, loss, budget='least', tell=None):
        if budget != 'least' and not (isinstance(budget, (int, float)) and budget > 0):
            raise OptionError('memonger', budget, 'is no budget of a step: use least, or megabytes such as 1500')
        self._net, self._loss, self._budget, self._tell = net, loss, budget, tell
        self._plans, self._executors, self._clock = {}, {}, None

    def __call__(self, data, label):
        executor, moved = self._executor(data, label)
        loss, logits = executor.forward(is_train=True, data=data, label=label)
        executor.backward()
        # Not in place as with autograd, because a recomputation may still read the old value.
        for state, after in moved:
            after.copyto(state)
        for param in self._net.collect_params().values():
            if param.grad_req != 'null':
                # gluon.Trainer checks this mark, and the executor does not set it.
                param.data(data.context)._fresh_grad = True
        return loss.copy(), logits.copy()  # the next step writes over the executor's own outputs

    def watch(self, clock):
        """Report each operator of all further steps to a profiling.Clock."""
        self._clock = clock
        self._executors.clear()

    def _executor(self, data, label):
        """Return an executor for the batch, and [(state of a norm, array of its next value)].

        Each context keeps the executor of its largest batch. For a smaller batch one is made for the step, in the
        memory of the largest.
        """
        shape, (largest, present) = data.shape, self._executors.get(data.context, ((), None))
        if shape == largest:
            return present
        smaller = len(shape) == len(largest) and all(a <= b for a, b in zip(shape, largest))
        if not smaller:
            self._executors.pop(data.context, None)  # free its memory before another is made
            present = None
        step = Step(self._net, self._loss, data, label)
        symbol = step.graph.symbol(self._plan(step, data).decision)
        executor = step.bind(symbol, shared=present[0] if smaller else None)
        if self._clock is not None:
            self._clock.graph(symbol)
            executor.set_monitor_callback(self._clock.hook)
        if not smaller:
            self._executors[data.context] = shape, (executor, step.moved)
        return executor, step.moved

    def megabytes(self, data, label):
        """Return the megabytes of the plan for a batch. Nothing is computed."""
        return self._plan(Step(self._net, self._loss, data, label), data).megabytes

    def _plan(self, step, data):
        """Return the plan.Plan of a step. A larger batch's plan serves a smaller one with the same nodes."""
        key = data.shape, data.context.device_type
        budget = None if self._budget == 'least' else self._budget
        if key in self._plans:
            return self._plans[key]
        search = Search(step.graph, step.bind)
        for (shape, device), larger in self._plans.items():
            if device == key[1] and shape[1:] == data.shape[1:] and shape[0] > data.shape[0]:
                plan = search.measured(larger.decision)
                if plan and (budget is None or plan.megabytes <= budget):
                    self._plans[key] = plan
                    return plan
        try:
            plan = search.find(budget)
        except ValueError as error:
            rows = data.shape[0]
            raise OptionError(
                'memonger',
                self._budget,
                f': {error}, for {rows} pictures on one device; give at least that, or a smaller `batch_size`',
            ) from None
        if self._tell:
            self._tell(f'`memonger` {self._budget}: {plan} ({" x ".join(map(str, data.shape))})')
        self._plans[key] = plan
        return plan


class Step:
    """The graph of a step on one context and shape, and its arrays. moved: [(array of a State, its next value)]."""

    def __init__(self, net, loss, data, label):
        self._context, self._params = data.context, net.collect_params()
        symbol, constants = net.trace(data.shape[0], data.context)
        loss = loss(symbol, mx.sym.var('label'))
        head = mx.sym.Group([mx.sym.make_loss(loss, name='batch_loss'), mx.sym.BlockGrad(symbol, name='logits')])
        inputs = {'data': mx.nd.zeros_like(data), 'label': mx.nd.zeros_like(label)}
        inputs.update({name: array.as_in_context(self._context) for name, array in constants.items()})
        params = self._params
        self._arrays = {n: inputs[n] if n in inputs else params[n].data(self._context) for n in head.list_inputs()}
        self._states = [n for n in head.list_arguments() if n in params and isinstance(params[n], norm.State)]
        self._after = {n: mx.nd.zeros_like(self._arrays[n]) for n in self._states}
        self.moved = [(self._arrays[n], self._after[n]) for n in self._states]
        self.graph = Graph(head, self._arrays)

    def bind(self, symbol, careful=True, shared=None):
        """Return an executor of a symbol. careful: plan its memory well. shared: executor whose memory it uses."""
        params, names = self._params, symbol.list_arguments()
        learning = {n: params[n].grad_req for n in names if n in params and params[n].grad_req != 'null'}
        grads = {n: params[n].grad(self._context) for n in learning}
        requests = {**learning, **dict.fromkeys(self._states, 'write')}
        with _careful() if careful else nullcontext():
            return symbol.bind(
                self._context,
                {n: self._arrays[n] for n in names},
                args_grad={**grads, **self._after},
                grad_req={n: requests.get(n, 'null') for n in names},
                aux_states={n: self._arrays[n] for n in symbol.list_auxiliary_states()},
                shared_exec=shared,
            )


@contextmanager
def _careful():
    """Context in which mxnet tries several ways to share memory among an executor's arrays, and takes the best."""
    name = 'NNVM_AUTO_SEARCH_MATCH_RANGE'
    before = os.environ.get(name)
    os.environ[name] = '1'
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
