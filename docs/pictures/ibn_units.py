"""Draw where IBN-a and IBN-b put InstanceNorm in a bottleneck unit (arXiv:1807.09441): ibn_units.svg beside this file.

The SVG has no background, and its colours are readable on white and on black pages.
"""

from __future__ import annotations

from pathlib import Path

PICTURE = Path(__file__).with_suffix('.svg')
TEXT, CONV, BATCH, INSTANCE = '#7d8590', '#6e7681', '#2f81f7', '#db6d28'
WIDTH, HEIGHT, BOX, STEP = 760, 486, 26, 36  # pixels; STEP: from one box to the next
UNITS = {  # title: the rows of boxes from above; a row of two boxes is split by channels
    'plain': ['1x1 conv', 'BN', 'ReLU', '3x3 conv', 'BN', 'ReLU', '1x1 conv', 'BN', '+', 'ReLU'],
    'IBN-a': ['1x1 conv', ('IN', 'BN'), 'ReLU', '3x3 conv', 'BN', 'ReLU', '1x1 conv', 'BN', '+', 'ReLU'],
    'IBN-b': ['1x1 conv', 'BN', 'ReLU', '3x3 conv', 'BN', 'ReLU', '1x1 conv', 'BN', '+', 'IN', 'ReLU'],
}
COLOURS = {'BN': BATCH, 'IN': INSTANCE, 'ReLU': 'none', '+': 'none'}


def box(left: float, top: float, wide: float, words: str) -> str:
    """Return one box with its words. Boxes without a colour have an outline."""
    colour = COLOURS.get(words, CONV)
    ink = TEXT if colour == 'none' else '#ffffff'
    return (
        f'<rect x="{left}" y="{top}" width="{wide}" height="{BOX}" rx="4" fill="{colour}" stroke="{TEXT}"/>'
        f'<text x="{left + wide / 2}" y="{top + 18}" fill="{ink}">{words}</text>'
    )


def unit(middle: float, title: str, rows: list) -> list[str]:
    """Return the drawing of one unit, with its shortcut at the left."""
    wide, top = 130, 50
    left = middle - wide / 2
    parts = [f'<text x="{middle}" y="22" fill="{TEXT}" font-size="17" font-weight="600">{title}</text>']
    gaps = ''.join(f'M{middle} {top + STEP * number - STEP + BOX}v{STEP - BOX}' for number in range(len(rows) + 1))
    parts.append(f'<path d="M{middle} {top - 18}v8{gaps}" stroke="{TEXT}"/>')
    level = top + STEP * rows.index('+') + BOX / 2
    turn = left - 24
    parts.append(f'<path d="M{middle} {top - 12}H{turn}V{level}H{left}" stroke="{TEXT}" fill="none"/>')
    parts.append(
        f'<path d="M{left - 7} {level - 4}L{left} {level}L{left - 7} {level + 4}" stroke="{TEXT}" fill="none"/>'
    )
    for number, row in enumerate(rows):
        y = top + STEP * number
        names = row if isinstance(row, tuple) else (row,)
        share = (wide - 6 * (len(names) - 1)) / len(names)
        parts += [box(left + place * (share + 6), y, share, name) for place, name in enumerate(names)]
    return parts


def svg() -> str:
    """Return the picture of all units."""
    label = 'A plain bottleneck unit, one with IBN-a and one with IBN-b'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="-apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="13" text-anchor="middle" '
        f'role="img" aria-label="{label}">'
    ]
    for number, (title, rows) in enumerate(UNITS.items()):
        parts += unit((number + 0.5) * WIDTH / len(UNITS) + 10, title, rows)
    words = 'BN: BatchNorm. IN: InstanceNorm. IBN-a normalises half of the channels by each.'
    parts += [f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" fill="{TEXT}">{words}</text>', '</svg>']
    return '\n'.join(parts) + '\n'


if __name__ == '__main__':
    PICTURE.write_text(svg())
