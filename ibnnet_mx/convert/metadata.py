"""The description of a network in a file that is written for other programs."""

from __future__ import annotations

import json

from ibnnet_mx.size import Size


def describe(net):
    """Return {key: text}: model, size and normalisation of a network; {} if the network is not from the tables."""
    model = getattr(net, 'model', None)
    if model is None:
        return {}
    pixels = {'order': 'RGB', 'mean': model.pixels.mean, 'std': model.pixels.std, 'range': '0..255'}
    return {'model': model.name, 'size': str(Size.of(model.size)), 'pixels': json.dumps(pixels)}
