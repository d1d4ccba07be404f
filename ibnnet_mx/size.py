"""The size of pictures: Size(height, width), made of 224, (256, 128) or '256x128'. Pure Python."""

from __future__ import annotations

import re
from numbers import Integral
from typing import Any, NamedTuple, Sequence, Union

from ibnnet_mx.errors import OptionError

MAX_SIDE = 16000  # pixels; a longer side is no picture to train on (a strip), and JPEG itself ends at 65,500
SMALL = 64  # pictures up to this size are brought to size whole, and their networks have the stem for CIFAR-10
Pixels = Union[int, Sequence[int], str]  # what Size.of() takes


class Size(NamedTuple):
    """Height and width in pixels. str() gives 224 for a square, else 256x128: the height comes first."""

    height: int
    width: int

    @classmethod
    def of(cls, size: Any, option: str = 'image_size') -> Size:
        """Return the Size of a side (224), of (height, width), or of a text ('224', '256x128').

        Raises OptionError for `option` unless both sides are whole numbers from 1 to MAX_SIDE.
        """
        if isinstance(size, cls):
            return size
        sides: Any = size
        if isinstance(size, str):
            parts = re.fullmatch(r'([0-9]{1,9})(?:x([0-9]{1,9}))?', size.lower())
            sides = [int(part) for part in parts.groups() if part] if parts else None
        if isinstance(sides, Integral):
            sides = [sides]
        whole = isinstance(sides, (list, tuple)) and len(sides) in (1, 2) and all(map(_is_side, sides))
        if not whole:
            raise OptionError(
                option,
                'x'.join(map(str, size)) if isinstance(size, (list, tuple)) else size,
                f'must be a side, or height x width, of 1 to {MAX_SIDE} pixels, such as 224 or 256x128',
            )
        return cls(int(sides[0]), int(sides[-1]))

    @property
    def square(self) -> bool:
        """True if both sides are equal."""
        return self.height == self.width

    @property
    def plain(self) -> int | Size:
        """The side of a square, else the size itself: the form that facts and reports hold."""
        return self.height if self.square else self

    @property
    def small(self) -> bool:
        """True if both sides have at most SMALL pixels."""
        return max(self) <= SMALL

    @property
    def wide_high(self) -> tuple[int, int]:
        """Width and height, in the order of OpenCV and of boxes."""
        return self.width, self.height

    @property
    def sides(self) -> str:
        """Both sides as a text: 224x224."""
        return f'{self.height}x{self.width}'

    def __str__(self) -> str:
        return str(self.height) if self.square else self.sides


def _is_side(side: Any) -> bool:
    return isinstance(side, Integral) and not isinstance(side, bool) and 1 <= int(side) <= MAX_SIDE
