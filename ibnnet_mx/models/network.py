"""The base class of all networks: it runs parts one after another, and keeps one traced graph for each use."""

from __future__ import annotations

import warnings

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.gluon import nn

from ibnnet_mx import graph, norm, operators
from ibnnet_mx.models.blocks import chain
from ibnnet_mx.models.compiled import Graph


class Network(nn.HybridBlock):
    """A HybridBlock that, once hybridized, keeps one graph for prediction and one for each training batch size.

    Gluon keeps a single graph for all uses, which rules out forms that are right in training only. export() writes
    symbol(), the graph of a prediction. A Network inside another block is traced in a form that is right in both modes.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._graphs = {}
        self.model = None  # tables.Model, if models.create() built it
        self.dtype = 'float32'  # type of convolutions and dense layers in training, see graph.mixed
        self.options = {}  # build() made the network from these
        self.rebuild = None  # function(options) -> a network of the same kind with other options; build() sets it

    def trace(self, rows=None, context=None):
        """Return the symbol from 'data' to logits, and {name: NDArray} of its constants.

        rows: batch size of a training graph; None traces a prediction. context: the device that will run it; None: any.
        """
        on_cpu = rows is not None and context is not None and context.device_type == 'cpu'  # training on the CPU
        native, fused = on_cpu and operators.loaded(), on_cpu and operators.fused()
        with norm.forms(rows, native, fused) as constants:
            symbol = self(mx.sym.var('data'))
        symbol = mx.sym.Group(symbol) if isinstance(symbol, list) else symbol
        symbol = graph.fused(symbol) if fused else symbol
        if rows is not None and self.dtype == 'bfloat16':
            symbol = graph.mixed(symbol)
        elif on_cpu and operators.winograd():
            symbol = graph.tiled(symbol)
        return symbol, constants

    def symbol(self):
        """Return the prediction from 'data' to logits in standard operators, for any batch size and for export."""
        with norm.standard():
            return self(mx.sym.var('data'))

    def inference_form(self):
        """Return a network with the same predictions at BatchNorm's cost.

        MABN and the norms that predict as BatchNorm does become BatchNorms, and convolutions become plain ones. The
        parameters keep their names; those that only training needs are left out. A network without such norms is
        returned as it is.
        """
        if self.rebuild is None:
            raise ValueError('inference_form() is for networks that models.create() has built')
        if self.options['norm'] not in norm.FOLDED and not self.options['norm_batch_size']:
            return self
        twin = self.rebuild({**self.options, 'norm': 'bn', 'norm_args': {}, 'norm_batch_size': None})
        twin.model = self.model
        arrays = norm.folded(self)
        twin.initialize(ctx=next(iter(self.collect_params().values())).list_ctx())
        for name, param in twin.collect_params().items():
            param.set_data(arrays[name])
        return twin

    def _build_cache(self, *args):
        with warnings.catch_warnings():
            # A prediction does not use the states that training needs.
            warnings.filterwarnings('ignore', '.*not used by any computation')
            super()._build_cache(*args)

    @property
    def norm_options(self):
        """The options norm and norm_args of models.create(); {} if build() did not make the network."""
        return {key: self.options[key] for key in ('norm', 'norm_args') if key in self.options}

    def _get_graph(self, *args):
        with norm.standard():
            return super()._get_graph(*args)

    def _clear_cached_op(self):
        super()._clear_cached_op()
        self._graphs = {}

    def _call_cached_op(self, x):
        if self._cached_op is None:
            self._build_cache(x)  # export() writes this graph; it is never run
        rows = x.shape[0] if autograd.is_training() else None
        use = rows, x.context.device_type
        if use not in self._graphs:
            # A graph with planned memory holds it for life, so of training batch sizes only the first gets that.
            others = [n for n, _ in self._graphs if n is not None]
            flags = self._flags if rows is None or not others else []
            self._graphs[use] = Graph(self, rows, flags, x.context)
        return self._graphs[use](x)

    def _assemble(self, parts, taps, head):
        """Set features (the parts up to the last one in taps), output (the classifier) and left_out.

        taps: names of the parts whose results the network gives, () for logits. head: (classes, channels, inits).
        left_out: names of parameters that only the whole network has.
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
        """Return {name: block}: 'stem', 'stage1', ..., 'embedding', and 'head' for the classifier if there is one."""
        parts = dict(zip(self._parts, self.features))
        return parts if self._taps else dict(parts, head=self.output)

    def spread(self, plain):
        """Return {name: array} of this IBN network from {name: array} of the plain one.

        The two norms of an IBN get the arrays of their channels. InstanceNorms that the plain network lacks get gamma 1
        and beta 0.
        """
        arrays = dict(plain)
        blocks = [self]
        for block in blocks:
            blocks += block._children.values()
            if isinstance(block, norm.IBN):
                block.spread(arrays)
        for name, param in self.collect_params().items():
            if name not in arrays and name.endswith(('gamma', 'beta')):
                arrays[name] = np.full(param.shape, float(name.endswith('gamma')), np.float32)
        return {name: array for name, array in arrays.items() if name in self.collect_params() or name in self.left_out}

    def hybrid_forward(self, F, x):
        results_of = {}
        for name, part in zip(self._parts, self.features):
            results_of[name] = x = part(x)
        if not self._taps:
            return self.output(x)
        results = [results_of[name] for name in self._taps]
        return results if len(results) > 1 else results[0]
