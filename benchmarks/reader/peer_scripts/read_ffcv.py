"""FFCV: its decoder of whole pictures with our crops; mirror, colours by one matrix and float planes in one loop."""

from __future__ import annotations

import io
import math
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402
from ffcv.fields import RGBImageField  # noqa: E402
from ffcv.fields.rgb_image import IMAGE_MODES, RandomResizedCropRGBImageDecoder  # noqa: E402
from ffcv.loader import Loader, OrderOption  # noqa: E402
from ffcv.pipeline.allocation_query import AllocationQuery  # noqa: E402
from ffcv.pipeline.compiler import Compiler  # noqa: E402
from ffcv.pipeline.operation import Operation  # noqa: E402
from ffcv.transforms import ToTensor  # noqa: E402
from ffcv.writer import DatasetWriter  # noqa: E402
from measure import answer, of_stream, timed  # noqa: E402
from payloads import Payloads  # noqa: E402
from PIL import Image  # noqa: E402

SIZE = 224  # compiled into the loops below
LONG = 50000  # pictures of an epoch: each begins with memory that is asked for anew


class Jpeg(RGBImageField):
    """Stores the JPEG as it is; FFCV's own field would compress the pixels anew."""

    def encode(self, destination, payload, malloc):
        destination['mode'] = IMAGE_MODES['jpg']
        destination['width'], destination['height'] = Image.open(payload).size
        data = np.frombuffer(payload.getvalue(), np.uint8)
        destination['data_ptr'], storage = malloc(data.nbytes)
        storage[:] = data


class Samples:
    def __init__(self, folder):
        self.payloads = Payloads(folder)

    def __len__(self):
        return len(self.payloads)

    def __getitem__(self, number):
        return (io.BytesIO(self.payloads[number]),)


def window(height, width, scales, ratios):
    """top, left, height, width in a picture of what becomes SIZE x SIZE pixels."""
    scale, ratio = np.random.uniform(scales[0], scales[1]), np.random.uniform(ratios[0], ratios[1])
    across = 2 * scale / (1 + ratio)
    h, w = min(int(SIZE / (across * ratio)), int(height)), min(int(SIZE / across), int(width))
    return int(np.random.uniform(0, height - h + 1)), int(np.random.uniform(0, width - w + 1)), h, w


class Crop(RandomResizedCropRGBImageDecoder):
    @property
    def get_crop_generator(self):
        return window


class Finish(Operation):
    """uint8 (n, S, S, 3) to float32 (n, 3, S, S), half of them mirrored, hue, brightness and saturation changed."""

    def __init__(self, colour):
        super().__init__()
        self.colour = colour

    def declare_state_and_memory(self, previous_state):
        shape, dtype = (3, SIZE, SIZE), np.dtype('<f4')
        return replace(previous_state, jit_mode=True, shape=shape, dtype=dtype), AllocationQuery(shape, dtype)

    def generate_code(self):
        my_range = Compiler.get_iterator()
        hue, value, saturation = self.colour
        third, root = np.float32(1 / 3), np.float32(1 / math.sqrt(3))

        def finish(pictures, out):
            for n in my_range(pictures.shape[0]):
                angle = np.random.uniform(-hue, hue)
                light = np.random.uniform(1 - value, 1 + value)
                much = light * np.random.uniform(1 - saturation, 1 + saturation)
                same = np.float32(light * third + much * math.cos(angle) * 2 * third)
                less = np.float32(light * third - much * (math.cos(angle) * third + math.sin(angle) * root))
                more = np.float32(light * third - much * (math.cos(angle) * third - math.sin(angle) * root))
                low, high = np.float32(0), np.float32(255)
                back = np.random.uniform(0, 1) < 0.5
                for y in range(SIZE):
                    for x in range(SIZE):
                        at = SIZE - 1 - x if back else x
                        r = np.float32(pictures[n, y, at, 0])
                        g = np.float32(pictures[n, y, at, 1])
                        b = np.float32(pictures[n, y, at, 2])
                        out[n, 0, y, x] = min(max(same * r + less * g + more * b, low), high)
                        out[n, 1, y, x] = min(max(more * r + same * g + less * b, low), high)
                        out[n, 2, y, x] = min(max(less * r + more * g + same * b, low), high)
            return out[: pictures.shape[0]]

        finish.is_parallel = True
        return finish


def convert(job):
    path = Path(job['folder']) / 'records.beton'
    if not path.exists():
        part = path.with_suffix('.part')
        DatasetWriter(str(part), {'image': Jpeg()}, num_workers=1).from_indexed_dataset(Samples(job['folder']))
        part.rename(path)
    return str(path)


def batches(job):
    ratios = (1 - job['aspect'], 1 + job['aspect'])
    steps = [Crop((SIZE, SIZE), tuple(job['scale']), ratios), Finish(job['colour']), ToTensor()]
    loader = Loader(
        convert(job),
        job['batch'],
        job['threads'],
        os_cache=True,
        order=OrderOption.RANDOM,
        pipelines={'image': steps},
        indices=np.tile(np.arange(job['records']), max(LONG // job['records'], 1)),
        custom_fields={'image': RGBImageField},
    )
    while True:
        for (pictures,) in loader:
            yield pictures


def main(job):
    if job['size'] != SIZE:
        raise SystemExit(f'only {SIZE} x {SIZE} pixels')
    return timed(of_stream(batches(job), job), job)


if __name__ == '__main__':
    answer(main)
