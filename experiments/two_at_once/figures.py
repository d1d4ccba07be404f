"""The figures of the results that are there."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import tables
from plans import DOMAINS, MAIN, NETS, VERSIONS

COLOURS = {'bn': 'tab:gray', 'ibn_a': 'tab:blue', 'ibn_b': 'tab:orange', 'in': 'tab:green'}


def _bars(axes: Any, groups: dict[str, dict[str, list[float]]], label: str) -> None:
    """groups: {name below the bars: {net: values}}; bars are means, the lines at their ends standard errors."""
    nets = [net for net in MAIN if any(values.get(net) for values in groups.values())]
    wide = 0.8 / max(len(nets), 1)
    for number, net in enumerate(nets):
        places = [place + (number - (len(nets) - 1) / 2) * wide for place in range(len(groups))]
        values = [100 * mean(group[net]) if group.get(net) else 0 for group in groups.values()]
        errors = [
            100 * stdev(group[net]) / math.sqrt(len(group[net])) if len(group.get(net, [])) > 1 else 0
            for group in groups.values()
        ]
        axes.bar(places, values, wide, yerr=errors, capsize=2, color=COLOURS[net], label=NETS[net][0])
        for place, value in zip(places, values):
            axes.text(place, value + 0.4, f'{value:.1f}', ha='center', va='bottom', fontsize=6)
    axes.set_xticks(range(len(groups)), list(groups), fontsize=8)
    axes.set_ylabel(label)
    axes.spines[['top', 'right']].set_visible(False)


def _legend(axes: Any) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False)


def _cifar10(found: dict, version: str) -> dict[str, dict[str, list[float]]]:
    columns = {'clean': 'clean', **{group: group for group in tables.GROUPS}}
    errors = {net: [tables.cifar10_errors(run) for run in found.get(('cifar10', version, net), [])] for net in MAIN}
    return {title: {net: [one[column] for one in errors[net]] for net in MAIN} for title, column in columns.items()}


def main_figure(found: dict, path: Path) -> None:
    """Errors on CIFAR-10 as it is and shifted, and accuracies on the domains that PACS's networks have not seen."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.2), layout='constrained')
    above, below = figure.subfigures(2, 1)
    left, right = above.subplots(1, 2, sharey=True)
    for axes, version in ((left, 'v1'), (right, 'v2')):
        _bars(axes, _cifar10(found, version), 'error, %')
        axes.set_title(f'CIFAR-10, ResNet-20 {version}: lower is better', fontsize=9)
    _legend(left)
    axes = below.subplots()
    groups: dict[str, dict[str, list[float]]] = {}
    for place, title in ((0, '{} left out'), (1, 'others, held out')):
        for domain in DOMAINS if place == 0 else ('mean',):
            values = {net: tables.pacs_by_domain(found, 'pacs', net, place)[domain] for net in MAIN}
            groups[title.format(domain)] = values
    _bars(axes, groups, 'accuracy, %')
    axes.set_title('PACS, trained on three domains, tested on the fourth: higher is better', fontsize=9)
    figure.savefig(path, dpi=130)


def curves(found: dict, path: Path) -> None:
    """Validation error by epoch, each run a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout='constrained')
    for axes, version in zip(figure.subplots(1, 2, sharey=True), VERSIONS):
        for net in (*MAIN, 'in'):
            for number, run in enumerate(found.get(('cifar10', version, net), [])):
                errors = [100 * (1 - value) for value in run['accuracy']]
                label = NETS[net][0] if not number else None
                axes.plot(range(1, len(errors) + 1), errors, color=COLOURS[net], linewidth=1, label=label)
        axes.set_title(f'CIFAR-10, ResNet-20 {version}', fontsize=9)
        axes.set_xlabel('epoch')
        axes.set_yscale('log')
        axes.set_yticks([15, 20, 30, 50, 80], ['15', '20', '30', '50', '80'])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        _legend(axes)
    figure.axes[0].set_ylabel('validation error, %')
    figure.savefig(path, dpi=110)


def distances(found: list[dict], path: Path) -> None:
    """The distance between two domains, block by block: a line a network, over seeds and domains in the mean."""
    from matplotlib.figure import Figure

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
                means = [mean(row[block] for row in rows) for block in blocks]
                axes.plot(
                    range(1, len(blocks) + 1), means, marker='o', markersize=3, color=COLOURS[net], label=NETS[net][0]
                )
        axes.set_title(titles[kind], fontsize=9)
        axes.set_yscale('log')
        axes.set_xlabel('block')
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel('symmetric KL divergence')
    _legend(figure.axes[0])
    figure.savefig(path, dpi=110)


def draw(found: dict, results: Path) -> None:
    main_figure(found, results / 'two_at_once.png')
    curves(found, results / 'curves.png')
    apart = [json.loads(path.read_text()) for path in sorted((results / 'distances').glob('*.json'))]
    if apart:
        distances(apart, results / 'distances.png')
