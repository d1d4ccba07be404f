"""Tables of the results that are there."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import mean, stdev

from plans import DOMAINS, MAIN, NETS, PLACED, VERSIONS

from ibnnet_mx import shift

GROUPS = ('noise', 'blur', 'weather', 'digital', 'appearance')
CORRUPTIONS = GROUPS[:4]


def load(results: Path) -> dict[tuple[str, str, str], list[dict]]:
    """{(part, where, net): runs}, by seed."""
    found: dict[tuple[str, str, str], list[dict]] = {}
    for path in sorted(results.glob('*_seed*.json')):
        run = json.loads(path.read_text())
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


def cifar10_errors(run: dict) -> dict[str, float]:
    """{column: error}: clean, each group, and all fifteen corruptions."""
    told = run['shift']
    corrupted = [mean(errors.values()) for name, errors in told['error'].items() if name in shift.CORRUPTIONS]
    return {'clean': 1 - run['top1'], **told['groups'], 'corruptions': mean(corrupted)}


def cifar10_table(found: dict, version: str) -> str:
    columns = ['clean', *CORRUPTIONS, 'corruptions', 'appearance']
    heads = ['network', 'clean', *CORRUPTIONS, 'all 15 corruptions', 'appearance', 'seeds']
    errors = {net: [cifar10_errors(run) for run in found.get(('cifar10', version, net), [])] for net in NETS}
    rows: list[list[object]] = []
    for net in (*MAIN, 'in'):
        if errors[net]:
            cells = [spread([one[column] for one in errors[net]]) for column in columns]
            rows.append([NETS[net][0], *cells, len(errors[net])])
    for net in ('ibn_a', 'ibn_b'):
        if errors[net] and errors['bn']:
            gaps = [
                difference([one[column] for one in errors[net]], [one[column] for one in errors['bn']])
                for column in columns
            ]
            rows.append([f'{NETS[net][0]} minus BN', *gaps, ''])
    return markdown(heads, rows)


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


def pacs_by_domain(found: dict, part: str, net: str, place: int) -> dict[str, list[float]]:
    """{domain: values by seed, 'mean': means over domains of the seeds that have all}."""
    values = {
        domain: {run['seed']: pacs_values(run)[place] for run in found.get((part, domain, net), [])}
        for domain in DOMAINS
    }
    whole = set.intersection(*(set(by_seed) for by_seed in values.values()))
    means = [mean(values[domain][seed] for domain in DOMAINS) for seed in sorted(whole)]
    return {**{domain: list(by_seed.values()) for domain, by_seed in values.items()}, 'mean': means}


def pacs_table(found: dict, nets: dict[str, str]) -> str:
    """nets: {net: part}; accuracies."""
    columns = [*DOMAINS, 'mean']
    new = {net: pacs_by_domain(found, part, net, 0) for net, part in nets.items()}
    own = {net: pacs_by_domain(found, part, net, 1) for net, part in nets.items()}
    rows: list[list[object]] = []
    for net in nets:
        if any(new[net].values()):
            cells = [spread(new[net][column]) for column in columns]
            rows.append([NETS[net][0], *cells, spread(own[net]['mean']), max(len(v) for v in new[net].values())])
    for net in nets:
        if net != 'bn' and len(new[net]['photo']) > 1:
            gaps = [difference(new[net][column], new['bn'][column]) for column in columns]
            rows.append([f'{NETS[net][0]} minus BN', *gaps, difference(own[net]['mean'], own['bn']['mean']), ''])
    heads = ['network', *(f'on {domain}' for domain in DOMAINS), 'mean', 'on the three it was trained on', 'seeds']
    return markdown(heads, rows)


def equal_table(found: dict) -> str:
    rows = [[run['seed'], f'{100 * run["top1"]:.2f}'] for run in found.get(('equal', 'v2', 'bn'), [])]
    return markdown(['seed', 'accuracy, %'], rows)


def text_of(found: dict) -> str:
    """All tables, each under its title."""
    text = []
    parts = {part for part, _, _ in found}
    if 'cifar10' in parts:
        for version in VERSIONS:
            text += [
                f'CIFAR-10, ResNet-20 {version}: error, %, mean ± standard deviation over seeds\n',
                cifar10_table(found, version),
            ]
        text += ['CIFAR-10: error, %, by severity\n', severity_table(found)]
        for version in VERSIONS:
            text += [
                f'CIFAR-10, ResNet-20 {version}: error, %, mean over the five severities\n',
                name_table(found, version),
            ]
    if 'equal' in parts:
        text += ['CIFAR-10, ResNet-20 v2, BN, 12 epochs\n', equal_table(found)]
    if 'pacs' in parts:
        text += [
            'PACS, ResNet-20 v1: accuracy, %, on the domain that was left out\n',
            pacs_table(found, dict.fromkeys((*MAIN, 'in'), 'pacs')),
        ]
    if 'placement' in parts:
        nets = {'bn': 'pacs', 'ibn_a': 'pacs', **dict.fromkeys(PLACED, 'placement')}
        text += ['PACS: where InstanceNorm is, and how much of it\n', pacs_table(found, nets)]
    return '\n'.join(text)
