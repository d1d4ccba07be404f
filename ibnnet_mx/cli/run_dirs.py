"""The folders of runs: --run-dir runs/ gives each run its own, runs/NAME-1/, with all that it writes."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re

from ibnnet_mx.distributed import job

NUMBERED = re.compile(r'(.+)-([1-9]\d*)')


def check(args):
    """Raise ValueError if options contradict --run-dir."""
    for option, value in (('--model-prefix', args.model_prefix), ('--log-file', args.log_file)):
        if value is not None:
            raise ValueError(f'{option} {value} contradicts --run-dir {args.run_dir}: give one of them')
    if args.kv_store not in job.LOCAL:
        raise ValueError(f'--run-dir {args.run_dir} is for one worker: name --model-prefix for several')


def _runs(folder):
    """Return [(name, number)] of the runs in a folder."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    matches = (NUMBERED.fullmatch(name) for name in names if os.path.isdir(os.path.join(folder, name)))
    return [(match[1], int(match[2])) for match in matches if match]


def newest(folder):
    """Return the prefix of the run in a folder that has written last; None if no run has a checkpoint."""
    prefixes = {}
    for name, number in _runs(folder):
        prefix = os.path.join(folder, f'{name}-{number}', name)
        with contextlib.suppress(OSError):
            prefixes[os.stat(f'{prefix}-symbol.json').st_mtime_ns, number] = prefix
    return prefixes[max(prefixes)] if prefixes else None


def make(folder, name):
    """Make the folder of a new run, with the next free number, and return the prefix of its checkpoints."""
    os.makedirs(folder, exist_ok=True)
    number = 1 + max((number for other, number in _runs(folder) if other == name), default=0)
    while True:
        path = os.path.join(folder, f'{name}-{number}')
        try:
            os.mkdir(path)  # of two runs that begin at once, only one succeeds
        except FileExistsError:
            number += 1
        else:
            return os.path.join(path, name)


def settle(args, store, name, opened):
    """Give a run its folder: that of the run that goes on, or a new one. Sets the paths of the files that it writes."""
    if opened is None:
        store.prefix = make(args.run_dir, name)
    args.write_config = args.write_config or os.path.join(os.path.dirname(store.prefix), 'recipe.toml')
    args.log_file = f'{store.prefix}.log'


def draw(log_file):
    """Draw the curve of a run beside its log. Return lines: none if matplotlib is missing or the log has no epoch."""
    if importlib.util.find_spec('matplotlib') is None:
        return []
    from ibnnet_mx import logs
    from ibnnet_mx.report import curves, figures

    out = f'{os.path.splitext(log_file)[0]}.png'
    try:
        run = logs.read_log(log_file)
    except ValueError:
        return []
    if not curves.has(run, 'accuracy'):
        return []
    figure = curves.draw_curves([(run.name, *curves.curves_of(run, 'accuracy'))], 'accuracy', '')
    figures.save_figure('run_dir', out, figure, 150)
    return [f'curve: {out}']
