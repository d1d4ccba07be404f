"""Tables of the results that are there."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import mean, stdev
from typing import Iterable

from plans import DOMAINS, MAIN, NETS, PLACED, VERSIONS

from ibnnet_mx import shift

KEYS = {'part', 'where', 'net', 'seed'}
MEASURED = {  # part: what the file of a run holds beside
    'cifar10': {'accuracy', 'top1', 'shift'},
    'placement': {'accuracy', 'top1', 'shift'},
    'equal': {'accuracy', 'top1'},
    'pacs': {'accuracy', 'domains'},
}


def read(path: Path, needed: Iterable[str] = ()) -> dict:
    """A file of results. SystemExit names one that is damaged, or lacks a key."""
    try:
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise ValueError('it holds no object')
        lacks = {*KEYS, *(needed or MEASURED.get(found.get('part'), ()))} - found.keys()
        if lacks:
            raise ValueError(f'it lacks {", ".join(sorted(lacks))}')
    except ValueError as error:
        raise SystemExit(f'{path} is damaged ({error}): remove it, so that its run is made again') from None
    return found


def load(results: Path) -> dict[tuple[str, str, str], list[dict]]:
    """{(part, where, net): runs}, by seed."""
    found: dict[tuple[str, str, str], list[dict]] = {}
    for path in sorted(results.glob('*_seed*.json')):
        run = read(path)
        name = '{part}_{where}_{net}_seed{seed}'.format_map(run)
        if path.stem != name:
            raise SystemExit(f'{path} holds the run {name}: remove it, lest one run counts twice')
        found.setdefault((run['part'], run['where'], run['net']), []).append(run)
    return found


def spread(values: list[float]) -> str:
    """Mean and standard deviation, in percent."""
    if not values:
        return ''
    return f'{100 * mean(values):.2f}' + (f' ± {100 * stdev(values):.2f}' if len(values) > 1 else '')


def difference(ours: list[float], theirs: list[float]) -> str:
    """Of the means, with its standard error, in percentage points; the seeds are no pairs."""
    if not (ours and theirs):
        return ''
    gap = f'{100 * (mean(ours) - mean(theirs)):+.2f}'
    if min(len(ours), len(theirs)) < 2:
        return gap
    error = math.sqrt(stdev(ours) ** 2 / len(ours) + stdev(theirs) ** 2 / len(theirs))
    return f'{gap} ± {100 * error:.2f}'


def markdown(heads: list[str], rows: list[list[object]]) -> str:
    lines = [heads, ['---'] * len(heads), *rows]
    return '\n'.join(f'| {" | ".join(map(str, line))} |' for line in lines) + '\n'


def compared(columns: dict[str, dict[str, list[float]]], nets: list[str]) -> str:
    """A row for each net, then one for what it is more or less than BN. columns: {head: {net: values by seed}}."""
    rows: list[list[object]] = []
    for net in nets:
        if any(values[net] for values in columns.values()):
            cells = [spread(values[net]) for values in columns.values()]
            seeds = sorted({len(values[net]) for values in columns.values() if values[net]})
            rows.append([NETS[net][0], *cells, ' to '.join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))])
    for net in nets:
        gaps = [difference(values[net], values['bn']) for values in columns.values()]
        if net != 'bn' and any(gaps):
            rows.append([f'{NETS[net][0]} minus BN', *gaps, ''])
    return markdown(['network', *columns, 'seeds'], rows)


def cifar10_errors(run: dict) -> dict[str, float]:
    """{column: error}: clean, each group, and all fifteen corruptions."""
    told = run['shift']
    corrupted = [mean(errors.values()) for name, errors in told['error'].items() if name in shift.CORRUPTIONS]
    groups = dict(told['groups'])
    appearance = groups.pop('appearance')
    return {'clean': 1 - run['top1'], **groups, 'all 15 corruptions': mean(corrupted), 'appearance': appearance}


def cifar10_columns(found: dict, version: str) -> dict[str, dict[str, list[float]]]:
    """{column: {net: errors by seed}}."""
    parts = {net: 'placement' if net in PLACED else 'cifar10' for net in NETS}
    runs = {net: found.get((part, version, net), []) for net, part in parts.items()}
    errors = {net: [cifar10_errors(run) for run in runs[net]] for net in NETS}
    columns = next((runs[0] for runs in errors.values() if runs), {})
    return {column: {net: [one[column] for one in runs] for net, runs in errors.items()} for column in columns}


def summary_table(found: dict) -> str:
    """Errors on pictures like those that a network was trained on beside those on others."""
    columns = {}
    for version in VERSIONS:
        there = cifar10_columns(found, version)
        for column in ('clean', 'all 15 corruptions', 'appearance') if there else ():
            columns[f'CIFAR-10, {version}, {column}'] = there[column]
    for title, place in (('PACS, the three known domains', 1), ('PACS, the new domain', 0)):
        values = {net: pacs_by_domain(found, net, place)['mean'] for net in NETS}
        if any(values.values()):
            columns[title] = {net: [1 - value for value in by_seed] for net, by_seed in values.items()}
    return compared(columns, [*MAIN, 'in'])


def severity_table(found: dict) -> str:
    rows: list[list[object]] = []
    for version in VERSIONS:
        for net in MAIN:
            runs = found.get(('cifar10', version, net), [])
            for title, corrupted in (('15 corruptions', True), ('appearance', False)):
                cells = []
                for severity in '12345':
                    values = [
                        mean(
                            errors[severity]
                            for name, errors in run['shift']['error'].items()
                            if (name in shift.CORRUPTIONS) == corrupted
                        )
                        for run in runs
                    ]
                    cells.append(spread(values))
                if runs:
                    rows.append([f'{version}, {NETS[net][0]}', title, *cells])
    return markdown(['network', 'shifts', *(f'severity {number}' for number in '12345')], rows)


def name_table(found: dict, version: str) -> str:
    """Every shift by itself."""
    runs = {net: found.get(('cifar10', version, net), []) for net in MAIN}
    rows: list[list[object]] = []
    there = {name for net in MAIN for run in runs[net] for name in run['shift']['error']}
    for name in filter(there.__contains__, shift.NAMES):
        values = {net: [mean(run['shift']['error'][name].values()) for run in runs[net]] for net in MAIN}
        gaps = [difference(values[net], values['bn']) for net in ('ibn_a', 'ibn_b')]
        rows.append([name, *(spread(values[net]) for net in MAIN), *gaps])
    return markdown(['shift', *(NETS[net][0] for net in MAIN), 'IBN-a minus BN', 'IBN-b minus BN'], rows)


def pacs_values(run: dict) -> tuple[float, float]:
    """Accuracy on the domain that was left out, and on the held-out pictures of the others, each domain alike."""
    others = [one['top1'] for name, one in run['domains'].items() if name != run['where']]
    return run['domains'][run['where']]['top1'], mean(others)


def pacs_by_domain(found: dict, net: str, place: int) -> dict[str, list[float]]:
    """{domain: values by seed, 'mean': means over domains of the seeds that have all}."""
    values = {
        domain: {run['seed']: pacs_values(run)[place] for run in found.get(('pacs', domain, net), [])}
        for domain in DOMAINS
    }
    whole = set.intersection(*(set(by_seed) for by_seed in values.values()))
    means = [mean(values[domain][seed] for domain in DOMAINS) for seed in sorted(whole)]
    return {**{domain: list(by_seed.values()) for domain, by_seed in values.items()}, 'mean': means}


def pacs_table(found: dict, nets: list[str]) -> str:
    """Accuracies."""
    new, own = ({net: pacs_by_domain(found, net, place) for net in nets} for place in (0, 1))
    columns = {f'on {domain}': {net: new[net][domain] for net in nets} for domain in DOMAINS}
    columns['mean'] = {net: new[net]['mean'] for net in nets}
    columns['on the three it was trained on'] = {net: own[net]['mean'] for net in nets}
    return compared(columns, nets)


def equal_table(found: dict) -> str:
    rows = [[run['seed'], f'{100 * run["top1"]:.2f}'] for run in found.get(('equal', 'v2', 'bn'), [])]
    return markdown(['seed', 'accuracy, %'], rows)


def text_of(found: dict) -> str:
    """All tables, each under its title."""
    text = [
        'Error, %, mean ± standard deviation over seeds; differences ± their standard error\n',
        summary_table(found),
    ]
    parts = {part for part, _, _ in found}
    if 'cifar10' in parts:
        versions = [version for version in VERSIONS if any(key[:2] == ('cifar10', version) for key in found)]
        for version in versions:
            text += [
                f'CIFAR-10, ResNet-20 {version}: error, %\n',
                compared(cifar10_columns(found, version), [*MAIN, 'in']),
            ]
        text += ['CIFAR-10: error, %, by severity\n', severity_table(found)]
        for version in versions:
            text += [
                f'CIFAR-10, ResNet-20 {version}: error, %, mean over the five severities\n',
                name_table(found, version),
            ]
    if 'placement' in parts:
        text += [
            'CIFAR-10, ResNet-20 v1, where InstanceNorm is, and how much of it: error, %\n',
            compared(cifar10_columns(found, 'v1'), ['bn', 'ibn_a', *PLACED]),
        ]
    if 'equal' in parts:
        text += ['CIFAR-10, ResNet-20 v2, BN, 12 epochs\n', equal_table(found)]
    if 'pacs' in parts:
        text += [
            'PACS, ResNet-20 v1: accuracy, %, on the domain that was left out\n',
            pacs_table(found, [*MAIN, 'in']),
        ]
    return '\n'.join(text)
