"""Draw curves of runs: errors, losses, rates and speeds by epoch."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from ibnnet_mx import logs
from ibnnet_mx.errors import OptionError

METRICS = {  # name: label of the axis, form of a value in the legend
    'accuracy': ('top-1 error, %', '{:.2f} %'),
    'top5': ('top-5 error, %', '{:.2f} %'),
    'ce': ('cross entropy, nats', '{:.4f}'),
    'lr': ('learning rate', ''),
    'speed': ('pictures per second', ''),
}
TRAINING_ONLY = ('lr', 'speed')
ERRORS = ('accuracy', 'top5')
FEW = 15  # up to so many epochs get markers, because a single epoch has no line


def curves_of(run: logs.Run, metric: str) -> tuple[dict, dict]:
    """Return the curves of training and validation, {epoch: value in the metric's unit}.

    Raises OptionError if the run has neither.
    """
    both = {**run.train, 'lr': run.lr, 'speed': run.speed}, run.validation
    train, validation = (series.get(metric, {}) for series in both)
    if not train and not validation:
        known = ', '.join(name for name in METRICS if both[0].get(name) or both[1].get(name))
        raise OptionError('metric', metric, f'is not in the log of {run.name}, which has {known}')
    if metric in ERRORS:
        train, validation = (
            {epoch: 100 * (1 - value) for epoch, value in curve.items()} for curve in (train, validation)
        )
    return train, validation


def names_of(paths: list[str], runs: list[logs.Run]) -> list[str]:
    """Return a name for each run: its file's name, after its folder if two files have the same name."""
    times = Counter(run.name for run in runs)
    folders = [Path(path).resolve().parent.name for path in paths]
    return [run.name if times[run.name] == 1 else f'{folder}/{run.name}' for folder, run in zip(folders, runs)]


def best(metric: str, validation: dict) -> str:
    """Return ': VALUE in epoch N' for the lowest validation value, or ''."""
    finite = {epoch: value for epoch, value in validation.items() if math.isfinite(value)}
    if not finite:
        return ''
    epoch = min(finite, key=finite.__getitem__)
    return f': {METRICS[metric][1].format(finite[epoch])} in epoch {epoch}'


def draw_curves(runs: list[tuple[str, dict, dict]], metric: str, title: str):
    """Return a figure of runs (name, training, validation): a colour for each run, training dashed."""
    try:
        from matplotlib.figure import Figure  # not pyplot, which needs a display
        from matplotlib.lines import Line2D
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise ValueError('drawing needs matplotlib, which is missing: pip install matplotlib') from error
    figure = Figure(figsize=(8, 5), layout='constrained')
    axes = figure.add_subplot()
    solid: dict[str, Any] = {'linewidth': 1.6}
    dashed: dict[str, Any] = {'linewidth': 1.1, 'linestyle': '--', 'markerfacecolor': 'white'}
    epochs = sorted({epoch for _, *curves in runs for curve in curves for epoch in curve})
    marker = 'o' if len(epochs) <= FEW else ''
    legend = []
    for number, (name, train, validation) in enumerate(runs):
        look: dict[str, Any] = {'color': f'C{number % 10}', 'marker': marker, 'markersize': 4}
        axes.plot(list(train), list(train.values()), **look, **(solid if metric in TRAINING_ONLY else dashed))
        axes.plot(list(validation), list(validation.values()), **look, **solid)
        legend.append(Line2D([], [], label=name + best(metric, validation), **look, **solid))
    if metric not in TRAINING_ONLY:
        grey: dict[str, Any] = {'color': 'grey', 'marker': marker, 'markersize': 4}
        legend.append(Line2D([], [], label='validation (its best value above)', **grey, **solid))
        legend.append(Line2D([], [], label='training', **grey, **dashed))
    values = [value for _, train, _ in runs for value in train.values()]
    if metric == 'lr' and max(values) > 20 * min(values) > 0:
        axes.set_yscale('log')
    axes.margins(x=0.02, y=0.05)
    if len(epochs) == 1:
        axes.set_xlim(epochs[0] - 0.5, epochs[0] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel='epoch', ylabel=METRICS[metric][0], title=title)
    axes.grid(alpha=0.3)
    axes.legend(handles=legend, frameon=False)
    return figure
