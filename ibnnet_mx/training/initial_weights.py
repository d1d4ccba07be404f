"""What the weights of a training run start from: the seed, published weights (--pretrained) or a file (--init)."""

from __future__ import annotations

import re
from pathlib import Path

from ibnnet_mx import models
from ibnnet_mx.models import published

ABOUT = ('pretrained', 'init', 'new_head', 'init_from_plain')  # options that a run which goes on has no use for


def check(args):
    """ValueError: --pretrained, --init or what belongs to them contradict each other, --retrain or --zero-gamma."""
    given = [f'--{key.replace("_", "-")}' for key in ABOUT if getattr(args, key)]
    if given and args.retrain:
        raise ValueError(f'{given[0]} is about the first epoch: a --retrain has its weights already, leave it out')
    if args.pretrained and args.init:
        raise ValueError(f'--pretrained {args.pretrained} contradicts --init {args.init}: give one of them')
    if args.pretrained and args.pretrained not in published.WEIGHTS:
        there = ', '.join(published.WEIGHTS)
        raise ValueError(f'--pretrained {args.pretrained}: published are {there}; a file is for --init')
    if args.init_from_plain and args.pretrained:
        raise ValueError(f'--init-from-plain: {args.pretrained} is an IBN network itself; use it with --init FILE')
    if given and not (args.pretrained or args.init):
        raise ValueError(f'{given[0]} is about weights to start from: add --pretrained NAME or --init FILE')
    if given and args.zero_gamma:
        raise ValueError(f'--zero-gamma: the weights of {given[0]} would take its place, leave one of them out')


def of(args, model, wanted):
    """The Start that the options ask for, None where the seed is all. ValueError: it cannot be one of `model`."""
    if args.pretrained:
        return Published(model, args.new_head)
    return File(args.init, model, args.new_head, args.init_from_plain, wanted) if args.init else None


def origin(begin, facts):
    """What the .json of a checkpoint says the weights come from; facts: that of the checkpoint the run goes on from."""
    return begin.origin if begin else facts.get('init') if facts else None


def remarks(begin, facts, wanted):
    """What may surprise: lines for the log."""
    if begin:
        return begin.warnings
    if wanted.freeze and not facts:
        parts = ','.join(wanted.freeze)
        return [f'--freeze {parts} without --pretrained or --init: they stay as the seed drew them']
    return []


class Published:
    """Called with the initialised network it puts the weights in and returns lines for the log, as Trainer wants it.

    origin: what the .json of a checkpoint says of it; warnings: what may surprise.
    """

    def __init__(self, model, new_head):
        self.origin, self.warnings = {'pretrained': model.name}, []
        self._model, self._new_head = model, new_head

    def try_on(self, net):
        """Nothing: whether they fit is seen once they are downloaded."""

    def __call__(self, net):
        from ibnnet_mx import hub

        anew = self._new_head or net.collect_params()['fc1_bias'].shape[0] != self._model.classes
        try:
            self.origin['notes'] = hub.load(net, self._model.name, new_head=anew)
        except ValueError as error:
            raise ValueError(f'--pretrained {self._model.name}: {error}') from None
        return [f'--pretrained: starts from the published {self._model.name}', *self.origin['notes']]


class File:
    """As Published, from a file. A .json beside a .params must not speak of another model."""

    def __init__(self, path, model, new_head, from_plain, recipe):
        self.origin, self.warnings = {'file': path}, []
        self._path, self._new_head, self._from_plain = path, new_head, from_plain
        if not Path(path).is_file():
            raise ValueError(f'--init {path} is no file')
        plain = plain_of(model)
        if from_plain and plain is None:
            raise ValueError(f'--init-from-plain: {model.name} is no IBN network, leave it out')
        if path.endswith('.params'):
            self._compare(model, plain, recipe)

    def _compare(self, model, plain, recipe):
        facts, wanted = beside(self._path), plain if self._from_plain else model.name
        if facts is None:
            self.warnings.append(
                f'--init {self._path}: no .json beside it says what it was trained with; taken for a {wanted} that is '
                f'fed RGB, mean {model.pixels.mean}, std {model.pixels.std}'
            )
            return
        if facts['model'] != wanted:
            other = facts['model']
            hint = '; add --init-from-plain' if other == plain else f'; use --model {other}{_data_type(other)}'
            raise ValueError(f'--init {self._path} is a {facts["model"]}, not a {wanted}{hint}')
        for key in ('w_d', 'ibn_ratio', 'ibn_stages', 'norm'):
            theirs, ours = facts['recipe'].get(key, getattr(recipe, key)), getattr(recipe, key)
            theirs = tuple(theirs) if isinstance(theirs, list) else theirs  # JSON has no tuples
            if theirs != ours and key == 'ibn_stages' and not self._from_plain:
                raise ValueError(f'--init {self._path} has IBN in other stages: {_stages_option(theirs)}')
            if theirs != ours and not (key.startswith('ibn_') and self._from_plain):
                raise ValueError(f'--init {self._path} has {key} {theirs}, not {ours}: see --{key.replace("_", "-")}')
        found = facts.get('pixels', {})
        ours = {'order': 'RGB', 'mean': list(model.pixels.mean), 'std': list(model.pixels.std)}
        if found != ours:
            self.warnings.append(f'--init {self._path} was trained on pixels {found}, this run feeds {ours}')

    def try_on(self, net):
        """ValueError: they do not fit."""
        net.initialize()
        self(net)

    def __call__(self, net):
        self.origin['notes'] = self._load(net)
        return [f'--init: starts from {self._path}', *self.origin['notes']]

    def _load(self, net):
        """With the classifier where it fits and is wanted: convert.load leaves the network untouched where it fails."""
        from ibnnet_mx import convert
        from ibnnet_mx.convert import identify

        arrays = convert.read(self._path)
        try:
            if not self._new_head:
                return convert.load(net, arrays, from_plain=self._from_plain)
        except ValueError:
            pass  # it may have been the classifier alone
        try:
            return convert.load(net, arrays, True, self._from_plain)
        except ValueError as error:
            found = identify.model_of(arrays)
            fits = f' fits {found[0].name}: use --model {found[0].name}{_data_type(found[0].name)}' if found else ''
            if found and 'ibn_stages' in found[1]:
                fits += f' and {_stages_option(found[1]["ibn_stages"])}'
            raise ValueError(f'--init {self._path}{fits}: {error}') from None


def _data_type(model):
    return ' --data-type cifar10' if model.startswith('cifar_') else ''


def _stages_option(stages):
    return 'leave --ibn-stages out' if stages is None else f'--ibn-stages {",".join(map(str, stages))}'


def plain_of(model):
    """'resnet50' of resnet50_ibn_a; None of a plain network."""
    family = re.sub(r'_ibn_[ab]$', '', model.family)
    return models.full_name(family, model.depth) if family != model.family else None


def beside(path):
    """The .json of a checkpoint's PREFIX-0003.params; None where there is none. ValueError: one of them is damaged."""
    from ibnnet_mx import checkpoint

    prefix, _, epoch = path[: -len('.params')].rpartition('-')
    if not prefix or not epoch.isdecimal():
        return None
    store, epoch = checkpoint.Store(prefix), int(epoch)
    if not store.path(epoch, 'json').is_file():
        return None
    fault = store.fault(epoch, kinds=('params',))
    if fault:
        raise ValueError(f'--init {path}: {fault}')
    return store.facts(epoch)
