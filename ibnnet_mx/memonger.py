"""A training step that recomputes activations in its backward pass instead of keeping them (arXiv:1604.06174).

mxnet 1.9.1 honours the mirroring attribute in its graph executor only; a hybridized block has no such path. So an
executor is bound to the Parameters' own arrays: values, gradients and running statistics are the plain step's.
"""

from __future__ import annotations

import mxnet as mx

from ibnnet_mx import norm

KEPT = ('_sum', '_loss', 'logits')  # endings of the nodes whose outputs stay in memory: a unit's sum, and the head


class Recompute:
    """(data, label) on one context -> (loss (n,), logits (n, classes)); gradients are written to the Parameters."""

    def __init__(self, net, loss):
        self._net, self._loss, self._executors = net, loss, {}

    def __call__(self, data, label):
        executor, moved = self._executor(data, label)
        loss, logits = executor.forward(is_train=True, data=data, label=label)
        executor.backward()
        for state, after in moved:  # not in place, as autograd does it: a recomputation might read it afterwards
            after.copyto(state)
        for param in self._net.collect_params().values():
            if param.grad_req != 'null':
                param.data(data.context)._fresh_grad = True  # the executor does not tell autograd
        return loss.copy(), logits.copy()  # the next step writes over the executor's own outputs

    def _executor(self, data, label):
        """(executor, [(a norm's state, where its next value is written)]).

        One for each context and its first batch shape; another shape's is made for the step and dropped.
        """
        kept = self._executors.get(data.context)
        if kept is not None and kept[0] == data.shape:
            return kept[1]
        executor = self._bind(data, label)
        if kept is None:
            self._executors[data.context] = data.shape, executor
        return executor

    def _bind(self, data, label):
        context, params = data.context, self._net.collect_params()
        symbol, constants = self._net.trace(data.shape[0], context)
        loss = self._loss(symbol, mx.sym.var('label'))
        head = mx.sym.Group([mx.sym.make_loss(loss, name='batch_loss'), mx.sym.BlockGrad(symbol, name='logits')])
        inputs = set(head.list_inputs())
        nodes = head.get_internals()
        for i in range(len(nodes.list_outputs())):
            if nodes[i].name not in inputs:
                nodes[i]._set_attr(force_mirroring=str(not nodes[i].name.endswith(KEPT)))
        named = [n for n in head.list_arguments() if n in params and isinstance(params[n], norm.State)]
        states = {n: params[n].data(context) for n in named}
        after = {n: mx.nd.zeros_like(array) for n, array in states.items()}
        given = {'data': data.copy(), 'label': label.copy()}
        given.update({name: array.as_in_context(context) for name, array in constants.items()})
        arrays = {n: given[n] if n in given else params[n].data(context) for n in inputs}
        trained = {n for n in head.list_arguments() if n in params and params[n].grad_req != 'null'}
        executor = head.bind(
            context,
            {n: arrays[n] for n in head.list_arguments()},
            args_grad={**{n: params[n].grad(context) for n in trained}, **after},
            grad_req={n: 'write' if n in trained or n in after else 'null' for n in head.list_arguments()},
            aux_states={n: arrays[n] for n in head.list_auxiliary_states()},
        )
        return executor, [(states[n], after[n]) for n in states]
