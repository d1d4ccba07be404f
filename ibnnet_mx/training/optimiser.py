"""SGD with momentum, plain or Nesterov's. With the C++ operators one call updates all weights of a step."""

from __future__ import annotations

import mxnet as mx

from ibnnet_mx import operators

MOST = 100  # arrays in one multi_all_finite; with more than 200, mxnet 1.9.1 writes beyond its memory


class Nesterov(mx.optimizer.NAG):
    """state = momentum * state - rate * g, then weight += momentum * state - rate * g; g = gradient + wd * weight.

    mxnet's kernel reads the weight again for the decay after it has written it, unless oneDNN holds the weight in its
    own layout, as after an evaluation. So resumed runs would differ in the last bits; we add the decay before.
    """

    def update_multi_precision(self, index, weight, grad, state):
        decay = self._get_wd(index)
        if state is None or not decay:
            super().update_multi_precision(index, weight, grad, state)
            return
        self._update_count(index)
        rates = dict(lr=self._get_lr(index), wd=0.0, momentum=self.momentum, rescale_grad=self.rescale_grad)
        mx.nd.nag_mom_update(weight, grad + weight * (decay / self.rescale_grad), state, out=weight, **rates)


class Together(mx.optimizer.SGD):
    """Nesterov's or plain SGD, which updates all weights by one operator (operators/cpp/update.cc)."""

    def __init__(self, nesterov, **options):
        super().__init__(**options)
        self.nesterov = nesterov
        self.aggregate_num = 2**31  # an Updater passes at most so many weights in one call

    def update_multi_precision(self, index, weight, grad, state):
        self._update_count(index)
        mx.nd.ibnnet_update(
            *weight,
            *grad,
            *state,
            lrs=tuple(self._get_lrs(index)),
            wds=tuple(self._get_wds(index)),
            momentum=self.momentum,
            rescale_grad=self.rescale_grad,
            nesterov=int(self.nesterov),
            out=list(weight),
        )


def all_finite(arrays):
    """Return (1,): 1.0 if every value of the arrays is finite, else 0.0. The host does not wait for it."""
    flag = mx.nd.ones((1,), arrays[0].context)
    for first in range(0, len(arrays), MOST):
        chunk = arrays[first : first + MOST]
        mx.nd.multi_all_finite(*chunk, num_arrays=len(chunk), init_output=False, out=flag)
    return flag


NAMES = {'sgd': mx.optimizer.SGD, 'nag': Nesterov}


def make(name, contexts, momentum, **options):
    """Return the optimiser of that name for weights on these contexts. All variants keep the same states."""
    if momentum and operators.fused() and all(context.device_type == 'cpu' for context in contexts):
        return Together(name == 'nag', momentum=momentum, **options)
    return NAMES[name](momentum=momentum, **options)
