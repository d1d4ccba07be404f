"""The networks: stem, stages, neck, head. They know no recipe, no options and no data."""

from __future__ import annotations

import math
import warnings

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.gluon import nn

from ibnnet_mx import graph, norm, operators
from ibnnet_mx.blocks import ROWS, DenseUnit, GlobalMean, ResidualUnit, Style, chain, stem, transition
from ibnnet_mx.compiled import Graph


class Network(nn.HybridBlock):
    """A HybridBlock that keeps one graph for prediction and one for each training batch size once it is hybridized.

    Gluon keeps a single graph for all uses, so that a form that is right in training only could not be used at all.
    export() writes symbol(), the graph of a prediction. A Network inside another block is traced in a form that is
    right in every mode.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._graphs = {}
        self.model = None  # registry.Model, where the registry built it
        self.dtype = 'float32'  # of convolutions and dense layers in training; graph.mixed
        self._plan = None  # what build() made it from

    def trace(self, rows=None, context=None):
        """(symbol from 'data' to logits, {constant's name: NDArray}).

        rows: batch size of a training graph. context: where it will run; None: anywhere.
        """
        here = rows is not None and context is not None and context.device_type == 'cpu'
        native, fused = here and operators.loaded(), here and operators.fused()
        with norm.forms(rows, native, fused) as constants:
            found = self(mx.sym.var('data'))
        found = mx.sym.Group(found) if isinstance(found, list) else found
        found = graph.fused(found) if fused else found
        if rows is not None and self.dtype == 'bfloat16':
            found = graph.mixed(found)
        elif here and operators.winograd():
            found = graph.tiled(found)
        return found, constants

    def symbol(self):
        """The prediction from 'data' to logits in standard operators: for any batch size, for export."""
        with norm.standard():
            return self(mx.sym.var('data'))

    def inference_form(self):
        """A network of plain convolutions and, in the place of MABN and the like, BatchNorms: the same predictions.

        It has the same names, without what only training needs, and predicts at BatchNorm's cost. A network without
        such norms is returned as it is.
        """
        if self._plan is None:
            raise ValueError('inference_form() is of networks that get_model() has built')
        kind, shape, classes, options, features = self._plan
        if options['norm'] not in norm.FOLDED and not options['norm_batch_size']:
            return self
        twin = build(
            kind, shape, classes, {**options, 'norm': 'bn', 'norm_args': {}, 'norm_batch_size': None}, features
        )
        twin.model = self.model
        arrays = norm.folded(self)
        twin.initialize(ctx=next(iter(self.collect_params().values())).list_ctx())
        for name, param in twin.collect_params().items():
            param.set_data(arrays[name])
        return twin

    def _build_cache(self, *args):
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', '.*not used by any computation')  # of a prediction: what training needs
            super()._build_cache(*args)

    @property
    def norm_options(self):
        """norm and norm_args, as get_model() takes them; {} where build() did not make it."""
        options = self._plan[3] if self._plan else {}
        return {key: options[key] for key in ('norm', 'norm_args') if key in options}

    def _get_graph(self, *args):
        with norm.standard():
            return super()._get_graph(*args)

    def _clear_cached_op(self):
        super()._clear_cached_op()
        self._graphs = {}

    def _call_cached_op(self, x):
        if self._cached_op is None:
            self._build_cache(x)  # what export() writes; it is never run
        rows = x.shape[0] if autograd.is_training() else None
        use = rows, x.context.device_type
        if use not in self._graphs:
            # Planned memory is held for as long as the graph lives: the first training size only is worth it.
            others = [n for n, _ in self._graphs if n is not None]
            flags = self._flags if rows is None or not others else []
            self._graphs[use] = Graph(self, rows, flags, x.context)
        return self._graphs[use](x)

    def _assemble(self, parts, taps, head):
        """features: the parts one after another, up to the last that is wanted; output: the classifier.

        taps: names of the parts whose results are the network's, () for logits; head: (classes, channels, inits).
        left_out: names of the parameters that the whole network has beside these.
        """
        names = list(parts)
        self._taps = taps
        if taps:
            names = names[: max(map(names.index, taps)) + 1]
        self._parts = names
        self.features = chain(*(parts[name] for name in names))
        dropped = [part.collect_params() for name, part in parts.items() if name not in names]
        self.left_out = [name for params in dropped for name in params]
        if not taps:
            classes, channels, inits = head
            self.output = nn.Dense(classes, in_units=channels, prefix='fc1_', **inits)
        else:
            self.left_out += ['fc1_weight', 'fc1_bias']

    def parts(self):
        """{name: block}: stem, stage1, ..., embedding, and 'head', the classifier, where there is one."""
        found = dict(zip(self._parts, self.features))
        return found if self._taps else dict(found, head=self.output)

    def spread(self, plain):
        """{name: array} of the plain network -> of this IBN network: each IBN's two norms get their channels.

        The InstanceNorms that the plain network lacks start as the identity on normalised values (1 and 0).
        """
        own = dict(plain)
        blocks = [self]
        for block in blocks:
            blocks += block._children.values()
            if isinstance(block, norm.IBN):
                block.spread(own)
        for name, param in self.collect_params().items():
            if name not in own and name.endswith(('gamma', 'beta')):
                own[name] = np.full(param.shape, float(name.endswith('gamma')), np.float32)
        return {name: array for name, array in own.items() if name in self.collect_params() or name in self.left_out}

    def hybrid_forward(self, F, x):
        found = {}
        for name, part in zip(self._parts, self.features):
            found[name] = x = part(x)
        if not self._taps:
            return self.output(x)
        results = [found[name] for name in self._taps]
        return results if len(results) > 1 else results[0]


class ResNet(Network):
    """ResNet v1 or v2, ResNeXt, SE-ResNet, plain or IBN: (N, 3, H, W) -> logits (N, classes).

    shape: registry.Shape. IBN-a: every unit of all stages but the last; IBN-b: the stem's norm and the last unit of the
    first two stages (arXiv:1807.09441, XingangPan/IBN-Net). v2 projects at every stage's start as tornadomeet/ResNet
    does, v1 where the shape changes. Parameters carry the latter's names (stage1_unit1_conv1_weight).
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
                    there = s in style.ibn_stages and (style.ibn == 'a' or u == units)
                    stage.add(
                        ResidualUnit(
                            ROWS[shape.unit](cin, cout, stride, style.groups),
                            layers,
                            style,
                            style.ibn if there else None,
                            u == 1 if style.preact else stride != 1 or cin != cout,
                            prefix=f'stage{s}_unit{u}_',
                        )
                    )
                    cin = cout
            if style.preact:
                parts['neck'] = chain(layers.norm(cin, prefix='bn1_'), nn.Activation('relu'))
            parts['embedding'] = chain(GlobalMean(), nn.Dropout(0.2)) if style.w_d else GlobalMean()
            self._assemble(parts, taps, (classes, cin, GAUSSIAN if style.preact else torch_linear(cin)))


class DenseNet(Network):
    """DenseNet, plain or IBN: (N, 3, H, W) -> logits (N, classes). arXiv:1608.06993.

    IBN: the first norm of every third unit of all stages but the last (XingangPan/IBN-Net). A transition belongs to the
    stage after it, so that 'stage1' is what the first dense block gives.
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


# of the classifier: what the builder of the v2 nets gives
GAUSSIAN = dict(weight_initializer=mx.init.Xavier('gaussian', 'in', 2), bias_initializer='zeros')


def torch_linear(channels):
    uniform = mx.init.Uniform(channels**-0.5)
    return dict(weight_initializer=uniform, bias_initializer=uniform)


def count_parameters(net, learning=False):
    """Trained values of a network; what training moves without an optimiser is not. learning: without the frozen."""
    params = [p for p in net.collect_params().values() if not norm.is_state(p)]
    return sum(math.prod(p.shape) for p in params if not learning or p.grad_req != 'null')


def count_macs(net, size):
    """Multiplications of the convolutions and dense layers for one picture (3, size, size)."""
    nodes = net.trace()[0].get_internals()
    weights, outputs, _ = nodes.infer_shape_partial(data=(1, 3, size, size))
    shapes = dict(zip(nodes.list_arguments(), weights))
    total = 0
    for name, shape in zip(nodes.list_outputs(), outputs):
        weight = shapes.get(name[: -len('fwd_output')] + 'weight')
        if name.endswith('_fwd_output') and weight is not None:
            total += math.prod(shape) * math.prod(weight[1:])
    return total


DTYPES = ('float32', 'bfloat16')
NETS = {'ResNet': ResNet, 'DenseNet': DenseNet}
RESIDUAL_ONLY = dict(w_d=('--w-d', False), last_stride=('last_stride', 2), zero_gamma=('--zero-gamma', False))


def build(kind, shape, classes, options, features=None):
    """A row of the registry -> network. ValueError: an option that the network cannot have."""
    style = Style(**{key: options[key] for key in Style._fields if key in options})
    if style.zero_gamma and style.preact:
        raise ValueError('--zero-gamma needs a norm at the end of each unit: v2 networks have none there, use a v1 one')
    if kind == 'DenseNet':
        for key, (name, usual) in RESIDUAL_ONLY.items():
            if options[key] != usual:
                raise ValueError(f'{name} is for residual networks: a DenseNet cannot have it')
    if style.w_d and style.pad:
        raise ValueError('--w-d is about shortcuts with a convolution: a v1a network has none, use a v1 or v2 one')
    there, wanted = range(1, len(shape.units) + 1), style.ibn_stages
    if style.ibn and (not wanted or list(wanted) != sorted(set(wanted)) or not set(wanted) <= set(there)):
        told = ','.join(map(str, wanted)) or 'without any'
        raise ValueError(f'--ibn-stages {told}: name some of the stages {", ".join(map(str, there))}, in their order')
    if style.last_stride not in (1, 2):
        raise ValueError(f'last_stride {style.last_stride}: use 1 or 2')
    if options['dtype'] not in DTYPES:
        raise ValueError(f'--dtype {options["dtype"]}: use one of {", ".join(DTYPES)}')
    net = NETS[kind](shape, classes, norm.kit(options), style, _taps(shape, kind, style, features))
    net._plan = kind, shape, classes, options, features
    net.dtype = options['dtype']
    return net


def _taps(shape, kind, style, features):
    """Names of the wanted parts; () for logits."""
    if features is None or features is False:
        return ()
    taps = ('embedding',) if features is True else (features,) if isinstance(features, str) else tuple(features)
    neck = ['neck'] if kind == 'DenseNet' or style.preact else []
    there = ['stem', *(f'stage{s}' for s in range(1, len(shape.units) + 1)), *neck, 'embedding']
    if not taps or not set(taps) <= set(there):
        raise ValueError(f'features={features!r}: use True, or names of {", ".join(there)}')
    return taps
