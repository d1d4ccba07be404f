"""What run.py prints: tables of the medians, and whether the targets are met."""

from __future__ import annotations

import statistics
from typing import NamedTuple

PEERS = ('tfdata_matrix', 'tfdata_hsv', 'dali', 'ffcv', 'torchvision_matrix', 'torchvision_io', 'torchvision_pil')
USUAL = ('tfdata_hsv', 'dali', 'torchvision_io', 'torchvision_pil')  # with the colour changes that they bring
MEMORY_LIMIT = 300  # MB
SETTLED, GROWTH = 4, 0.02  # epochs until memory is as it stays, and the part by which it may still move


class Target(NamedTuple):
    """bigger / smaller, of the task's medians `what`, must be at least `least` (or, with `most`, at most that)."""

    text: str
    task: str
    bigger: tuple[str, ...]
    smaller: str
    least: float
    what: str = 'cpu'
    most: bool = False


IRI = ('imagerecorditer',)
IRI_ROWS = ('imagerecorditer', 'imagerecorditer_index', 'imagerecorditer_default')
TARGETS = (
    Target('CPU, ImageRecordIter over ours with restart markers', 'training', IRI, 'ours_restart', 5),
    Target('CPU, the best float32 row of ImageRecordIter over the same', 'training', IRI_ROWS, 'ours_restart', 5),
    Target('CPU, ImageRecordIter over ours on a plain .rec', 'training', IRI, 'ours_plain', 3.5),
    Target(
        'wall clock, ImageRecordIter with its default threads over ours',
        'training',
        ('imagerecorditer_default',),
        'ours_restart',
        10,
        'wall',
    ),
    Target('CPU, the best of the peers over ours with restart markers', 'training', PEERS, 'ours_restart', 2.5),
    Target(
        'CPU, the best of those with colour changes of their own over the same', 'training', USUAL, 'ours_restart', 2.5
    ),
    Target('CPU, ours with restart markers over its floor', 'training', ('ours_restart',), 'floor', 1.3, most=True),
    Target('CPU of validation, ImageRecordIter over ours', 'validation', IRI, 'ours_restart', 2.5),
    Target('CPU of CIFAR, ImageRecordIter over ours', 'cifar', IRI, 'ours', 10),
)


def medians(found):
    """{task: {reader: {'cpu', 'wall', 'low', 'high'}}} from {(task, reader): results of the rounds}."""
    result = {}
    for (task, reader), rows in found.items():
        cell = {what: statistics.median(row[what] for row in rows) for what in ('cpu', 'wall')}
        cell.update(low=min(row['cpu'] for row in rows), high=max(row['cpu'] for row in rows))
        result.setdefault(task, {})[reader] = cell
    return result


def table(rows, labels):
    """Of one task; the ratio is that of CPU time to the first row's."""
    lines = [
        '| reader | CPU ms a picture (lowest to highest) | pictures/s/core | wall pictures/s | CPU ratio |',
        '|---|---|---|---|---|',
    ]
    first = next(iter(rows.values()))['cpu']
    for reader, cell in rows.items():
        spread = f'{cell["cpu"]:.3g}'
        if cell['low'] < cell['high']:
            spread += f' ({cell["low"]:.3g} to {cell["high"]:.3g})'
        speeds = f'{1e3 / cell["cpu"]:.0f} | {1e3 / cell["wall"]:.0f}'
        lines.append(f'| {labels[reader]} | {spread} | {speeds} | {cell["cpu"] / first:.2f} |')
    return '\n'.join(lines)


def verdict(good, text):
    return f'{"PASS" if good else "MISS"}  {text}'


def judged(target, result):
    rows = result.get(target.task, {})
    above = {name: rows[name][target.what] for name in target.bigger if name in rows}
    if not above or target.smaller not in rows:
        return f'----  {target.text}: not measured'
    best = min(above, key=above.get)
    below = rows[target.smaller][target.what]
    ratio = above[best] / below
    limit = f'at {"most" if target.most else "least"} {target.least:g}'
    good = ratio <= target.least if target.most else ratio >= target.least
    return verdict(good, f'{target.text}: {ratio:.2f} ({best} {above[best]:.3g} / {below:.3g} ms), wanted {limit}')


def memory_lines(found, task):
    """found: {'uint8' or 'float32': {'after': MB after each epoch, 'most': MB}}."""
    for kind, seen in found.items():
        settled = seen['after'][SETTLED:]
        steady = max(settled) <= settled[0] * (1 + GROWTH)
        steps = ((1, seen['after'][0]), (SETTLED + 1, settled[0]), (len(seen['after']), settled[-1]))
        course = ', '.join(f'{megabytes:.0f} MB after epoch {epoch}' for epoch, megabytes in steps)
        yield verdict(steady, f'memory of {task}, {kind}, stays: {course}')
        yield verdict(
            seen['most'] < MEMORY_LIMIT,
            f'memory of {task}, {kind}, at most {seen["most"]:.0f} MB, wanted below {MEMORY_LIMIT}',
        )


def statistics_table(found, labels):
    lines = ['| task | reader | mean R, G, B | deviation within a picture R, G, B |', '|---|---|---|---|']
    for (task, reader), seen in found.items():
        columns = [', '.join(f'{value:.1f}' for value in seen[key]) for key in ('mean', 'std')]
        lines.append(f'| {task} | {labels[reader]} | {columns[0]} | {columns[1]} |')
    return '\n'.join(lines)
