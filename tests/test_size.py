"""The size of pictures: made of a side, a pair or a text, within bounds, and printed as short as it can be."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibnnet_mx.errors import OptionError
from ibnnet_mx.size import MAX_SIDE, Size

sides = st.integers(1, MAX_SIDE)


@given(sides, sides)
def test_every_form_of_a_size_is_the_same_size(height, width):
    size = Size(height, width)
    forms = [size, (height, width), [height, width], f'{height}x{width}', f'{height}X{width}', str(size), size.plain]
    assert {Size.of(form) for form in forms} == {size}
    assert Size.of(json.loads(json.dumps(size.plain))) == size
    assert (size.wide_high, size.sides) == ((width, height), f'{height}x{width}')


@given(sides)
def test_a_square_is_a_side(side):
    for form in (side, str(side), np.int64(side), f'{side}x{side}'):
        size = Size.of(form)
        assert (size, size.plain, str(size), size.square) == (Size(side, side), side, str(side), True)
    assert Size.of(side).small == (side <= 64)


@pytest.mark.parametrize(
    'wrong',
    [0, -3, MAX_SIDE + 1, 10**7, 2.5, True, None, '', 'big', '0x5', '5x', 'x5', '5x5x5', '1e3', '²', (3,) * 3, (3, 0)]
    + [(), ('3', '4'), f'{10**12}x3'],
)
def test_what_is_no_size_is_refused(wrong):
    with pytest.raises(
        OptionError, match='must be a side, or height x width, of 1 to 16000 pixels, such as 224'
    ) as caught:
        Size.of(wrong, 'crop')
    assert caught.value.option == 'crop'
