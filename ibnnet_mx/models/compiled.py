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
        return self._operator(*(self._array(x, entry) for entry in self._inputs))

    def _array(self, x, entry):
        """Return an input of the graph. entry: a Parameter, the NDArray of a constant, or None for the data x."""
        if entry is None:
            return x
        if not isinstance(entry, mx.gluon.Parameter):
            return entry.as_in_context(x.context)
        # A prediction may be recorded for the gradient of the pictures; it must not move a state.
        return entry.data() if self._training or not isinstance(entry, norm.State) else entry.data().detach()
