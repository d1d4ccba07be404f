"""Single pictures as the input of a network."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import mxnet as mx
import numpy as np

from ibnnet_mx.recordio.inspection import verify
from ibnnet_mx.recordio.pixels import opencv, view
from ibnnet_mx.recordio.pixels.exif import APPLY
from ibnnet_mx.recordio.pixels.pictures import PictureError, read_picture
from ibnnet_mx.recordio.pixels.region import Decoded
from ibnnet_mx.size import Pixels, Size


class Input(NamedTuple):
    """The input of a network: the size, a side or (height, width) in pixels, and mean and std of each RGB plane in
    0..255.
    """

    size: Pixels
    mean: tuple
    std: tuple


def normalise(pictures: np.ndarray, net_input: Input) -> Any:
    """Return NDArray float32 (n, 3, H, W), the input of a network, of RGB pictures uint8 (n, H, W, 3). net_input:
    Input.
    """
    table = opencv.pixel_table(net_input.mean, net_input.std)
    planes = np.empty((len(pictures), 3, *pictures.shape[1:3]), np.float32)
    for plane in range(3):
        planes[:, plane] = table[plane][pictures[..., plane]]
    return mx.nd.from_numpy(planes, zero_copy=True)


def load_image(path: Any, net_input: Input, crop: str = 'center', exif: str = APPLY) -> np.ndarray:
    """Return float32 (3, height, width), the input of a network, of a picture file. net_input: Input. crop, exif: as in
    load_crop().
    """
    return normalise(load_crop(path, net_input.size, crop, exif)[None], net_input)[0].asnumpy()


def load_crop(path: Any, size: Pixels, crop: str = 'center', exif: str = APPLY) -> np.ndarray:
    """Return uint8 (height, width, 3), RGB: the pixels of a picture file that a network sees.

    size: a side or (height, width). crop 'center': the short side is brought to 256/224 of the size, then the
    centre is cut, as in validation. 'resize', and any crop for a size that is not square: all of the picture, of any
    aspect. exif: 'apply' turns it upright first, 'ignore' takes the pixels as stored. Raises ValueError, which names
    the file and why it cannot be read.
    """
    try:
        with verify.hushed() as (complaints, _):  # which tell of damage
            picture = read_picture(path, complaints, exif)
        return _cut(picture, size, crop)
    except PictureError as error:
        raise ValueError(f'{path} {error}') from None


def crop_of(picture: np.ndarray, size: Pixels, crop: str = 'center') -> np.ndarray:
    """Return the crop of pixels uint8 (H, W, 3), RGB, as load_crop() returns it. Raises ValueError for other arrays."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ValueError(f'a picture must be uint8 (H, W, 3), {picture.dtype} {picture.shape} came')
    try:
        return _cut(np.ascontiguousarray(picture[..., ::-1]), size, crop)
    except PictureError as error:
        raise ValueError(f'a picture of shape {picture.shape} {error}') from None


def _cut(picture: np.ndarray, pixels: Pixels, crop: str) -> np.ndarray:
    """Return uint8 (height, width, 3), RGB, of decoded BGR pixels (H, W, 3)."""
    size = Size.of(pixels)
    if not size.square:
        (seen,) = opencv.windows(Decoded(picture), size, view.usual_view(size))
    elif crop == 'center':
        (seen,) = opencv.windows(Decoded(picture), size, view.View(view.usual_short(size.height)))
    else:
        shrinks = min(picture.shape[:2]) > size.height
        method = cv2.INTER_AREA if size.small and shrinks else cv2.INTER_LINEAR
        seen = cv2.resize(picture, size.wide_high, interpolation=method)
    return cv2.cvtColor(seen, cv2.COLOR_BGR2RGB)
