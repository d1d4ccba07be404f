"""A traced graph that mxnet has compiled."""

from __future__ import annotations

import mxnet as mx

from ibnnet_mx import norm


class Graph:
    """A network traced for one use and compiled: x -> logits."""

    def __init__(self, net, rows, flags, context):
        symbol, constants = net.trace(rows, context)
        params, self._training = net.collect_params(), rows is not None
        names = symbol.list_inputs()
        self._inputs = [params[n] if n in params else constants.get(n) for n in names]
        data = [i for i, n in enumerate(names) if n == 'data']
        rest = [i for i, n in enumerate(names) if n != 'data']
        self._operator = mx.nd.CachedOp(symbol, [('data_indices', data), ('param_indices', rest), *flags])

    def __call__(self, x):
        return self._operator(*(self._array(x, given) for given in self._inputs))

    def _array(self, x, given):
        if given is None:
            return x
        if not isinstance(given, mx.gluon.Parameter):
            return given.as_in_context(x.context)
        # Recorded for the gradient of the pictures, a prediction must not move a state.
        return given.data() if self._training or not isinstance(given, norm.State) else given.data().detach()
