"""Small record files of pictures, made where a test needs them."""

from __future__ import annotations

import cv2
import numpy as np

from ibnnet_mx.recordio.format import encode, write_index


def png(picture):
    return cv2.imencode('.png', picture)[1].tobytes()


def jpeg(picture, interval=0, sampling=cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, progressive=0, quality=90):
    options = {
        cv2.IMWRITE_JPEG_QUALITY: quality,
        cv2.IMWRITE_JPEG_RST_INTERVAL: interval,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR: sampling,
        cv2.IMWRITE_JPEG_PROGRESSIVE: progressive,
    }
    return cv2.imencode('.jpg', picture, [number for pair in options.items() for number in pair])[1].tobytes()


def scene(seed, height, width):
    """Smooth colours with some noise, as photographs have."""
    random = np.random.RandomState(seed)
    coarse = random.randint(0, 256, (4, 5, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + random.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)


def photograph(seed, height, width):
    """Smooth, as a photograph is between its edges."""
    return cv2.GaussianBlur(scene(seed, height, width), (0, 0), 1.2)


def ramp(height, width, step):
    """Red counts the columns and green the rows, in units of step; blue is full."""
    picture = np.full((height, width, 3), 255, np.uint8)
    picture[..., 2] = step * np.arange(width)
    picture[..., 1] = step * np.arange(height)[:, None]
    return picture


def marked(number, side=8):
    """A picture that says which it is: its number in red and green."""
    picture = np.zeros((side, side, 3), np.uint8)
    picture[..., 2], picture[..., 1] = number % 256, number // 256
    return picture


def write(path, payloads, labels=None, index=True):
    """path.rec (and .idx) of payloads; the labels count up where none are given."""
    labels = range(len(payloads)) if labels is None else labels
    records = [encode(payload, label, number) for number, (payload, label) in enumerate(zip(payloads, labels))]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b''.join(records))
    if index:
        write_index(path.with_suffix('.idx'), range(len(records)), [0, *np.cumsum([len(r) for r in records])[:-1]])
    return path
