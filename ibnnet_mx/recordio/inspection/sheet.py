"""A contact sheet: pictures of a .rec in rows, as they are or as training changes them, with their labels below."""

from __future__ import annotations

from typing import Iterable, NamedTuple, Sequence

import cv2
import numpy as np

from ibnnet_mx.errors import OptionError
from ibnnet_mx.recordio.format import RecordError, RecordFile
from ibnnet_mx.recordio.inspection import letters
from ibnnet_mx.recordio.pixels import augment, opencv
from ibnnet_mx.recordio.pixels.augment import Augment
from ibnnet_mx.recordio.pixels.pictures import PictureError
from ibnnet_mx.recordio.pixels.region import Decoded, open_picture
from ibnnet_mx.size import Pixels, Size

SUFFIXES = ('.png', '.jpg', '.jpeg', '.webp')
PAPER, INK, GREY, EMPTY = 255, 40, 130, 238  # grey values
GREEN, RED, FRAME = (70, 150, 30), (40, 40, 210), 2  # BGR; pixels of the frame round an answer
LEAST = 112  # pixels; smaller tiles are enlarged, so that labels fit below them
USUAL = 900_000  # pixels of a sheet; larger tiles are shrunk to it, but not below LEAST: a PNG stays below 2 MB
MARGIN, GAP, TIGHT, LINE = 12, 12, 2, 18  # pixels: around the sheet, between records, between tiles of one, of a text
SHAPE = 1.4  # width of a sheet over its height, as near as the tiles allow
MOST_PIXELS = 1 << 27
FONT, LETTERS, FINE = cv2.FONT_HERSHEY_SIMPLEX, 0.4, 4  # texts are drawn FINE times as large, then shrunk: smoother


class Draws(NamedTuple):
    """The pictures beside each record: `often` draws of the changes that training makes to it, of epochs 0, 1 ..."""

    changes: Augment
    often: int
    seed: int = 0


def spread(records: int, count: int) -> np.ndarray:
    """Return int64 (count or fewer,): positions evenly over 0..records-1, the first and the last among them."""
    return np.unique(np.linspace(0, records - 1, min(count, records)).round().astype(np.int64))


def _fitted(picture: np.ndarray, size: Size) -> np.ndarray:
    """Return all of a picture on a tile, in the middle."""
    scale = min(side / length for side, length in zip(size, picture.shape[:2]))
    height, width = (max(round(length * scale), 1) for length in picture.shape[:2])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(picture, (width, height), interpolation=method) if scale != 1 else picture
    tile = np.full((*size, 3), EMPTY, np.uint8)
    top, left = (size.height - height) // 2, (size.width - width) // 2
    tile[top : top + height, left : left + width] = small
    return tile


def _tiles(picture: Decoded, position: int, size: Size, draws: Draws | None) -> list[np.ndarray]:
    """Return BGR uint8 (height, width, 3): the picture, then the draws of training."""
    tiles = [_fitted(picture.whole(), size)]
    if draws is not None:
        sizes, records = np.array([[picture.width, picture.height]]), np.array([position])
        for epoch in range(draws.often):
            u = augment.uniforms(draws.seed, epoch, records)
            tiles += opencv.views(picture, augment.draw_rows(draws.changes, u, sizes, size))
    return tiles


def _text(words: str, width: int, grey: int) -> np.ndarray:
    """Return uint8 (LINE, width): one line, cut with dots if it is too long. OpenCV's own letters are ASCII alone."""
    if not words.isascii():
        line = letters.drawn(words, width, LINE, LINE - 5)
        if line is not None:
            return np.rint(PAPER - (PAPER - grey) * (line / 255)).astype(np.uint8)
    words = words.encode('ascii', 'replace').decode()
    fits = words
    while fits and cv2.getTextSize(fits, FONT, LETTERS * FINE, FINE)[0][0] > (width - 1) * FINE:
        words = words[:-1]
        fits = f'{words.rstrip()}..' if words else ''
    large = np.full((LINE * FINE, width * FINE), PAPER, np.uint8)
    cv2.putText(large, fits, (0, (LINE - 5) * FINE), FONT, LETTERS * FINE, (grey,), FINE, cv2.LINE_AA)
    return cv2.resize(large, (width, LINE), interpolation=cv2.INTER_AREA)


def _label(label: np.ndarray, names: Sequence[str]) -> str:
    first = float(label[0])
    if len(label) == 1 and first.is_integer() and 0 <= first < len(names):
        return f'{first:g} {names[int(first)]}'
    return ' '.join(f'{value:g}' for value in label[:8])


class Cell(NamedTuple):
    """Tiles of one size side by side, BGR uint8 (height, width, 3), and two lines of text below them.

    right: True gives a green frame, False a red one and a red second line, None neither.
    """

    tiles: list[np.ndarray]
    above: str
    below: str
    right: bool | None = None


def _cell(records: RecordFile, position: int, size: Size, names: Sequence[str], draws: Draws | None) -> Cell:
    number = f'#{position}'
    try:
        item = records.read(position)
        picture = open_picture(item.payload)
        tiles = _tiles(picture, position, size, draws)
        return Cell(tiles, _label(item.label, names), f'{number}  {picture.height}x{picture.width}')
    except (RecordError, PictureError, cv2.error) as error:
        why = str(error) if isinstance(error, PictureError) else 'cannot be read'
        empty = np.full((*size, 3), EMPTY, np.uint8)
        return Cell([empty] * (1 + (draws.often if draws else 0)), why, number)


def _joined(cell: Cell, shown: Size) -> np.ndarray:
    """Return the tiles of a record side by side, each of the shown size, and its texts below them."""
    tiles = [_resized(tile, shown) for tile in cell.tiles]
    strip = np.full((shown.height, TIGHT, 3), PAPER, np.uint8)
    row = np.concatenate([part for tile in tiles for part in (strip, tile)][1:], axis=1)
    above, below = (_text(words, row.shape[1], grey) for words, grey in ((cell.above, INK), (cell.below, GREY)))
    paper = np.full((*below.shape, 3), PAPER, np.uint8)
    ink = (PAPER - below[..., None].astype(np.float32)) / (PAPER - GREY)
    colour = RED if cell.right is False else (GREY,) * 3
    coloured = np.rint(paper - ink * (PAPER - np.array(colour))).clip(0, 255).astype(np.uint8)
    return np.concatenate([row, cv2.cvtColor(above, cv2.COLOR_GRAY2BGR), coloured])


def _resized(tile: np.ndarray, shown: Size) -> np.ndarray:
    if Size(*tile.shape[:2]) == shown:
        return np.array(tile)
    method = cv2.INTER_AREA if shown.height < len(tile) else cv2.INTER_NEAREST
    return cv2.resize(tile, shown[::-1], interpolation=method)


def columns(count: int, width: int, height: int) -> int:
    """Return how many cells of width x height to put in a row, so that `count` of them make a sheet of about SHAPE."""

    def distance(across: int) -> float:
        down = -(-count // across)
        empty = across * down - count
        return abs(np.log(across * width / (down * height) / SHAPE)) + empty / count

    return min(range(1, count + 1), key=distance)


def draw_sheet(
    records: RecordFile, count: int, pixels: Pixels, names: Sequence[str], draws: Draws | None = None
) -> np.ndarray:
    """Return BGR uint8 (H, W, 3): `count` records evenly spread, as tiles of a side or (height, width).

    Raises OptionError if the sheet would be too large.
    """
    size = Size.of(pixels, 'size')
    positions = spread(len(records), count).tolist()
    tiles = 1 + (draws.often if draws else 0)
    _check_size(len(positions), tiles, size, 'draw fewer (`count`), smaller ones (`size`) or fewer `draws`')
    return _laid(len(positions), tiles, size, (_cell(records, place, size, names, draws) for place in positions))


def lay_cells(cells: Sequence[Cell], way_out: str) -> np.ndarray:
    """Return BGR uint8 (H, W, 3): cells with equally many and equally large tiles.

    Raises OptionError, with the way out, if the sheet would be too large.
    """
    tiles, size = len(cells[0].tiles), Size(*cells[0].tiles[0].shape[:2])
    _check_size(len(cells), tiles, size, way_out)
    return _laid(len(cells), tiles, size, cells)


def _shown_size(count: int, tiles: int, size: Size) -> Size:
    """Return the size of a tile on the sheet."""
    if size.width < LEAST:
        scale = -(-LEAST // size.width)
        return Size(size.height * scale, size.width * scale)
    share = (USUAL / (count * tiles * size.height * size.width)) ** 0.5
    share = min(max(share, LEAST / size.width), 1)
    return Size(round(size.height * share), round(size.width * share))


def _cell_size(tiles: int, shown: Size) -> tuple[int, int]:
    """Return width and height of a cell with the gap between it and the next."""
    return tiles * (shown.width + TIGHT) - TIGHT + GAP, shown.height + 2 * LINE + GAP


def _check_size(count: int, tiles: int, size: Size, way_out: str) -> None:
    width, height = _cell_size(tiles, size)  # as it is drawn, before it is shrunk
    if count * width * height > MOST_PIXELS:
        raise OptionError(
            None, None, f'a sheet of {count} records, {width}x{height} pixels each, is too large: {way_out}'
        )


def _laid(count: int, tiles: int, size: Size, cells: Iterable[Cell]) -> np.ndarray:
    shown = _shown_size(count, tiles, size)
    width, height = _cell_size(tiles, shown)
    across = columns(count, width, height)
    down = -(-count // across)
    paper = np.full((down * height - GAP + 2 * MARGIN, across * width - GAP + 2 * MARGIN, 3), PAPER, np.uint8)
    for number, cell in enumerate(cells):
        joined = _joined(cell, shown)
        top, left = MARGIN + number // across * height, MARGIN + number % across * width
        paper[top : top + joined.shape[0], left : left + joined.shape[1]] = joined
        if cell.right is not None:  # round the tiles, so that none of their pixels is hidden
            low, right = top + shown.height, left + joined.shape[1]
            frame = paper[top - FRAME : low + FRAME, left - FRAME : right + FRAME]
            frame[:] = GREEN if cell.right else RED
            frame[FRAME:-FRAME, FRAME:-FRAME] = joined[: shown.height]
    return paper


def usual_side(records: RecordFile) -> int:
    """Return 224, or the side of the first picture that can be read if it is smaller than 64 (CIFAR-10: 32)."""
    for position in range(min(len(records), 8)):
        try:
            picture = open_picture(records.read(position).payload)
        except (RecordError, PictureError):
            continue
        return max(picture.width, picture.height) if max(picture.width, picture.height) <= 64 else 224
    return 224
