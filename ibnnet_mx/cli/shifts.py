"""ibnnet shifts PICTURE SHEET: draw a picture under shifts, a row for each shift and a column for each severity."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from ibnnet_mx.cli.options import Parser, add_exif, add_image_size, run
from ibnnet_mx.files.outputs import check_writable, spare_inputs, write_output
from ibnnet_mx.shift.table import NAMES, chosen
from ibnnet_mx.size import Pixels, Size

if TYPE_CHECKING:
    import numpy as np

ABOUT = 'Draw a picture under shifts, a row for each shift and a column for each severity.'
EXAMPLES = ('ibnnet shifts cat.jpg sheet.png', 'ibnnet shifts cat.jpg fog.png --shift fog:1,fog:3,noise')
SUFFIXES = ('.png', '.jpg', '.jpeg', '.webp')
BESIDE = 3  # columns of rows on a sheet
LEAST = 96  # pixels; smaller pictures are enlarged
LINE, GAP = 18, 4  # pixels: height of a line of text, gap between tiles


def make_parser(prog: str = 'ibnnet shifts') -> Parser:
    usage = '%(prog)s PICTURE SHEET [options]'
    parser = Parser(EXAMPLES, prog=prog, usage=usage, description=ABOUT)
    add = parser.add_argument
    add('picture', metavar='PICTURE', help='a picture file')
    add('sheet', metavar='SHEET', help=f'the file to write: {", ".join(SUFFIXES)}')
    add('--shift', metavar='SHIFTS', help='shifts such as fog:3,noise; unset: all at severities 1, 3 and 5')
    text = 'size of the central window, such as 256x128; unset: 224'
    add_image_size(add, '--size', dest='size', text=text)
    add('--seed', type=int, default=0, help='seed of the random numbers')
    add_exif(add)
    return parser


def middle(path: str, pixels: Pixels, exif: str = 'apply') -> np.ndarray:
    """Return the largest central window of a picture file, brought to a size: uint8 (H, W, 3), RGB.

    Raises ValueError, which names the file.
    """
    import cv2
    import numpy as np

    from ibnnet_mx.recordio.pixels.pictures import PictureError, read_picture

    try:
        picture = read_picture(path, exif=exif)
    except PictureError as error:
        raise ValueError(f'PICTURE {path} {error}') from None
    (height, width), size = picture.shape[:2], Size.of(pixels)
    scale = min(height / size.height, width / size.width)
    high, wide = (max(round(side * scale), 1) for side in size)
    top, left = (height - high) // 2, (width - wide) // 2
    method = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    small = cv2.resize(picture[top : top + high, left : left + wide], size.wide_high, interpolation=method)
    return np.ascontiguousarray(small[:, :, ::-1])


def _write(paper: np.ndarray, text: str, left: int, top: int) -> None:
    import cv2

    grey, start = (40, 40, 40), (left, top + LINE - 5)
    cv2.putText(paper, text, start, cv2.FONT_HERSHEY_SIMPLEX, 0.45, grey, 1, cv2.LINE_AA)


def drawn(picture: np.ndarray, wanted: list[tuple[str, int]], seed: int) -> np.ndarray:
    """Return the sheet, uint8 (H, W, 3), RGB: for each name a row with the picture at its severities.

    The rows are laid in BESIDE columns. The severity is written above each column of pictures.
    """
    import numpy as np

    from ibnnet_mx.shift import apply

    times = -(-LEAST // min(picture.shape[:2]))
    names, levels = list(dict.fromkeys(name for name, _ in wanted)), sorted({level for _, level in wanted})
    step, across = picture.shape[1] * times + GAP, min(BESIDE, len(names))
    wide, high = step * len(levels) + 2 * GAP, picture.shape[0] * times + GAP + LINE
    down = -(-len(names) // across)
    paper = np.full((LINE + down * high, across * wide, 3), 255, np.uint8)
    for number, name in enumerate(names):
        top, left = LINE + number % down * high, number // down * wide
        _write(paper, name, left, top)
        for column, level in enumerate(levels):
            if top == LINE:
                _write(paper, f'severity {level}', left + column * step, 0)
            if (name, level) in wanted:
                tile = apply(picture[None], [0], name, level, seed)[0].repeat(times, axis=0).repeat(times, axis=1)
                start = left + column * step
                paper[top + LINE : top + LINE + len(tile), start : start + tile.shape[1]] = tile
    return paper


def draw(args: argparse.Namespace) -> None:
    import cv2

    if os.path.splitext(args.sheet)[1].lower() not in SUFFIXES:
        raise ValueError(f'SHEET {args.sheet}: the name must end in {", ".join(SUFFIXES)}')
    size = Size.of(224 if args.size is None else args.size)
    if not 8 <= min(size) <= max(size) <= 1024:
        raise ValueError(f'--image-size {size} must be from 8 to 1024')
    if args.seed < 0:
        raise ValueError(f'--seed {args.seed} must not be below 0')
    spare_inputs([args.picture], {'SHEET': args.sheet})
    check_writable('SHEET', args.sheet)
    default = [(name, level) for name in NAMES for level in (1, 3, 5)]
    wanted = default if args.shift is None else chosen(args.shift)
    paper = drawn(middle(args.picture, size, args.exif), wanted, args.seed)
    done, encoded = cv2.imencode(os.path.splitext(args.sheet)[1], paper[:, :, ::-1])
    if not done:
        raise ValueError(f'SHEET {args.sheet}: {paper.shape[1]}x{paper.shape[0]} pixels are too many; use .png')
    write_output('SHEET', args.sheet, encoded.tobytes())


def main(argv: list[str] | None = None, prog: str = 'ibnnet shifts') -> int:
    return run(draw, make_parser(prog), argv)
