"""A single picture as the network is fed it: every kind of file, both crops, and what is refused."""

from __future__ import annotations

import os
import re

import cv2
import numpy as np
import pytest

from ibnnet_mx import data
from ibnnet_mx.recordio.pixels.pictures import CIFAR_SIDE
from ibnnet_mx.recordio.reading.options import Options
from tests.record_sets import jpeg, png, scene, write

RAW = data.Input(32, (0.0,) * 3, (1.0,) * 3)


def test_a_picture_is_cut_as_validation_does(tmp_path):
    picture = scene(0, 256, 384)
    (tmp_path / 'a.png').write_bytes(png(picture))
    mean, std = (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)
    seen = data.load_image(tmp_path / 'a.png', data.Input(224, mean, std))
    wanted = picture[16:240, 80:304, ::-1].transpose(2, 0, 1).astype(np.float64)
    wanted = (wanted - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    np.testing.assert_array_equal(seen, wanted.astype(np.float32))
    folder_of = write(tmp_path / 'val.rec', [png(picture)]).parent
    val = data.val_iter(folder_of, 'imagenet', 1, data.Input(224, mean, std), Options(threads=1))
    np.testing.assert_array_equal(next(val.epoch())[0][0].asnumpy(), seen)


@pytest.mark.parametrize('crop', ['center', 'resize'])
def test_the_pixels_that_a_network_sees(tmp_path, crop):
    (tmp_path / 'a.png').write_bytes(png(scene(0, 60, 90)))
    source = data.Input(32, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    pixels = data.load_crop(tmp_path / 'a.png', 32, crop)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (32, 32, 3))
    raw = data.load_image(tmp_path / 'a.png', RAW, crop)
    np.testing.assert_array_equal(raw, pixels.transpose(2, 0, 1))
    seen = data.load_image(tmp_path / 'a.png', source, crop)
    np.testing.assert_allclose(
        seen, (raw - np.reshape([1, 2, 3], (3, 1, 1))) / np.reshape([4, 5, 6], (3, 1, 1)), rtol=1e-6
    )


@pytest.mark.parametrize(
    ('size', 'shape'), [(224, (300, 500)), (224, (50, 90)), (CIFAR_SIDE, (60, 50)), (64, (64, 64))]
)
def test_a_resized_picture_is_all_of_it(tmp_path, size, shape):
    picture = np.full((*shape, 3), 9, np.uint8)
    picture[:, -shape[1] // 4 :, 2] = 200
    (tmp_path / 'a.png').write_bytes(png(picture))
    seen = data.load_image(str(tmp_path / 'a.png'), RAW._replace(size=size), 'resize')
    assert seen.shape == (3, size, size)
    assert seen[0, size // 2, 0] == 9
    assert seen[0, size // 2, -1] == 200
    assert abs(seen[0].mean() - (9 * 0.75 + 200 * 0.25)) < 5


def pictures_of_all_kinds():
    from PIL import Image

    colour = np.full((40, 50, 3), (200, 100, 50), np.uint8)  # RGB
    image = Image.fromarray(colour)
    alpha = np.dstack([colour, np.full((40, 50), 7, np.uint8)])
    return {
        'rgb.png': (image, (200, 100, 50), 0),
        'rgb.jpg': (image, (200, 100, 50), 3),
        'grey.png': (image.convert('L'), (124, 124, 124), 1),
        'palette.png': (image.convert('P', palette=Image.Palette.ADAPTIVE), (200, 100, 50), 1),
        'cmyk.jpg': (image.convert('CMYK'), (200, 100, 50), 6),
        'alpha.png': (Image.fromarray(alpha), (200, 100, 50), 0),
        'deep.png': (Image.fromarray(np.full((40, 50), 124 * 257, np.uint16)), (124, 124, 124), 1),
    }


@pytest.mark.parametrize('crop', ['center', 'resize'])
def test_pictures_of_every_kind(tmp_path, crop):
    for name, (image, colour, tolerance) in pictures_of_all_kinds().items():
        image.save(tmp_path / name)
        seen = data.load_image(tmp_path / name, RAW, crop)
        assert seen.shape == (3, 32, 32)
        assert np.abs(seen - np.reshape(colour, (3, 1, 1))).max() <= tolerance, name


@pytest.mark.parametrize(
    ('content', 'crop', 'text'),
    [
        (None, 'center', 'cannot be read: No such file'),
        (b'', 'center', 'is empty'),
        (b'text', 'resize', 'cannot be decoded'),
        (jpeg(scene(0, 60, 60))[:900], 'resize', 'is truncated'),
        (png(scene(0, 60, 60))[:900], 'center', 'is truncated'),
        (png(scene(0, 20, 3000)[:5]), 'center', 'is a strip of 3000x5'),
        (jpeg(scene(0, 60, 60))[:900] + b'\xff\xd9', 'resize', 'is damaged (Corrupt JPEG data: premature end'),
    ],
)
def test_a_picture_that_cannot_be_read_is_named(tmp_path, content, crop, text):
    path = tmp_path / 'a.jpg'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f'{path} {text}')):
        data.load_image(path, RAW, crop)


def test_damaged_pictures_leave_nothing_open(tmp_path, capfd):
    (tmp_path / 'a.jpg').write_bytes(jpeg(scene(0, 60, 60))[:900] + b'\xff\xd9')
    before = len(os.listdir('/proc/self/fd'))
    for _ in range(3):
        with pytest.raises(ValueError, match='is damaged'):
            data.load_image(tmp_path / 'a.jpg', RAW)
    assert len(os.listdir('/proc/self/fd')) == before
    assert capfd.readouterr().err == ''


def test_a_strip_can_be_resized(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((5, 3000, 3), 77, np.uint8))
    assert (data.load_image(tmp_path / 'a.png', RAW, 'resize') == 77).all()
