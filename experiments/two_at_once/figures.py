"""The figures of the results that are there."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import geometric_mean, mean, stdev
from typing import Any

import tables
from plans import DOMAINS, MAIN, NETS, PLACED, VERSIONS

COLOURS = {'bn': 'tab:gray', 'ibn_a': 'tab:blue', 'ibn_b': 'tab:orange', 'in': 'tab:green'}
MARKS = dict(zip(PLACED, '^vsD'))  # of those without a colour of their own


def _error(values: list[float]) -> float:
    """The standard error of their mean."""
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def _bars(axes: Any, groups: dict[str, dict[str, list[float]]], label: str) -> None:
    """groups: {name below the bars: {net: values}}; bars are means, the lines at their ends standard errors."""
    nets = [net for net in MAIN if any(values.get(net) for values in groups.values())]
    wide = 0.8 / max(len(nets), 1)
    for number, net in enumerate(nets):
        places = [place + (number - (len(nets) - 1) / 2) * wide for place in range(len(groups))]
        values = [100 * mean(group[net]) if group.get(net) else 0 for group in groups.values()]
        errors = [100 * _error(group.get(net, [])) for group in groups.values()]
        axes.bar(places, values, wide, yerr=errors, capsize=2, color=COLOURS[net], label=NETS[net][0])
        for place, value, error in zip(places, values, errors):
            top = value + (0 if math.isnan(error) else error)
            axes.text(place, top + 0.4, f'{value:.1f}', ha='center', va='bottom', fontsize=6)
    axes.set_xticks(range(len(groups)), list(groups), fontsize=8)
    axes.set_ylabel(label)
    axes.spines[['top', 'right']].set_visible(False)


def _legend(axes: Any) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False)


def _pacs(found: dict) -> dict[str, dict[str, list[float]]]:
    """Accuracies on each domain that was left out, and on the held-out pictures of the others."""
    new, own = ({net: tables.pacs_by_domain(found, net, place) for net in MAIN} for place in (0, 1))
    groups = {f'{domain} left out': {net: new[net][domain] for net in MAIN} for domain in DOMAINS}
    groups['mean of the four'] = {net: new[net]['mean'] for net in MAIN}
    groups['the three it knows'] = {net: own[net]['mean'] for net in MAIN}
    return {title: values for title, values in groups.items() if any(values.values())}


def main_figure(found: dict, path: Path) -> None:
    """Errors on CIFAR-10 as it is and shifted, and accuracies on the domains that PACS's networks have not seen."""
    from matplotlib.figure import Figure

    versions = [version for version in VERSIONS if any(key[:2] == ('cifar10', version) for key in found)]
    domains = _pacs(found)
    rows = bool(versions) + bool(domains)
    if not rows:
        return
    figure = Figure(figsize=(10, 3.1 * rows), layout='constrained')
    parts = list(figure.subfigures(rows, 1, squeeze=False)[:, 0])
    if versions:
        every = parts.pop(0).subplots(1, len(versions), sharey=True, squeeze=False)[0]
        for axes, version in zip(every, versions):
            columns = tables.cifar10_columns(found, version)
            columns.pop('all 15 corruptions')  # the four groups are there
            _bars(axes, columns, 'error, %')
            axes.set_title(f'CIFAR-10, ResNet-20 {version}: lower is better', fontsize=9)
        _legend(every[0])
        every[0].set_xlabel('lines on bars: standard errors over seeds', fontsize=7)
    if domains:
        axes = parts.pop(0).subplots()
        _bars(axes, domains, 'accuracy, %')
        axes.set_title('PACS, trained on three domains, tested on the fourth: higher is better', fontsize=9)
        if not versions:
            _legend(axes)
    figure.savefig(path, dpi=130)


def curves(found: dict, path: Path) -> None:
    """Validation error by epoch, each run a line."""
    from matplotlib.figure import Figure

    wheres = [('cifar10', version, f'CIFAR-10, ResNet-20 {version}') for version in VERSIONS]
    wheres += [('pacs', domain, f'PACS without {domain}, held out') for domain in DOMAINS]
    wheres = [where for where in wheres if any(key[:2] == where[:2] for key in found)]
    if not wheres:
        return
    across = min(len(wheres), 3)
    down = -(-len(wheres) // across)
    figure = Figure(figsize=(3.6 * across, 3.0 * down), layout='constrained')
    every = figure.subplots(down, across, squeeze=False).ravel()
    for axes in every[len(wheres) :]:
        axes.set_axis_off()
    for axes, (part, where, title) in zip(every, wheres):
        for net in (*MAIN, 'in'):
            for number, run in enumerate(found.get((part, where, net), [])):
                errors = [100 * (1 - value) for value in run['accuracy']]
                label = NETS[net][0] if not number else None
                axes.plot(range(1, len(errors) + 1), errors, color=COLOURS[net], linewidth=1, label=label)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel('epoch')
        axes.set_ylabel('validation error, %')
        axes.set_yscale('log')
        axes.set_yticks([10, 15, 20, 30, 50, 80], ['10', '15', '20', '30', '50', '80'])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        _legend(axes)
    figure.savefig(path, dpi=110)


def placements(found: dict, path: Path) -> None:
    """Each net of CIFAR-10 v1 a point: errors on clean pictures across, on corrupted upwards; lines: their errors."""
    from matplotlib.figure import Figure

    columns = tables.cifar10_columns(found, 'v1')
    if not any(columns.get('clean', {}).get(net) for net in PLACED):
        return
    figure = Figure(figsize=(6, 4), layout='constrained')
    axes = figure.subplots()
    for net in filter(columns['clean'].get, NETS):
        values = [columns[name][net] for name in ('clean', 'all 15 corruptions')]
        across, upwards = (100 * mean(by_seed) for by_seed in values)
        wide, high = (100 * _error(by_seed) for by_seed in values)
        look = dict(fmt=MARKS.get(net, 'o'), markersize=5, color=COLOURS.get(net, 'tab:purple'))
        axes.errorbar(across, upwards, high, wide, **look, label=NETS[net][0])
    axes.set_title('CIFAR-10, ResNet-20 v1: lower and more to the left is better', fontsize=9)
    axes.set_xlabel('error, %, clean')
    axes.set_ylabel('error, %, all 15 corruptions')
    axes.margins(0.1)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)  # names beside the points would lie upon each other
    figure.savefig(path, dpi=110)


def distances(found: list[dict], path: Path) -> None:
    """The distance between two domains, block by block: a line a network, the geometric mean over seeds and domains."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    kinds = list(dict.fromkeys((run['part'], kind) for run in found for kind in run['distance']))
    titles = {'domain': 'PACS: a new domain and the known ones', 'style': 'CIFAR-10: other statistics of the planes'}
    titles.update(contrast='CIFAR-10: less contrast', gaussian_noise='CIFAR-10: noise')
    figure = Figure(figsize=(3.2 * len(kinds), 3.2), layout='constrained')
    for axes, (part, kind) in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds):
        for net in (*MAIN, 'in'):
            wheres = ('v1',) if part == 'cifar10' else DOMAINS
            rows = [
                run['distance'][kind]
                for run in found
                if (run['part'], run['net']) == (part, net) and run['where'] in wheres
            ]
            if rows:
                blocks = list(rows[0])
                means = [geometric_mean(row[block] for row in rows) for block in blocks]
                axes.plot(
                    range(1, len(blocks) + 1), means, marker='o', markersize=3, color=COLOURS[net], label=NETS[net][0]
                )
        axes.set_title(titles[kind], fontsize=9)
        axes.set_yscale('log')
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda value, _: f'{value:g}')
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlabel('block')
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel('symmetric KL divergence')
    _legend(max(figure.axes, key=lambda axes: len(axes.get_legend_handles_labels()[0])))
    figure.savefig(path, dpi=110)


def draw(found: dict, results: Path) -> None:
    main_figure(found, results / 'two_at_once.png')
    curves(found, results / 'curves.png')
    placements(found, results / 'placements.png')
    apart = [tables.read(path, ['distance']) for path in sorted((results / 'distances').glob('*.json'))]
    if apart:
        distances(apart, results / 'distances.png')
