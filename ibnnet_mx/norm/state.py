"""A layer's state that each training step moves. It moves inside the graph, so no Python runs in the step."""

from __future__ import annotations

import mxnet as mx
from mxnet import autograd

STATISTICS = ('running_mean', 'running_var')  # endings of names of values that prediction needs
PROGRESS = ('iters', 'buffer_x2', 'buffer_gz', 'pre_x2', 'pre_gz')  # and of values that only training needs


class State(mx.gluon.Parameter):
    """A parameter that the backward pass replaces by its next value. For the optimiser it has no gradient.

    Its gradient array is its own memory, and advance() makes the next value its gradient. So it moves once for each
    backward pass, however often the forward pass is computed, and never without one. Each device has its own value.
    Every recorded graph that reads it must advance it; other code uses read_state().
    """

    def __init__(self, name, **kwargs):
        super().__init__(name, grad_req='null', differentiable=False, **kwargs)

    def _init_grad(self):
        super()._init_grad()
        autograd.mark_variables(self._data, [array.detach() for array in self._data], 'write')

    def cast(self, dtype):
        """Keep float32, because small changes of a moment would be lost in half precision."""


def add_states(block, **states):
    """Add a State to the block for each name=(shape, initial value)."""
    for name, (shape, value) in states.items():
        param = State(block.params.prefix + name, shape=shape, init=mx.init.Constant(value))
        block.params.update({param.name: param})
        setattr(block, name, param)


def advance(F, carrier, states, flag=None, extra=()):
    """Return carrier, to which a term of value 0 is added. Its backward pass moves each State to its next value.

    states: [(State, next value)]. flag: 1, or 0 to leave the states as they are. extra: (array, array that is added to
    its gradient). The gradients come from MakeLoss, which ignores the gradient from above.
    """
    values, after = (F.concat(*(F.reshape(pair[i], shape=(-1,)) for pair in states), dim=0) for i in (0, 1))
    if flag is not None:
        after = either(F, flag, after, values)
    if extra:
        values = F.concat(values, F.reshape(extra[0], shape=(-1,)), dim=0)
        after = F.concat(after, F.reshape(extra[1], shape=(-1,)), dim=0)
    return F.broadcast_add(carrier, 0 * F.sum(F.MakeLoss(values * F.BlockGrad(after))))


def either(F, flag, new, old):
    """Return exactly `new` if the flag is 1, and exactly `old` if it is 0. flag: broadcasts to both."""
    return F.broadcast_add(F.broadcast_mul(new, flag), F.broadcast_mul(old, 1 - flag))


def is_state(param):
    """Return True for a parameter that training moves without an optimiser: running statistics, and every State."""
    return isinstance(param, State) or param.name.endswith(STATISTICS)


def read_state(F, array):
    """Return a State's value for a pass that must not move it. For a traced graph, compiled.Graph detaches it."""
    return array if F is mx.sym else array.detach()
