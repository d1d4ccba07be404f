"""The kits of norms and convolutions that blocks are built with: Layers(conv, norm, instance, ibn, pixels).

No code outside this room names a concrete norm, so momentum, eps and workspace are set here, once.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

import mxnet as mx
from mxnet.gluon import nn
from mxnet.gluon.contrib.nn import SyncBatchNorm

from ibnnet_mx.errors import OptionError
from ibnnet_mx.norm.batch import BatchNorm, BatchNorm2d, Ramp
from ibnnet_mx.norm.instance import IBN, GroupNorm, InstanceNorm, usual_groups
from ibnnet_mx.norm.mabn import CenConv2d, MABN2d


class Layers(NamedTuple):
    """Functions that make layers. Blocks call conv(row, prefix), norm(channels, prefix) and the like."""

    conv: Callable[..., Any]
    norm: Callable[..., Any]
    instance: Callable[..., Any]
    ibn: Callable[..., Any]
    pixels: Callable[..., Any]


def freeze_statistics(block):
    """Make a block's norms use their running statistics in training too, and not move them.

    It affects graphs that are traced afterwards.
    """

    def freeze(layer):
        if isinstance(layer, nn.BatchNorm):
            layer._kwargs.update(use_global_stats=True)
        elif isinstance(layer, (BatchNorm2d, MABN2d)):
            layer.frozen = True

    block.apply(freeze)


def folded(block):
    """Return {name: NDArray} with which plain convolutions and BatchNorms of the same names predict as the block."""
    arrays = {name: param.data(param.list_ctx()[0]) for name, param in block.collect_params().items()}

    def fold(layer):
        if isinstance(layer, CenConv2d):
            arrays[layer.weight.name] = layer.centred(mx.nd, arrays[layer.weight.name])
        elif isinstance(layer, MABN2d):
            moment = arrays[layer.running_var.name].reshape((-1,))
            arrays[layer.running_var.name] = moment
            arrays[f'{layer.prefix}running_mean'] = mx.nd.zeros_like(moment)

    block.apply(fold)
    return arrays


FOLDED = ('mabn', 'brn')  # kits whose prediction is BatchNorm's
INITS = {  # initial weights of convolutions: He's by outputs or inputs (arXiv:1502.01852), or torch's default
    'fan_out': dict(rnd_type='gaussian', factor_type='out', magnitude=2),
    'fan_in': dict(rnd_type='gaussian', factor_type='in', magnitude=2),
    'torch': dict(rnd_type='uniform', factor_type='in', magnitude=1),
}


def _batch(options):
    size, momentum, eps = options['norm_batch_size'], options['bn_mom'], options['eps']
    if size:
        return lambda channels, prefix: BatchNorm2d(channels, size, momentum, eps, prefix=prefix)
    return lambda channels, prefix: BatchNorm(momentum=momentum, epsilon=eps, in_channels=channels, prefix=prefix)


def _renorm(options):
    args = dict(options['norm_args'])
    size, momentum, eps, ramp = options['norm_batch_size'], args.pop('momentum'), options['eps'], Ramp(**args)
    return lambda channels, prefix: BatchNorm2d(channels, size, momentum, eps, ramp, prefix=prefix)


def _sync(options):
    devices = options['norm_args']['devices'] or mx.context.num_gpus()
    if not mx.context.num_gpus():
        raise OptionError('norm', 'syncbn', 'needs GPUs and there are none; on CPUs it would hang: use bn')
    how = dict(momentum=options['bn_mom'], epsilon=options['eps'], num_devices=devices)
    return lambda channels, prefix: SyncBatchNorm(in_channels=channels, prefix=prefix, **how)


def _moving(options):
    args = dict(options['norm_args'], eps=options['eps'])
    if options['norm_batch_size']:
        args.update(B=options['norm_batch_size'], variant='cls')
    return lambda channels, prefix: MABN2d(channels, prefix=prefix, **args)


def _groups(options):
    groups = options['norm_args']['groups']

    def make(channels, prefix):
        if groups and channels % groups:
            raise OptionError('norm_args', {'groups': groups}, f'must divide the {channels} channels of {prefix[:-1]}')
        return GroupNorm(channels, groups or usual_groups(channels), options['eps'], prefix=prefix)

    return make


KITS = {  # --norm: options -> maker of a norm (channels, prefix)
    'bn': _batch,
    'in': lambda options: lambda channels, prefix: InstanceNorm(channels, options['eps'], prefix=prefix),
    'ln': lambda options: lambda channels, prefix: GroupNorm(channels, 1, options['eps'], prefix=prefix),
    'gn': _groups,
    'syncbn': _sync,
    'mabn': _moving,
    'brn': _renorm,
}


def kit(options):
    """Return the Layers of a network. options: tables.OPTIONS and the options of its row.

    These are read: norm, norm_args (see table.NORMS), norm_batch_size, bn_mom, eps, workspace, init, ibn_ratio and
    batch_first.
    """
    momentum, eps = options['bn_mom'], options['eps']
    init = mx.init.Xavier(**INITS[options['init']])
    plain = KITS[options['norm']](options)

    def conv(row, prefix):
        size = (row.cout, row.kernel, row.stride, row.kernel // 2)
        common = dict(groups=row.groups, use_bias=False, weight_initializer=init, prefix=prefix)
        if options['norm'] == 'mabn':
            return CenConv2d(row.cin, *size, workspace=options['workspace'], **common)
        layer = nn.Conv2D(*size, in_channels=row.cin, **common)
        layer._kwargs['workspace'] = options['workspace']  # Gluon's Conv2D has no argument for it
        return layer

    def norm(channels, prefix, gamma='ones'):
        layer = plain(channels, prefix)
        layer.gamma.init = gamma
        return layer

    def instance(channels, prefix, gamma='ones'):
        layer = InstanceNorm(channels, eps, prefix=prefix)
        layer.gamma.init = gamma
        return layer

    def pixels():
        """Return bn_data of tornadomeet/ResNet: a BatchNorm without scale on the raw pixels, in every kit."""
        return nn.BatchNorm(momentum=momentum, epsilon=eps, scale=False, in_channels=3, prefix='bn_data_')

    def ibn(channels):
        return IBN(channels, norm, instance, options['ibn_ratio'], options.get('batch_first', False))

    return Layers(conv, norm, instance, ibn, pixels)
