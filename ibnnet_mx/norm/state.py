"""State of a layer that each training step moves on, inside of the graph: no Python runs in the step."""

from __future__ import annotations

import mxnet as mx
from mxnet import autograd

STATISTICS = ('running_mean', 'running_var')  # endings of the names of what prediction needs
PROGRESS = ('iters', 'buffer_x2', 'buffer_gz', 'pre_x2', 'pre_gz')  # and of what only further training does


class State(mx.gluon.Parameter):
    """A parameter that the backward pass replaces by its next value. The optimiser sees one without a gradient.

    Its gradient array is its own memory, and advance() makes its next value its gradient. So it moves once for each
    backward pass, however often the forward pass is computed, and stays where there is no backward pass; each context
    has its own. Every recorded graph that reads it must advance it; elsewhere use read().
    """

    def __init__(self, name, **kwargs):
        super().__init__(name, grad_req='null', differentiable=False, **kwargs)

    def _init_grad(self):
        super()._init_grad()
        autograd.mark_variables(self._data, [array.detach() for array in self._data], 'write')

    def cast(self, dtype):
        """Values as they are: moments in half precision would stand still."""


def add_states(block, **given):
    """Make a State of each name=(shape, initial value): block.name."""
    for name, (shape, value) in given.items():
        param = State(block.params.prefix + name, shape=shape, init=mx.init.Constant(value))
        block.params.update({param.name: param})
        setattr(block, name, param)


def advance(F, carrier, states, flag=None, extra=()):
    """Return carrier. In the backward pass each State becomes its next value. states: [(State, next value)].

    flag: 0 in the place of 1 leaves them as they are. extra: (array, what is added to its gradient).
    The gradients come from MakeLoss, which asks for none from above.
    """
    values, after = (F.concat(*(F.reshape(pair[i], shape=(-1,)) for pair in states), dim=0) for i in (0, 1))
    if flag is not None:
        after = either(F, flag, after, values)
    if extra:
        values = F.concat(values, F.reshape(extra[0], shape=(-1,)), dim=0)
        after = F.concat(after, F.reshape(extra[1], shape=(-1,)), dim=0)
    return F.broadcast_add(carrier, 0 * F.sum(F.MakeLoss(values * F.BlockGrad(after))))


def either(F, flag, new, old):
    """Return new if the flag, of as many axes, is 1, and old if it is 0; both exactly."""
    return F.broadcast_add(F.broadcast_mul(new, flag), F.broadcast_mul(old, 1 - flag))


def is_state(param):
    """Return True for a parameter that training moves without an optimiser: running statistics, and every State."""
    return isinstance(param, State) or param.name.endswith(STATISTICS)


def read_state(F, array):
    """A State's value in a pass that must not move it. Graphs are handed such values by whoever runs them."""
    return array if F is mx.sym else array.detach()
