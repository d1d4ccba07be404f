"""The parts of a network that learn, and their rates: recipe.freeze, recipe.lr_mult. Parts are those of net.parts()."""

from __future__ import annotations

from ibnnet_mx import norm
from ibnnet_mx.errors import OptionError


def prepare(net, recipe):
    """Freezes and multiplies as the recipe says, before net is initialised or traced. Returns the blocks that learn.

    ValueError: a part that the network does not have, or one that is asked to learn and to stand still.
    """
    freeze(net, recipe.freeze)
    multiply(net, recipe.lr_mult)
    return [block for block in net.parts().values() if _learns(block)]


def freeze(net, names):
    """No gradients for these parts, so that the backward pass ends above them, and no new running statistics."""
    for name in names:
        for block in _blocks(net, 'freeze', name):
            block.collect_params().setattr('grad_req', 'null')
            norm.freeze_statistics(block)
    if names and not _learns(net):
        raise OptionError('freeze', tuple(names), 'leaves nothing that learns: leave a part out')


def multiply(net, factors):
    """Set factors of the learning rate: (part, factor) pairs; of two for one part the later wins."""
    for name, factor in factors:
        blocks = _blocks(net, 'lr_mult', name)
        if not any(map(_learns, blocks)):
            raise OptionError('lr_mult', {name: factor}, f': `freeze` keeps {name} as it is, leave one of them out')
        for block in blocks:
            block.collect_params().setattr('lr_mult', factor)


def _blocks(net, option, name):
    parts = {part: block for part, block in net.parts().items() if list(block.collect_params())}
    if name == 'body':
        return [block for part, block in parts.items() if part != 'head']
    if name not in parts:
        raise OptionError(option, name, f': the parts with weights are {", ".join(parts)}; body is all but the head')
    return [parts[name]]


def _learns(block):
    return any(param.grad_req != 'null' for param in block.collect_params().values())
