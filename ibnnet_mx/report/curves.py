"""Draw curves of runs: errors, losses, rates and speeds by epoch."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any, Callable

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
BETTER = {  # words in the names of other metrics: which of their values is the best one
    min: ('loss', 'err', 'entropy', 'perplexity', 'mse', 'mae', 'mape', 'nll'),
    max: ('acc', 'f1', 'auc', 'map', 'iou', 'recall', 'precision', 'mcc', 'top'),
}
FEW = 15  # up to so many epochs get markers, because a single epoch has no line


def look_of(metric: str) -> tuple[str, str]:
    """Return the label of a metric's axis and the form of its values; those of an unknown metric are its name."""
    return METRICS.get(metric, (metric, '{:.4g}'))


def metrics_of(runs: list[logs.Run]) -> list[str]:
    """Return the names of all metrics that can be drawn."""
    names = {name for run in runs for series in (run.train, run.validation) for name in series}
    names |= {name for name in TRAINING_ONLY if any(getattr(run, name) for run in runs)}
    return [*(name for name in METRICS if name in names), *sorted(names - set(METRICS))]


def has(run: logs.Run, metric: str) -> bool:
    """Return True if a run has values of a metric."""
    return metric in metrics_of([run])


def curves_of(run: logs.Run, metric: str) -> tuple[dict, dict]:
    """Return the curves of training and validation, {epoch: value in the metric's unit}.

    Raises OptionError if the run has neither.
    """
    if not has(run, metric):
        raise OptionError(
            'metric', metric, f'is not in the log of {run.name}, which has {", ".join(metrics_of([run]))}'
        )
    both = {**run.train, 'lr': run.lr, 'speed': run.speed}, run.validation
    train, validation = (series.get(metric, {}) for series in both)
    if metric in ERRORS:
        train, validation = (
            {epoch: 100 * (1 - value) for epoch, value in curve.items()} for curve in (train, validation)
        )
    return train, validation


def chosen(runs: list[logs.Run], node: int | None = None, number: int | str | None = None) -> list[logs.Run]:
    """Return the runs of one worker, or one run of each worker, of a log. number: from 1, or 'last'.

    Raises OptionError for node or run, which names what the log has.
    """
    workers, name = [run.worker for run in runs], runs[0].name
    if node is not None:
        runs = [run for run in runs if run.worker == node]
        if not runs:
            known = ', '.join(str(worker) for worker in dict.fromkeys(workers) if worker is not None)
            raise OptionError(
                'node', node, f'is not in the log of {name}, which has {known or "no numbers of workers"}'
            )
    if number is None:
        return runs
    last = {run.worker: run.number for run in runs}
    picked = [run for run in runs if run.number == (last[run.worker] if number == 'last' else number)]
    if not picked:
        raise OptionError('run', number, f'is not in the log of {name}, which has runs 1 to {max(last.values())}')
    return picked


def names_of(paths: list[str], runs: list[logs.Run]) -> list[str]:
    """Return a name for each run: its file's name, and what tells it from others of the same file.

    Files of the same name get their folder before it. paths: the file of each run.
    """
    files = Counter(run.name for _, run in {str(Path(path).resolve()): run for path, run in zip(paths, runs)}.items())
    names = []
    for path, run in zip(paths, runs):
        file = Path(path).resolve()
        same = [other for other_path, other in zip(paths, runs) if Path(other_path).resolve() == file]
        name = run.name if files[run.name] == 1 else f'{file.parent.name}/{run.name}'
        if run.worker is not None and len({other.worker for other in same}) > 1:
            name += f', worker {run.worker}'
        if len({other.number for other in same}) > 1:
            name += f', run {run.number}'
        names.append(name)
    return names


def best(metric: str, validation: dict) -> str:
    """Return ': VALUE in epoch N' for the best validation value; '' if there is none, or nobody knows what is best."""
    finite = {epoch: value for epoch, value in validation.items() if math.isfinite(value)}
    order = min if metric in METRICS else _best_of(metric)
    if not finite or order is None:
        return ''
    epoch = order(finite, key=finite.__getitem__)
    return f': {look_of(metric)[1].format(finite[epoch])} in epoch {epoch}'


def _best_of(metric: str) -> Callable | None:
    """Return min or max, by the words in a metric's name; None if its name does not tell."""
    return next((order for order, words in BETTER.items() if any(word in metric.lower() for word in words)), None)


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
    axes.set(xlabel='epoch', ylabel=look_of(metric)[0], title=title)
    axes.grid(alpha=0.3)
    axes.legend(handles=legend, frameon=False)
    return figure
