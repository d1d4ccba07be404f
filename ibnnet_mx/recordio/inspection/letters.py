"""Letters of any alphabet in pictures, by the fonts that matplotlib finds. Without matplotlib there is ASCII alone."""

from __future__ import annotations

import functools
import importlib.util
import warnings
from typing import TYPE_CHECKING, Any, Iterable

if TYPE_CHECKING:
    import numpy as np

SIZE, DPI = 12, 72  # points of a text, dots an inch: the height of the ASCII letters beside it
UNIT = 64  # parts of a pixel in which FreeType counts


def families(texts: Iterable[str]) -> list[str]:
    """Return font families for matplotlib that have the letters of some texts, DejaVu Sans first."""
    from matplotlib import font_manager

    names = [font_manager.FontProperties(fname=path).get_name() for path in _paths(_letters(texts))]
    return list(dict.fromkeys(['DejaVu Sans', *names]))


def missing(texts: Iterable[str]) -> str:
    """Return the letters that no font here has; '' if there are none, or nothing to tell by."""
    letters = _letters(texts)
    if importlib.util.find_spec('matplotlib') is None:
        return ''.join(letter for letter in letters if not letter.isascii())
    available = set().union(*(_charmap(path) for path in _paths(letters)))
    return ''.join(letter for letter in letters if ord(letter) not in available)


def drawn(words: str, width: int, height: int, base: int) -> np.ndarray | None:
    """Return a line of text, uint8 (height, width), 0 for paper and 255 for ink; None without matplotlib.

    base: the row of the letters' lower edge. A text that is too long is cut, with dots.
    """
    if importlib.util.find_spec('matplotlib') is None:
        return None
    import numpy as np  # here: --help of the commands that draw has no time for it
    from matplotlib.ft2font import FT2Font

    paths = _paths(_letters([words]))
    best = max(paths, key=lambda path: sum(ord(letter) in _charmap(path) for letter in words))
    font: Any = FT2Font(best)
    font.set_size(SIZE, DPI)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # about letters that the font lacks, which missing() tells
        fits = words
        font.set_text(fits)
        while words and font.get_width_height()[0] > (width - 1) * UNIT:
            words = words[:-1]
            fits = f'{words.rstrip()}..'
            font.set_text(fits)
    line = np.zeros((height, width), np.uint8)
    if not fits.strip():
        return line
    font.draw_glyphs_to_bitmap(antialiased=True)
    image = np.asarray(font.get_image())
    bottom = min(base + font.get_descent() // UNIT, height)
    rows, columns = min(len(image), bottom), min(image.shape[1], width)
    line[bottom - rows : bottom, :columns] = image[-rows:, :columns]
    return line


def _letters(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({letter for text in texts for letter in text if letter.isprintable()}))


@functools.lru_cache(maxsize=None)
def _paths(letters: tuple[str, ...]) -> tuple[str, ...]:
    """Return the files of the fonts that are needed for some letters: DejaVu Sans, then those with what it lacks."""
    from matplotlib import font_manager

    paths = [font_manager.findfont('DejaVu Sans')]
    left = {ord(letter) for letter in letters} - _charmap(paths[0])
    for entry in sorted(font_manager.fontManager.ttflist, key=lambda entry: (entry.style != 'normal', entry.fname)):
        if not left:
            break
        more = left & _charmap(entry.fname)
        if more:
            paths.append(entry.fname)
            left -= more
    return tuple(paths)


@functools.lru_cache(maxsize=None)
def _charmap(path: str) -> frozenset[int]:
    """Return the letters that a font has, as numbers."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except (RuntimeError, OSError):  # a file that is no font, or is gone
        return frozenset()
