"""The weights that a training run starts from: random by its seed, published ones, or those of a file."""

from __future__ import annotations

import os
import re

from ibnnet_mx import checkpoint, convert, hub, models
from ibnnet_mx.convert import identify
from ibnnet_mx.errors import OptionError, command_value, markup

COMPARED = ('w_d', 'ibn_ratio', 'ibn_stages', 'norm')  # the recipes of a checkpoint and of this run must agree on these


class Published:
    """Published weights, as the argument `start` of a Trainer: calling it with a network puts them in.

    origin: the fact `init` of the run's checkpoints. warnings: lines for the log.
    """

    def __init__(self, model, new_head):
        self.origin, self.warnings = {'pretrained': model.name}, []
        self._model, self._new_head = model, new_head

    def compare_names(self, names):
        """Do nothing, because published weights are for the classes of ImageNet."""

    def try_on(self, net):
        """Do nothing, because published weights can be compared with the network only after the download."""

    def __call__(self, net):
        """Put the weights into an initialised network, and return lines for the log."""
        new_head = self._new_head or net.collect_params()['fc1_bias'].shape[0] != self._model.classes
        try:
            self.origin['notes'] = hub.load(net, self._model.name, new_head=new_head)
        except ValueError as error:
            raise OptionError('pretrained', self._model.name, f': {markup(error)}') from None
        return [f'`pretrained`: starts from the published {self._model.name}', *self.origin['notes']]


class File:
    """The weights of a file, used as Published is. If they come from a checkpoint, its facts must name this model.

    The file is read once. key: which of several weights in it, as in convert.read_weights(). from_plain: it has the
    weights of the plain network, and the run trains the IBN network.
    Raises OptionError for init or init_from_plain.
    """

    def __init__(self, path, model, new_head, from_plain, recipe, key=None):
        self.origin, self.warnings = {'file': path}, []
        self._path, self._new_head, self._from_plain = path, new_head, from_plain
        self._names = []
        if not os.path.isfile(path):
            raise OptionError('init', path, 'is not a file')
        plain = plain_of(model)
        if from_plain and plain is None:
            raise OptionError('init_from_plain', None, f': {model.name} is not an IBN network; leave this option out')
        opened = open_checkpoint(path) if path.endswith('.params') else None
        if opened is not None and key is not None:
            raise OptionError(
                'weights_key', key, f': {path} is a checkpoint, which has one set of weights; leave it out'
            )
        if opened is not None:
            self._compare(opened.facts, model, plain, recipe)
        elif path.endswith('.params'):
            self.warnings.append(
                f'`init` {path}: there is no .json beside it that describes it; it is taken for a '
                f'{plain if from_plain else model.name} trained on RGB with mean {model.pixels.mean}, std '
                f'{model.pixels.std}'
            )
        self._arrays = convert.read_weights(path, key) if opened is None else opened.params

    def _compare(self, facts, model, plain, recipe):
        self._names = list(facts.class_names or ())
        expected = plain if self._from_plain else model.name
        if facts.model != expected:
            hint = '; add `init_from_plain`' if facts.model == plain else f'; use `model` {_option_of(facts.model)}'
            raise OptionError('init', self._path, f'is a {facts.model}, not a {expected}{hint}')
        for key in COMPARED:
            theirs, ours = facts.recipe.get(key, getattr(recipe, key)), getattr(recipe, key)
            theirs = tuple(theirs) if isinstance(theirs, list) else theirs  # JSON has no tuples
            if theirs != ours and key == 'ibn_stages' and not self._from_plain:
                raise OptionError('init', self._path, f'has IBN in other stages: {_stages_hint(theirs)}')
            if theirs != ours and not (key.startswith('ibn_') and self._from_plain):
                raise OptionError('init', self._path, f'has {key} {theirs}, not {ours}: see `{key}`')
        theirs = facts.pixels or {}
        ours = {'order': 'RGB', 'mean': list(model.pixels.mean), 'std': list(model.pixels.std)}
        if theirs != ours:
            self.warnings.append(f'`init` {self._path} was trained on pixels {theirs}, this run feeds {ours}')

    def compare_names(self, names):
        """Add a warning if the classifier has the same classes as the data, in another order."""
        label = next((label for label, (one, other) in enumerate(zip(self._names, names)) if one != other), None)
        if label is not None and not self._new_head and sorted(self._names) == sorted(names):
            self.warnings.append(
                f'`init` {self._path}: its classifier has the classes in another order, label {label} is '
                f'{self._names[label]!r} there and {names[label]!r} here: `new_head` starts a new one'
            )

    def try_on(self, net):
        """Initialise the network and put the weights in. Raises OptionError if they do not fit."""
        net.initialize()
        self(net)

    def __call__(self, net):
        """Put the weights into an initialised network, and return lines for the log."""
        self.origin['notes'] = self._load(net)
        self._arrays = None  # the network has its own copy for the rest of the run
        return [f'`init`: starts from {self._path}', *self.origin['notes']]

    def _load(self, net):
        """Load the weights, with the classifier if possible. A convert.load that fails leaves the network untouched."""
        try:
            if not self._new_head:
                return convert.load(net, self._arrays, from_plain=self._from_plain)
        except ValueError:
            pass  # perhaps only the classifier does not fit
        try:
            return convert.load(net, self._arrays, True, self._from_plain)
        except ValueError as error:
            fitting = identify.model_of(self._arrays)
            hint = ''
            if fitting:
                hint = f'fits {fitting[0].name}: use `model` {_option_of(fitting[0].name)}'
                if 'ibn_stages' in fitting[1]:
                    hint += f' and {_stages_hint(fitting[1]["ibn_stages"])}'
            raise OptionError('init', self._path, f'{hint}: {markup(error)}') from None


def _option_of(model):
    """Return the value of the option `model` for a model's name, with the data type that it needs."""
    return f'{model} `data_type` cifar10' if model.startswith('cifar_') else model


def _stages_hint(stages):
    return 'leave `ibn_stages` out' if stages is None else f'`ibn_stages` {command_value(stages)}'


def plain_of(model):
    """Return 'resnet50' for resnet50_ibn_a, and None for a plain network."""
    family = re.sub(r'_ibn_[ab]$', '', model.family)
    return models.full_name(family, model.depth) if family != model.family else None


def open_checkpoint(path):
    """Return the checkpoint.Opened of a file PREFIX-0003.params; None if there is no .json beside it.

    Raises OptionError for init if one of the files is damaged.
    """
    prefix, _, epoch = path[: -len('.params')].rpartition('-')
    if not prefix or not epoch.isdecimal():
        return None
    store = checkpoint.Store(prefix)
    if not store.path(int(epoch), 'json').is_file():
        return None
    try:
        return store.open(int(epoch))
    except ValueError as error:
        raise OptionError('init', path, f': {markup(error)}') from None
