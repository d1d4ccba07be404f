"""Build a network from a name and options. No weights, no recipe, no data."""

from __future__ import annotations

from ibnnet_mx import norm
from ibnnet_mx.errors import OptionError
from ibnnet_mx.models import tables
from ibnnet_mx.models.blocks import Style
from ibnnet_mx.models.nets import DenseNet, ResNet
from ibnnet_mx.norm.table import norm_args

MOST_CLASSES = 1 << 24  # the largest number up to which float32 has every whole number
DTYPES = ('float32', 'bfloat16')
NETS = {'ResNet': ResNet, 'DenseNet': DenseNet}
RESIDUAL_ONLY = dict(w_d=False, last_stride=2, zero_gamma=False)  # values that a DenseNet needs


def build(kind, shape, classes, options, features=None):
    """Return the network of a row of the tables. Raises OptionError for an option that this network cannot have."""
    style = Style(**{key: options[key] for key in Style._fields if key in options})
    if style.zero_gamma and style.preact:
        raise OptionError(
            'zero_gamma', True, 'needs a norm at the end of each unit, which v2 networks do not have: use a v1 network'
        )
    if kind == 'DenseNet':
        for key, default in RESIDUAL_ONLY.items():
            if options[key] != default:
                raise OptionError(key, options[key], 'is for residual networks: a DenseNet cannot have it')
    if style.w_d and style.pad:
        raise OptionError(
            'w_d', True, 'changes shortcuts with a convolution, which v1a networks do not have: use a v1 or v2 network'
        )
    stages, chosen = range(1, len(shape.units) + 1), style.ibn_stages
    if style.ibn and (not chosen or list(chosen) != sorted(set(chosen)) or not set(chosen) <= set(stages)):
        listed = ', '.join(map(str, stages))
        raise OptionError(
            'ibn_stages', tuple(chosen) or 'without any', f': name some of the stages {listed}, in this order'
        )
    if style.last_stride not in (1, 2):
        raise OptionError('last_stride', style.last_stride, ': use 1 or 2')
    if options['dtype'] not in DTYPES:
        raise OptionError('dtype', options['dtype'], f': use one of {", ".join(DTYPES)}')
    net = NETS[kind](shape, classes, norm.kit(options), style, _taps(shape, kind, style, features))
    net.options, net.dtype = options, options['dtype']
    net.rebuild = lambda other: build(kind, shape, classes, other, features)
    return net


def _taps(shape, kind, style, features):
    """Return the names of the parts whose results the network gives; () for logits."""
    if features is None or features is False:
        return ()
    taps = ('embedding',) if features is True else (features,) if isinstance(features, str) else tuple(features)
    neck = ['neck'] if kind == 'DenseNet' or style.preact else []
    parts = ['stem', *(f'stage{s}' for s in range(1, len(shape.units) + 1)), *neck, 'embedding']
    if not taps or not set(taps) <= set(parts):
        raise OptionError('features', features, f': use True, or names of {", ".join(parts)}')
    return taps


def create(name, classes=None, depth=None, features=None, **options):
    """Return an uninitialised network: (N, 3, H, W) pixels as tables.find(name).pixels says -> logits (N, classes).

    name: 'resnet50_ibn_a', or a family and depth=50. classes: if not given, 1000 for ImageNet networks and 10 for
    CIFAR networks. features: True gives the pooled embedding (N, C) in place of logits. One or more of 'stem',
    'stage1', ..., 'neck', 'embedding' give those maps; later layers are not built.
    options: see tables.OPTIONS. net.initialize() draws the weights as the original does.
    Raises OptionError for an unknown name, depth, option or value.
    """
    model = tables.find(name, depth)
    for key, value in options.items():
        if key not in tables.OPTIONS:
            raise OptionError(key, value, f'is not an option of a network: use one of {", ".join(tables.OPTIONS)}')
    values = {**tables.OPTIONS, **options}
    values['norm_args'] = norm_args(values['norm'], values['norm_args'], values['norm_batch_size'])
    classes = model.classes if classes is None else classes
    if classes < 1:
        raise OptionError('num_classes', classes, ': a network needs at least one class')
    if classes > MOST_CLASSES:
        raise OptionError('num_classes', classes, f'must be at most {MOST_CLASSES}: labels are float32')
    kind, row = tables.MODELS[model.family]
    values.update(tables.placement(model, row, values['ibn_ratio'], values['ibn_stages']))
    net = build(kind, model.shape, classes, {**row, **values}, features)
    net.model = model  # files that are written from it need its name, size and normalisation
    return net
