"""Choose the weights that a training run starts from: drawn by the seed, of --pretrained or of --init."""

from __future__ import annotations

from ibnnet_mx import recipe
from ibnnet_mx.models import published
from ibnnet_mx.recipe import saved

ABOUT = ('pretrained', 'init', 'new_head', 'init_from_plain', 'weights_key')  # options that --retrain cannot use


def check_start(args):
    """Raise ValueError if --pretrained, --init or their options contradict each other, --retrain or --zero-gamma."""
    given = [f'--{key.replace("_", "-")}' for key in ABOUT if getattr(args, key)]
    if given and args.retrain:
        raise ValueError(f'{given[0]} sets the first weights, and --retrain has its weights already: leave it out')
    if args.pretrained and args.init:
        raise ValueError(f'--pretrained {args.pretrained} contradicts --init {args.init}: give one of them')
    if args.pretrained and args.pretrained not in published.names():
        names = ', '.join(published.names())
        raise ValueError(f'--pretrained {args.pretrained}: published weights are {names}; use --init for a file')
    if args.init_from_plain and args.pretrained:
        raise ValueError(f'--init-from-plain: {args.pretrained} is an IBN network itself; use it with --init FILE')
    if args.weights_key and args.pretrained:
        raise ValueError(f'--weights-key {args.weights_key} is for a file: use it with --init FILE')
    if given and not (args.pretrained or args.init):
        raise ValueError(f'{given[0]} needs weights to start from: add --pretrained NAME or --init FILE')
    if given and args.zero_gamma:
        raise ValueError(f'--zero-gamma: the weights of {given[0]} would replace its zeros; leave one of them out')


def open_start(args, model, wanted):
    """Return the weights that the options name; None if the seed draws them all.

    Raises OptionError if they cannot be weights of `model`.
    """
    if not (args.pretrained or args.init):
        return None
    from ibnnet_mx.training import initial_weights

    if args.pretrained:
        return initial_weights.Published(model, args.new_head)
    return initial_weights.File(args.init, model, args.new_head, args.init_from_plain, wanted, args.weights_key)


def origin_of(start, opened):
    """Return the fact `init`, the origin of the first weights. opened: the checkpoint that the run goes on from."""
    return start.origin if start else opened.facts.init if opened else None


def remarks_on(start, opened, wanted):
    """Return lines about surprising first weights, and about a rate that jumps where a run goes on."""
    if start:
        return start.warnings
    if opened:
        return _jumps(saved.from_dict(opened.facts.recipe), wanted, opened.facts.epoch)
    if wanted.freeze:
        parts = ','.join(wanted.freeze)
        return [f'--freeze {parts} without --pretrained or --init: these parts stay as the seed drew them']
    return []


def _jumps(before, wanted, epoch):
    """Return a line if changed options of the schedule move the rate at the epoch that a run goes on from."""
    names = ('epochs', 'schedule', 'lr_steps', 'warmup_epochs')
    changed = [name for name in names if getattr(before, name) != getattr(wanted, name)]
    planned, rate = recipe.lr_at(before, epoch), recipe.lr_at(wanted, epoch)
    if not changed or wanted.lr_from != before.lr_from or abs(rate - planned) <= 1e-9 * max(rate, planned):
        return []
    listed = ' and '.join(f'`{name}`' for name in changed)
    return [f'changed {listed} set the rate of epoch {epoch} to {rate:g}; the checkpoint was to go on with {planned:g}']
