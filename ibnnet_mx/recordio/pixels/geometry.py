"""The geometry of views as numbers: a ROW for each view, computed without pixels and carried out elsewhere.

augment and view compute rows, opencv and native carry them out. So both give the same pictures.
"""

from __future__ import annotations

import numpy as np

from ibnnet_mx.size import Size

NONE, WARP, LINEAR, AREA = range(4)

# From a picture to width x height pixels; fast.h says the same in C.
# WARP: pixel (x, y) is at (m0 x + m1 y + m2, m3 x + m4 y + m5), bilinear, the row's `fill` outside of the picture.
# LINEAR, AREA: `box` (left, top, right, bottom) brought to full_width x full_height, of that the window at x, y.
STEP = np.dtype(
    [('matrix', 'f8', (6,)), ('box', 'i4', (4,))]
    + [(name, 'i4') for name in ('kind', 'width', 'height', 'full_width', 'full_height', 'x', 'y', 'unused')]
)
# `last` gives the view, `first` (or NONE) a picture that it is taken of. hls: changes in OpenCV's 8-bit units.
ROW = np.dtype(
    [('first', STEP), ('last', STEP), ('mirror', 'i4'), ('hls', 'i4', (3,)), ('fill', 'i4'), ('unused', 'i4')]
)


def warp(steps: np.ndarray, matrix: np.ndarray, width: np.ndarray | int, height: np.ndarray | int) -> None:
    """Make steps (n,) warps by matrix (n, 6)."""
    steps['kind'], steps['matrix'], steps['width'], steps['height'] = WARP, matrix, width, height


def resize(steps: np.ndarray, box: np.ndarray, full: np.ndarray, kind: np.ndarray | int) -> None:
    """Make steps (n,) bring box (n, 4) to all of full (n, 2): width and height."""
    steps['kind'], steps['box'] = kind, box
    steps['full_width'], steps['full_height'] = steps['width'], steps['height'] = full.T


def cut(steps: np.ndarray, size: Size, x: np.ndarray, y: np.ndarray) -> None:
    """Cut a window of `size` from resized steps."""
    steps['height'], steps['width'] = size
    steps['x'], steps['y'] = x, y


def whole(sizes: np.ndarray) -> np.ndarray:
    """Return boxes (n, 4) of all of each picture; sizes: (n, 2), width and height."""
    return np.concatenate([np.zeros_like(sizes), sizes], axis=1)


def enlarged(sizes: np.ndarray, size: Size) -> np.ndarray:
    """Return widths and heights (n, 2), enlarged until `size` fits, first the height, as mxnet does."""
    width, height = sizes.T
    up = np.where(height < size.height, size.height / height, 1.0)
    wider = (width * up).astype(np.int64)
    right = np.where(wider < size.width, size.width / wider, 1.0)
    new = np.stack([(wider * right).astype(np.int64), (height * up * right).astype(np.int64)], axis=1)
    return np.where((up * right == 1)[:, None], sizes, np.maximum(new, size.wide_high))
