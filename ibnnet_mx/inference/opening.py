"""Open a checkpoint, a file of weights or an .onnx file as a network that is ready to answer.

A checkpoint's facts name its network. Arrays without facts are identified by their names and shapes.
"""

from __future__ import annotations

import json
import os
from typing import Any

import mxnet as mx
import numpy as np

from ibnnet_mx import _limits, checkpoint, convert, data, hub, models
from ibnnet_mx.convert import identify
from ibnnet_mx.errors import OptionError, markup, visible
from ibnnet_mx.graph.logits import is_embedding
from ibnnet_mx.graph.sizes import infer, picture_size
from ibnnet_mx.inference.engines import Engine, GluonEngine, OnnxEngine
from ibnnet_mx.size import Size

PIXELS = {'raw': models.RAW, 'imagenet': models.IMAGENET}  # normalisations with a name
NETWORK = (
    'norm',
    'norm_args',
    'norm_batch_size',
    'w_d',
    'ibn_ratio',
    'ibn_stages',
    'last_stride',
)  # options of a network that a checkpoint's facts hold


class Opening:
    """An opened network with all that is known about it.

    engine: an Engine. label: the user's name for the network in messages, title: a short one for drawings. model: name
    of the model. size: of its pictures, a side or Size(height, width).
    pixels: models.Pixels. names: of the classes; [] if unknown. centred: True if pictures are cropped in the centre,
    False if they are squeezed. fixed: True if it takes only pictures of its size. embeds: True if its numbers are an
    embedding and no logits of classes. notes: lines about weights that were
    not simply copied.
    """

    def __init__(self, engine: Engine, label: str, classes: int, context: Any = None) -> None:
        self.engine, self.label, self.classes, self.context = engine, label, classes, context
        self.title = label
        self.model, self.size, self.pixels = '', 224, models.RAW
        self.centred, self.fixed, self.embeds = True, False, False
        self.names: list[str] = []
        self.notes: list[str] = []

    @property
    def size(self) -> int | Size:
        """The size of its pictures; it may be set to a side or to (height, width)."""
        return self._size.plain

    @size.setter
    def size(self, size: Any) -> None:
        self._size = Size.of(size)

    @property
    def net(self) -> Any:
        """The HybridBlock behind the engine; None if there is none."""
        return self.engine.net

    @property
    def input(self) -> data.Input:
        """Size and normalisation of the network's pictures."""
        return data.Input(self.size, tuple(self.pixels.mean), tuple(self.pixels.std))

    def predict(self, pictures: Any) -> np.ndarray:
        """Return the logits (n, classes) of an NDArray (n, 3, H, W) float32."""
        return self.engine(pictures)

    def describe_by(self, model: models.Model) -> None:
        """Take size, normalisation and crop from a row of the tables."""
        self.model, self.size, self.pixels = model.name, model.size, model.pixels
        self.centred = not self._size.small


def open_checkpoint(prefix: str, epoch: int = 0, context: Any = None, label: str | None = None) -> Opening:
    """Return the network of a checkpoint. label: its name in messages; if not given, prefix and epoch.

    Without a .json, pictures are RGB of 0..255, squeezed to the size that the layers tell; see graph/sizes.py.
    Raises ValueError, which begins with the label.
    """
    store, context = checkpoint.Store(prefix), context or mx.cpu()
    label = label or f'{prefix} epoch {epoch}'
    path = store.path(epoch, 'params')
    if not path.is_file():
        epochs = ', '.join(map(str, store.epochs()))
        hint = f'; choose one of the epochs {epochs} by `epoch`' if epochs else ''
        raise OptionError(None, None, f'{label}: {path} does not exist{hint}')
    if not store.path(epoch, 'json').is_file():
        return _without_facts(prefix, epoch, context, label)
    try:
        opened = store.open(epoch)
        net = network_of(opened, context)
    except ValueError as error:
        raise OptionError(None, None, f'{label}: {markup(error)}') from None
    facts = opened.facts
    if net is None:
        network = _without_facts(prefix, epoch, context, label, opened)
    else:
        network = Opening(
            GluonEngine(net, context, label), label, facts.classes or _classes(net, facts.size, label), context
        )
        network.describe_by(net.model)
    network.model, network.size = facts.model, facts.size or network.size
    network.names, network.centred = list(map(visible, facts.class_names or ())), not Size.of(network.size).small
    if facts.pixels:
        network.pixels = models.Pixels(tuple(facts.pixels['mean']), tuple(facts.pixels['std']))
    return network


def network_of(opened: checkpoint.Opened, context: Any) -> Any:
    """Return the network that a checkpoint's facts name, with its weights; None if it is not one of the tables.

    Raises ValueError if the arrays do not fit the network.
    """
    facts = opened.facts
    recorded = facts.network if facts.network is not None else facts.recipe
    if 'norm' not in recorded:  # an older version converted it, and wrote no options
        return None
    try:
        model = models.find(facts.model)
    except ValueError:
        return None
    options = {key: recorded[key] for key in NETWORK if recorded.get(key) is not None}
    options['norm_args'] = dict(options.get('norm_args') or ())
    if options['norm'] == 'syncbn':  # a prediction needs no second device
        options.update(norm='bn', norm_args={})
    if options.pop('norm_batch_size', None) and options['norm'] == 'mabn':
        options['norm_args'] = {'variant': 'cls'}
    classes = len(opened.params['fc1_weight']) if 'fc1_weight' in opened.params else facts.classes
    net = models.create(model.name, classes, **options)
    if facts.size:
        net.model = net.model._replace(size=Size.of(facts.size).plain)
    net.initialize(ctx=context)
    checkpoint.put_params(net, opened)
    return net


def _without_facts(prefix: str, epoch: int, context: Any, label: str, opened: Any = None) -> Opening:
    """Return the network of a symbol, identified by its arrays. opened: the checkpoint if its arrays were read."""
    net = convert.load_symbol(prefix, epoch, context, opened.params if opened else None)
    model, params = getattr(net, 'model', None), net.collect_params()
    network = Opening(GluonEngine(net, context, label), label, 0, context)
    if model is not None:
        network.describe_by(model)
    elif not (opened and opened.facts.size):
        _guess_size(network, net, {name: param.shape for name, param in params.items()})
    network.centred = False
    size = opened.facts.size if opened and opened.facts.size else network.size
    network.classes = _classes(net, size, label)
    network.embeds = model is None and is_embedding(net(mx.sym.var('data')))
    return network


def need_classes(network: Opening, way_out: str) -> None:
    """Raise OptionError for a network without a classifier."""
    if network.embeds:
        numbers = f'an embedding of {network.classes} numbers'
        raise OptionError(None, None, f'{network.label} ends in {numbers}, it has no classes: {way_out}')


def _guess_size(network: Opening, net: Any, shapes: dict) -> None:
    """Take the size of a network's pictures from its layers, and tell it if they leave it open."""
    size = picture_size(net(mx.sym.var('data')), shapes)
    if size is None:
        return
    network.size, network.fixed = size.size, size.fixed
    if not size.fixed:
        network.notes.append(
            f'{network.label} does not say the size of its pictures: {size.size} is taken for its layers '
            f'(`image_size` {size.size}; name another one if it was trained so)'
        )


def _classes(net: Any, pixels: Any, label: str) -> int:
    """Return how many logits a network gives. Raises ValueError if it gives other results."""
    shapes = {name: param.shape for name, param in net.collect_params().items()}
    size = Size.of(pixels or 224)
    results = infer(net(mx.sym.var('data')), {**shapes, 'data': (1, 3, *size)})
    if results is None:
        raise ValueError(f'{label}: the network cannot take pictures of {size.sides}')
    if len(results[0]) != 2:
        raise ValueError(f'{label}: the network must give logits (N, classes), but gives {results[0]}')
    return results[0][1]


def open_weights(
    path: str,
    model: str | None = None,
    options: dict | None = None,
    context: Any = None,
    label: str | None = None,
    new_head: bool = False,
    from_plain: bool = False,
    key: str | None = None,
) -> Opening:
    """Return a network with the weights of a file, or published ones if path is 'published'.

    model: name of the network; None: the one that the arrays fit. options: those of models.create() that do not follow
    from the arrays, such as norm. new_head, from_plain: as in convert.load(). label: name of the weights in messages.
    key: which of several weights in the file, as in convert.read_weights().
    Raises OptionError for weights or model.
    """
    if path == 'published':
        if model is None:
            raise OptionError('weights', path, 'needs `model`, such as `model` resnet50_ibn_a')
        if key is not None:
            raise OptionError('weights_key', key, 'is for a file: published weights are one set; leave it out')
        net = models.create(model, (options or {}).get('classes'))
        notes = hub.load(net, net.model.name, new_head=new_head)
    else:
        arrays = convert.read_weights(path, key)
        net, notes = _fill(path, arrays, model, options or {}, new_head, from_plain)
    if context is not None:
        net.collect_params().reset_ctx(context)
    context = context or mx.cpu()
    label = f'{label or path} ({net.model.name})'
    network = Opening(GluonEngine(net, context, label), label, net.collect_params()['fc1_bias'].shape[0], context)
    network.describe_by(net.model)
    network.notes, network.title = notes, f'{net.model.name}, {os.path.basename(path)}'
    if path == 'published' and network.classes == net.model.classes:
        network.names = hub.class_names(net.model.name)
    return network


def _fill(
    path: str, arrays: dict, model: str | None, given: dict, new_head: bool, from_plain: bool
) -> tuple[Any, list]:
    """Return a network with a file's arrays, and lines about weights that were not simply copied."""
    fitting = identify.model_of(arrays)
    if model is None and fitting is None:
        raise OptionError('weights', path, 'fits no network of the tables as it is: name one by `model`')
    name, options = (fitting[0].name, fitting[1]) if model is None else (model, identify.options(arrays))
    net = models.create(name, **{**options, **given})
    try:
        return net, convert.load(net, arrays, new_head, from_plain)
    except ValueError as error:
        hint = f'fits {fitting[0].name}, not {name}' if fitting and fitting[0].name != name else ''
        raise OptionError('weights', path, f'{hint}: {markup(error)}') from None


def open_onnx(path: str, pixels: str | None = None, label: str | None = None) -> Opening:
    """Return the network of an .onnx file. pixels: a key of PIXELS, needed if the file has no normalisation.

    Raises OptionError for onnx, or ValueError, which begins with the label.
    """
    engine, label = OnnxEngine(path, _limits.usable_cores()), label or str(path)
    size = engine.size
    network = Opening(engine, label, engine.classes(size))
    network.model, network.size = engine.facts.get('model', os.path.basename(path)), size
    network.centred, network.fixed, network.title = not size.small, engine.fixed, os.path.basename(str(path))
    try:
        normalisation, names = (
            json.loads(engine.facts.get(key, empty)) for key, empty in (('pixels', '{}'), ('class_names', '[]'))
        )
        if normalisation:
            network.pixels = models.Pixels(*(_planes(normalisation[key]) for key in ('mean', 'std')))
            if min(network.pixels.std) <= 0:
                raise ValueError
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        shown = {key: engine.facts[key][:200] for key in ('pixels', 'class_names') if key in engine.facts}
        raise ValueError(f'{label}: its metadata are damaged or of another program: {shown}') from None
    network.names = list(map(visible, names))
    if not normalisation and not pixels:
        raise OptionError(
            None, None, f'{label} does not say how pixels are normalised: add `pixels` raw or `pixels` imagenet'
        )
    if pixels:
        network.pixels = PIXELS[pixels]
    return network


def _planes(values: Any) -> tuple[float, float, float]:
    """Return three numbers, one for each plane. Raises ValueError or TypeError for other values."""
    red, green, blue = values
    return float(red), float(green), float(blue)
