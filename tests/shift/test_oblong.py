"""Shifts of pictures that are not square."""

from __future__ import annotations

import numpy as np
import pytest

from ibnnet_mx import shift
from tests.shift.pictures import pictures

TURNS_ALIKE = ('brightness', 'contrast', 'invert', 'grayscale', 'defocus_blur', 'zoom_blur', 'pixelate')


@pytest.mark.parametrize('shape', [(64, 32), (8, 90), (130, 70)])
@pytest.mark.parametrize('name', shift.NAMES)
def test_every_shift_takes_any_shape(name, shape):
    x = pictures(2, 130)[:, : shape[0], : shape[1]]
    for severity in (1, 5):
        shifted = shift.apply(x, [3, 4], name, severity)
        assert (shifted.dtype, shifted.shape) == (np.uint8, x.shape)
        assert np.array_equal(shift.apply(x[1:], [4], name, severity)[0], shifted[1])
    assert not np.array_equal(shifted, x)


@pytest.mark.parametrize('name', TURNS_ALIKE)
def test_a_shift_without_a_direction_does_the_same_to_a_picture_on_its_side(name):
    x = pictures(2, 96)[:, :, :48]
    turned = np.ascontiguousarray(x.transpose(0, 2, 1, 3))
    one, other = shift.apply(x, [0, 1], name, 3), shift.apply(turned, [0, 1], name, 3)
    assert np.abs(one.astype(int) - other.transpose(0, 2, 1, 3)).max() <= 2
