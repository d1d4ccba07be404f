"""Freeze parts of a network and set their learning rates (recipe.freeze, recipe.lr_mult); parts are net.parts()."""

from __future__ import annotations

from ibnnet_mx import norm
from ibnnet_mx.errors import OptionError


def prepare(net, recipe):
    """Apply recipe.freeze and recipe.lr_mult before net is initialised or traced. Return the blocks that learn.

    Raises OptionError for a part that the network does not have, or a frozen part with a learning rate.
    """
    freeze(net, recipe.freeze)
    multiply(net, recipe.lr_mult)
    return [block for block in net.parts().values() if _learns(block)]


def freeze(net, names):
    """Stop gradients and running statistics of these parts. The backward pass then ends above them."""
    for name in names:
        for block in _blocks(net, 'freeze', name):
            block.collect_params().setattr('grad_req', 'null')
            norm.freeze_statistics(block)
    if names and not _learns(net):
        raise OptionError('freeze', tuple(names), 'leaves no part that learns: freeze fewer parts')


def multiply(net, factors):
    """Set factors of the learning rate from (part, factor) pairs. For one part, the last pair counts."""
    for name, factor in factors:
        blocks = _blocks(net, 'lr_mult', name)
        if not any(map(_learns, blocks)):
            raise OptionError(
                'lr_mult', {name: factor}, f': `freeze` stops {name} from learning; leave one of the two out'
            )
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
