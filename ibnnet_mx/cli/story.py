"""The lines that a training command prints before its first step and after its last one."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import fields

from ibnnet_mx.errors import command_value
from ibnnet_mx.metrics import improvement
from ibnnet_mx.recipe import RECIPES
from ibnnet_mx.size import Size

PAIRS = ('norm_args', 'lr_mult')  # options with names and values
FORWARD = 1 / 3  # time of a picture in validation, as a share of its time in training, before it was measured
SCRIPTS = {'evaluate': 'evaluate.py', 'predict': 'predict/predict.py', 'plot': 'log/plot_curve.py'}


def changes(wanted):
    """Return the options by which a recipe differs from the one of its name, as they are typed; '' if it does not."""
    base = RECIPES.get(wanted.name)
    words = []
    for name in (each.name for each in fields(wanted) if each.name not in ('name', 'lr_from')):
        value = getattr(wanted, name)
        if base is None or value == getattr(base, name):
            continue
        text = 'unset' if value is None else command_value(dict(value) if name in PAIRS else value)
        words.append(f'--{name.replace("_", "-")}' + (f' {text or shlex.quote("")}' if value is not True else ''))
    if wanted.lr_from is not None:
        words.append(f'--lr {wanted.lr_from[1]:g} from epoch {wanted.lr_from[0]:g} on')
    return ' '.join(words)


def data_line(data_dir, data, classes, exif):
    """Return the line about the records. data: (train, val), each a data.Iterator."""
    train, val = data
    size = train.record_size(exif)
    about = f' of about {size.sides} pixels' if size else ''
    counts = f'{train.count():,} training and {val.count():,} validation pictures'
    return f'data: {data_dir}: {counts}{about}, {classes} classes'


def network_line(model, net):
    """Return the line about the network."""
    from ibnnet_mx.models import nets

    count, size = nets.count_parameters(net), Size.of(model.size)
    return f'network: {model.name}, {count:,} parameters, input 3x{size.sides}'


def recipe_line(wanted):
    """Return the line about the recipe."""
    given = changes(wanted)
    return f'recipe: {wanted.name}' + (f' with {given}' if given else '')


def steps_line(wanted, train):
    """Return the line about the steps."""
    steps = train.steps(0)
    return f'steps: {steps:,} an epoch, each of {wanted.batch_size} pictures; {_epochs(wanted.epochs)}'


def _epochs(count):
    return f'{count} epoch' + ('' if count == 1 else 's')


def _device_line(cluster, threads):
    kind = cluster.contexts[0].device_type.upper()
    names = ','.join(str(context.device_id) for context in cluster.contexts)
    count = len(cluster.contexts)
    device = f'GPU {names}' if kind == 'GPU' else kind if count == 1 else f'{count} {kind} devices'
    workers = f', {cluster.num_workers} workers' if cluster.num_workers > 1 else ''
    computing = os.environ.get('OMP_NUM_THREADS', '?')
    return f'device: {device}{workers}; threads: {computing} compute, {threads} read pictures'


def _start_line(wanted, begin, opened):
    if opened is not None:
        epoch, batch = opened.facts.epoch, opened.facts.batch
        inside = f' and batch {batch} of the next' if batch is not None else ''
        return f'start: goes on from {opened.params_path}, after {_epochs(epoch)}{inside}'
    if begin:
        kind, name = next(iter(begin.origin.items()))
        return f'start: {"the published weights of " if kind == "pretrained" else ""}{name}'
    return f'start: weights drawn by seed {wanted.seed}'


def opening(run, model, data, begin, opened, args):
    """Return the lines that tell a run before its first step. data: (train, val, classes)."""
    from ibnnet_mx import _limits

    wanted, (train, val, classes) = run.recipe, data
    return [
        data_line(args.data_dir, (train, val), classes, wanted.exif),
        network_line(model, run.net),
        recipe_line(wanted),
        steps_line(wanted, train),
        _device_line(run.cluster, args.threads or _limits.own_cores()),
        _start_line(wanted, begin, opened),
    ]


def files_line(store, log_file):
    """Return the line about the files that a run writes."""
    return f'files: checkpoints {store.prefix}-NNNN.params, log {log_file}'


def best_before(store, facts):
    """Return the fact `best` of a run that goes on from a checkpoint with these facts; None if it is new.

    A checkpoint of an older version has no such fact; the results of its epochs are then compared.
    """
    if facts is None or facts.best is not None:
        return facts and facts.best
    first = None
    for epoch, score in _scores(store, facts.epoch).items():
        if score is not None and score.beats(first and first[1]):
            first = epoch, score
    return first and {'epoch': first[0], 'value': first[1].value}


def _scores(store, last):
    """Return {epoch: Score or None} of the epochs up to `last`. A damaged .json is told where it is opened."""
    from ibnnet_mx.checkpoint import best

    return best.scores(store, last)[0]


def plan(report, run, data, store):
    """Say to a reporter how long the run is, and which result is the best so far. data: (train, val)."""
    train, val = data
    before = _scores(store, run.epoch) if run.epoch else {}
    best = improvement.best_of(before)
    share = FORWARD * val.count() / max(train.count(), 1)
    report.plan(run.recipe.epochs, share, None if best is None else before[best])


def closing(store, last, data_dir, log_file, prog):
    """Return the lines that tell the end of a run. last: its finished epochs. prog: the program that was called."""
    validated = _scores(store, last)
    best = improvement.best_of(validated)
    if not last or best is None:
        return []
    score, newest, log = validated[best], validated.get(last), _inside(log_file)
    about = f'epoch {best} of {last}, validation {score.metric} {score.words()}'
    after = '' if best == last else f'; the last, epoch {last}: {newest.words() if newest else "not validated"}'
    return [
        f'best: {about}{after}',
        f'files: {store.path(best, "params")} (the best), {log}',
        'next:',
        f'  {typed(prog, "evaluate")} --prefix {shlex.quote(store.prefix)} --data-dir {shlex.quote(str(data_dir))}',
        f'  {typed(prog, "predict")} --prefix {shlex.quote(store.prefix)} --img PICTURE',
        f'  {typed(prog, "plot")} --logs {shlex.quote(log)}',
    ]


def typed(prog, name):
    """Return how a command is typed by someone who called `prog`: as a script of the checkout, or as ibnnet NAME."""
    if prog.startswith('ibnnet'):
        called = os.path.basename(sys.argv[0]) == '__main__.py'
        return f'{_python()} -m ibnnet_mx {name}' if called else f'{_program()} {name}'
    folder = os.path.dirname(sys.argv[0]) if os.path.basename(sys.argv[0]) == f'{prog}.py' else ''
    return f'{_python()} {shlex.quote(os.path.join(folder, SCRIPTS[name]))}'


def _python():
    """Return the word that starts this Python: its name if PATH leads to it, else its path."""
    for name in ('python', 'python3'):
        if os.path.abspath(shutil.which(name) or '') == os.path.abspath(sys.executable):
            return name
    return _near(sys.executable or 'python')


def _program():
    """Return the word that starts ibnnet."""
    path = sys.argv[0]
    if os.path.basename(path) != 'ibnnet':
        return 'ibnnet'
    by_name = shutil.which('ibnnet')
    return 'ibnnet' if by_name and os.path.abspath(by_name) == os.path.abspath(path) else _near(path)


def _near(path):
    """Return a path as it is shortest from this folder."""
    return shlex.quote(_inside(os.path.abspath(path)))


def _inside(path):
    """Return a path without this folder before it, if it lies within."""
    here = os.getcwd() + os.sep
    return path[len(here) :] if path.startswith(here) else path
