"""Draw the first picture of the README: errors on CIFAR-10, clean and corrupted, with BatchNorm and with IBN-a.

The SVG has no background, and its colours are readable on white and on black pages.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from statistics import mean, stdev

import tables

HERE = Path(__file__).resolve().parent
PICTURE = HERE.parents[1] / 'docs' / 'pictures' / 'ibn_errors.svg'
COLUMNS = ('clean', 'noise', 'blur', 'weather', 'digital')
NETS = {'bn': ('ResNet-20, BatchNorm', '#8b949e'), 'ibn_a': ('ResNet-20-IBN-a', '#2f81f7')}
TEXT = '#7d8590'
WIDTH, HEIGHT = 760, 330
LEFT, BOTTOM, TOP = 20, 282, 74  # the chart's edges, in pixels
HIGHEST = 36.0  # error in percent at the upper edge


def values(results: Path, version: str = 'v1') -> dict[str, dict[str, tuple[float, float]]]:
    """Return {column: {net: (mean error, standard error of the mean)}}, in percent."""
    columns = tables.cifar10_columns(tables.load(results), version)
    return {
        column: {
            net: (
                100 * mean(columns[column][net]),
                100 * stdev(columns[column][net]) / math.sqrt(len(columns[column][net])),
            )
            for net in NETS
        }
        for column in COLUMNS
    }


def height_of(percent: float) -> float:
    """Return the place of an error on the page, in pixels from above."""
    return BOTTOM - (BOTTOM - TOP) * percent / HIGHEST


def text(x: float, y: float, words: str, **attributes: str) -> str:
    """Return one line of text. Attributes replace the defaults; font_size means font-size."""
    given = {'fill': TEXT, 'font_size': '13', 'text_anchor': 'middle', **attributes}
    named = ' '.join(f'{name.replace("_", "-")}="{value}"' for name, value in given.items())
    return f'<text x="{x:.1f}" y="{y:.1f}" {named}>{words}</text>'


def bar(left: float, wide: float, colour: str, value: tuple[float, float]) -> list[str]:
    """Return a bar, its standard error as a line with two ends, and its value."""
    percent, error = value
    top, middle = height_of(percent), left + wide / 2
    high, low = height_of(percent + error), height_of(percent - error)
    line = f'M{middle:.1f} {high:.1f}V{low:.1f}M{middle - 4:.1f} {high:.1f}h8M{middle - 4:.1f} {low:.1f}h8'
    return [
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{wide}" height="{BOTTOM - top:.1f}" fill="{colour}" rx="2"/>',
        f'<path d="{line}" stroke="{TEXT}" stroke-width="1.5" fill="none"/>',
        text(middle, high - 6, f'{percent:.2f}', font_weight='600'),
    ]


def svg(measured: dict[str, dict[str, tuple[float, float]]]) -> str:
    """Return the picture of what values() returned."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="-apple-system, Segoe UI, Helvetica, Arial, sans-serif" role="img" '
        'aria-label="Errors on CIFAR-10 with BatchNorm and with IBN-a, on clean and on corrupted pictures">',
        text(
            LEFT,
            22,
            'Trained on clean pictures, tested on corrupted ones',
            text_anchor='start',
            font_size='17',
            font_weight='600',
        ),
        text(LEFT, 44, 'CIFAR-10 error in percent; lower is better', text_anchor='start'),
    ]
    for number, (label, colour) in enumerate(NETS.values()):
        x = 400 + 190 * number
        parts += [
            f'<rect x="{x}" y="33" width="12" height="12" fill="{colour}" rx="2"/>',
            text(x + 18, 44, label, text_anchor='start'),
        ]
    step, wide = (WIDTH - 2 * LEFT) / len(measured), 54
    for place, (column, by_net) in enumerate(measured.items()):
        middle = LEFT + (place + 0.5) * step
        for side, net in enumerate(NETS):
            parts += bar(middle + (side - 1) * (wide + 4) + 2, wide, NETS[net][1], by_net[net])
        parts.append(text(middle, BOTTOM + 20, column))
    parts += [
        f'<path d="M{LEFT} {BOTTOM}H{WIDTH - LEFT}" stroke="{TEXT}"/>',
        text(LEFT, HEIGHT - 8, 'Means of three seeds; lines: standard errors.', text_anchor='start', font_size='12'),
        '</svg>',
    ]
    return '\n'.join(parts) + '\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--results', type=Path, default=HERE / 'results', help='folder with the results of the runs')
    parser.add_argument('--out', type=Path, default=PICTURE, help='file to write')
    args = parser.parse_args()
    args.out.write_text(svg(values(args.results)))


if __name__ == '__main__':
    main()
