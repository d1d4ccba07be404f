"""The networks: stem, stages, neck, head. They know no recipe, no options and no data."""

from __future__ import annotations

import math

import mxnet as mx
from mxnet.gluon import nn

from ibnnet_mx import norm
from ibnnet_mx.models.blocks import ROWS, DenseUnit, GlobalMean, ResidualUnit, chain, stem, transition
from ibnnet_mx.models.network import Network
from ibnnet_mx.models.tables import DROPOUT
from ibnnet_mx.size import Size

# initial weights of the classifier of v2 networks, as in tornadomeet/ResNet
GAUSSIAN = dict(weight_initializer=mx.init.Xavier('gaussian', 'in', 2), bias_initializer='zeros')


def torch_linear(channels):
    """Return the initial weights of a classifier as torch's Linear draws them."""
    uniform = mx.init.Uniform(channels**-0.5)
    return dict(weight_initializer=uniform, bias_initializer=uniform)


class ResNet(Network):
    """ResNet v1 or v2, ResNeXt, SE-ResNet, plain or IBN: (N, 3, H, W) -> logits (N, classes).

    shape: tables.Shape. IBN-a is in every unit of all stages but the last. IBN-b is the stem's norm, and in the last
    unit of the first two stages (arXiv:1807.09441, XingangPan/IBN-Net). v2 has a convolution in the shortcut of each
    stage's first unit, as tornadomeet/ResNet has, v1 only if the shape changes. Parameters are named as in
    tornadomeet/ResNet (stage1_unit1_conv1_weight).
    """

    def __init__(self, shape, classes, layers, style, taps=()):
        super().__init__(prefix='')
        with self.name_scope():
            cin, last = shape.widths[0], len(shape.units)
            parts = {'stem': stem(shape.stem, cin, layers, style)}
            for s, (units, cout) in enumerate(zip(shape.units, shape.widths[1:]), 1):
                parts[f'stage{s}'] = stage = chain()
                for u in range(1, units + 1):
                    stride = 1 if s == 1 or u > 1 else style.last_stride if s == last else 2
                    has_ibn = s in style.ibn_stages and (style.ibn == 'a' or u == units)
                    stage.add(
                        ResidualUnit(
                            ROWS[shape.unit](cin, cout, stride, style.groups),
                            layers,
                            style,
                            style.ibn if has_ibn else None,
                            u == 1 if style.preact else stride != 1 or cin != cout,
                            prefix=f'stage{s}_unit{u}_',
                        )
                    )
                    cin = cout
            if style.preact:
                parts['neck'] = chain(layers.norm(cin, prefix='bn1_'), nn.Activation('relu'))
            parts['embedding'] = chain(GlobalMean(), nn.Dropout(DROPOUT)) if style.w_d else GlobalMean()
            self._assemble(parts, taps, (classes, cin, GAUSSIAN if style.preact else torch_linear(cin)))


class DenseNet(Network):
    """DenseNet, plain or IBN: (N, 3, H, W) -> logits (N, classes). arXiv:1608.06993.

    IBN is the first norm of every third unit in all stages but the last (XingangPan/IBN-Net). A transition belongs to
    the stage after it, so 'stage1' is the result of the first dense block.
    """

    def __init__(self, shape, classes, layers, style, taps=()):
        super().__init__(prefix='')
        with self.name_scope():
            width, growth = shape.widths
            parts = {'stem': stem(shape.stem, width, layers, style)}
            for s, units in enumerate(shape.units, 1):
                parts[f'stage{s}'] = stage = chain()
                if s > 1:
                    stage.add(transition(width, layers, f'transition{s - 1}_'))
                    width //= 2
                for u in range(units):
                    ibn = s in style.ibn_stages and u % 3 == 0
                    stage.add(DenseUnit(width, growth, layers, ibn, prefix=f'stage{s}_unit{u + 1}_'))
                    width += growth
            parts['neck'] = chain(layers.norm(width, prefix='bn1_'), nn.Activation('relu'))
            parts['embedding'] = GlobalMean()
            self._assemble(parts, taps, (classes, width, torch_linear(width)))


def count_parameters(net, learning=False):
    """Return how many values of a network are trained, without statistics and states. learning: without frozen ones."""
    params = [p for p in net.collect_params().values() if not norm.is_state(p)]
    return sum(math.prod(p.shape) for p in params if not learning or p.grad_req != 'null')


def count_macs(net, size):
    """Return the multiplications of convolutions and dense layers for one picture. size: a side or (height, width)."""
    nodes = net.trace()[0].get_internals()
    weights, outputs, _ = nodes.infer_shape_partial(data=(1, 3, *Size.of(size)))
    shapes = dict(zip(nodes.list_arguments(), weights))
    total = 0
    for name, shape in zip(nodes.list_outputs(), outputs):
        weight = shapes.get(name[: -len('fwd_output')] + 'weight')
        if name.endswith('_fwd_output') and weight is not None:
            total += math.prod(shape) * math.prod(weight[1:])
    return total
