"""Memory against depth, of a result of run.py --json:  python benchmarks/memory/plot.py FILE.json FILE.png"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.memory.ways import BATCH, DEPTHS, WAYS  # noqa: E402

STYLES = {  # colour and line
    'plain': ('#1b6ca8', '--'),
    'memonger': ('#1b6ca8', '-'),
    'torch': ('#8a919b', '--'),
    'torch_checkpoint': ('#8a919b', '-'),
}
NAMES = {name: way.label for name, way in WAYS.items()}
NAMES.update(torch='torch', torch_checkpoint='torch, checkpoint for each unit')


def lines(found):
    """{way: [(depth, GB)]} of the ways that were measured at two depths or more."""
    result = {}
    for name in WAYS:
        points = [(depth, found.get(model, {}).get(f'{name}_mb')) for depth, model in DEPTHS.items()]
        points = [(depth, mb / 1e3) for depth, mb in points if mb is not None]
        if len(points) > 1:
            result[name] = points
    return result


def apart(heights, least):
    """The same heights, moved up so far that neighbours are `least` apart: for texts beside the ends of lines."""
    result, last = {}, None
    for name, height in sorted(heights.items(), key=lambda pair: pair[1]):
        last = height if last is None else max(height, last + least)
        result[name] = last
    return result


def draw(found, path):
    """ValueError: there is no line to draw."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    drawn = lines(found)
    if not drawn:
        raise ValueError(f'a plot needs two of {", ".join(DEPTHS.values())}: they were not measured')
    figure, axes = pyplot.subplots(figsize=(8, 4.6), layout='constrained')
    top = max(gigabytes for points in drawn.values() for _, gigabytes in points)
    for name, points in drawn.items():
        colour, line = STYLES[name]
        axes.plot(*zip(*points), line, color=colour, marker='o', markersize=4)
    for name, height in apart({name: points[-1][1] for name, points in drawn.items()}, top / 18).items():
        text = dict(textcoords='offset points', va='center', fontsize=9, color=STYLES[name][0])
        axes.annotate(NAMES[name], (drawn[name][-1][0], height), (9, 0), **text)
    axes.set_xticks(list(DEPTHS), [f'ResNet-{depth}' for depth in DEPTHS], fontsize=9)
    axes.set_xlim(min(DEPTHS) - 8, max(DEPTHS) + 64)
    axes.set_ylim(0, top * 1.08)
    axes.set_ylabel('GB above the idle process')
    axes.set_title(f'Peak memory of training, batch {BATCH} at 224x224, float32', fontsize=11, loc='left')
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
    axes.spines['bottom'].set_bounds(min(DEPTHS), max(DEPTHS))
    axes.grid(axis='y', color='#e5e7ea')
    axes.set_axisbelow(True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        draw(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])
    except (OSError, ValueError, ModuleNotFoundError) as error:
        sys.exit(f'plot.py: {error}')


if __name__ == '__main__':
    main()
