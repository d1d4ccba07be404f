"""Bars of the CPU time a picture, of a result of run.py --json:  python benchmarks/reader/plot.py FILE.json FILE.png"""

from __future__ import annotations

import json
import sys
from pathlib import Path

OURS, OTHERS, FLOOR = '#1b6ca8', '#b8bec6', '#7fb58a'


def colour(reader):
    return OURS if reader.startswith('ours') else FLOOR if reader.startswith('floor') else OTHERS


def draw(result, path):
    """The training rows, the cheapest on top, with their spread over the rounds."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    details = result['details']
    rows, labels = details['tasks']['training'], details['labels']
    names = sorted(rows, key=lambda reader: rows[reader]['cpu'], reverse=True)
    figure, axes = pyplot.subplots(figsize=(9, 0.38 * len(names) + 1.4), layout='constrained')
    values = [rows[name]['cpu'] for name in names]
    spread = [
        [rows[name]['cpu'] - rows[name]['low'] for name in names],
        [rows[name]['high'] - rows[name]['cpu'] for name in names],
    ]
    axes.barh(range(len(names)), values, color=[colour(name) for name in names], xerr=spread, ecolor='#555555')
    ends = [rows[name]['high'] for name in names]
    for number, (value, end) in enumerate(zip(values, ends)):
        axes.text(end + max(ends) * 0.012, number, f'{value:.2f}', va='center', fontsize=9)
    axes.set_yticks(range(len(names)), [labels[name] for name in names], fontsize=9)
    axes.set_xlim(0, max(ends) * 1.1)
    axes.set_xlabel('CPU milliseconds a picture, user and system, of all threads and processes')
    axes.set_title('JPEG to 3x224x224, augmentation level 2, float32 where nothing is said', fontsize=11, loc='left')
    for side in ('top', 'right', 'left'):
        axes.spines[side].set_visible(False)
    axes.tick_params(left=False)
    figure.savefig(path, dpi=130)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    draw(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])


if __name__ == '__main__':
    main()
