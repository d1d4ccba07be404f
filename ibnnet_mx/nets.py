"""The networks: stem, stages, neck, head. They know no recipe, no options and no data."""

from __future__ import annotations

import mxnet as mx
from mxnet import autograd
from mxnet.gluon import nn

from ibnnet_mx import norm
from ibnnet_mx.blocks import ROWS, GlobalMean, ResidualUnit, chain, stem


class Graph:
    """A network traced for one use and compiled: x -> logits."""

    def __init__(self, net, rows, flags):
        symbol, constants = net.trace(rows)
        params = net.collect_params()
        names = symbol.list_inputs()
        self._inputs = [params[n] if n in params else constants.get(n) for n in names]
        data = [i for i, n in enumerate(names) if n == 'data']
        rest = [i for i, n in enumerate(names) if n != 'data']
        self._operator = mx.nd.CachedOp(symbol, [('data_indices', data), ('param_indices', rest), *flags])

    def __call__(self, x):
        return self._operator(*(self._array(x, given) for given in self._inputs))

    @staticmethod
    def _array(x, given):
        if given is None:
            return x
        return given.data() if isinstance(given, mx.gluon.Parameter) else given.as_in_context(x.context)


class Network(nn.HybridBlock):
    """A HybridBlock that keeps one graph for prediction and one for each training batch size once it is hybridized.

    Gluon keeps a single graph for all uses, so that a form that is right in training only could not be used at all.
    export(), summary() and a Network inside another block see the plain graph, which is right in every mode.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._graphs = {}

    def trace(self, rows=None):
        """(symbol from 'data' to logits, {constant's name: NDArray}); rows: batch size of a training graph."""
        with norm.forms(rows) as constants:
            return self(mx.sym.var('data')), constants

    def _clear_cached_op(self):
        super()._clear_cached_op()
        self._graphs = {}

    def _call_cached_op(self, x):
        if self._cached_op is None:
            self._build_cache(x)  # what export() writes; it is never run
        rows = x.shape[0] if autograd.is_training() else None
        if rows not in self._graphs:
            # Planned memory is held for as long as the graph lives: the first training size only is worth it.
            others = [n for n in self._graphs if n is not None]
            flags = self._flags if rows is None or not others else []
            self._graphs[rows] = Graph(self, rows, flags)
        return self._graphs[rows](x)


class ResNet(Network):
    """ResNet v1 or v2, plain or IBN: (N, 3, H, W) -> logits (N, classes).

    shape: registry.Shape. IBN-a: every unit of all stages but the last; IBN-b: the stem's norm and the last unit of the
    first two stages (arXiv:1807.09441, XingangPan/IBN-Net). v2 projects at every stage's start as tornadomeet/ResNet
    does, v1 where the shape changes. Parameters carry the latter's names (stage1_unit1_conv1_weight).
    """

    def __init__(self, shape, classes, layers, preact=False, ibn=None, zero_gamma=False):
        super().__init__(prefix='')
        with self.name_scope():
            cin, rows = shape.widths[0], ROWS[shape.unit]
            self.stem = stem(shape.stem, cin, layers, preact, ibn)
            self.stages = chain()
            for s, (units, cout) in enumerate(zip(shape.units, shape.widths[1:]), 1):
                for u in range(1, units + 1):
                    stride = 2 if s > 1 and u == 1 else 1
                    in_a = ibn == 'a' and s < len(shape.units)
                    in_b = ibn == 'b' and s <= 2 and u == units
                    self.stages.add(
                        ResidualUnit(
                            rows(cin, cout, stride),
                            layers,
                            preact,
                            ibn if in_a or in_b else None,
                            u == 1 if preact else stride != 1 or cin != cout,
                            zero_gamma,
                            prefix=f'stage{s}_unit{u}_',
                        )
                    )
                    cin = cout
            self.neck = chain(layers.norm(cin, prefix='bn1_'), nn.Activation('relu')) if preact else chain()
            uniform = mx.init.Uniform(cin**-0.5)  # v1: torch's Linear; v2: what its builder's Xavier gives
            gaussian = mx.init.Xavier(rnd_type='gaussian', factor_type='in', magnitude=2)
            self.head = chain(
                GlobalMean(),
                nn.Dense(
                    classes,
                    in_units=cin,
                    weight_initializer=gaussian if preact else uniform,
                    bias_initializer='zeros' if preact else uniform,
                    prefix='fc1_',
                ),
            )

    def hybrid_forward(self, F, x):
        return self.head(self.neck(self.stages(self.stem(x))))


def count_parameters(net):
    """Trained values of a network; running statistics are not counted."""
    return sum(mx.nd.zeros(p.shape).size for n, p in net.collect_params().items() if 'running_' not in n)


NETS = {'ResNet': ResNet}


def build(kind, shape, classes, options):
    """A row of the registry -> network. ValueError: zero_gamma where no norm ends a unit."""
    if options['zero_gamma'] and options['preact']:
        raise ValueError('--zero-gamma needs a norm at the end of each unit: v2 networks have none there, use a v1 one')
    layers = norm.kit(options['norm'], options['bn_mom'], options['eps'], options['workspace'], options['fan'])
    return NETS[kind](shape, classes, layers, options['preact'], options.get('ibn'), options['zero_gamma'])
