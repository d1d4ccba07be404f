"""torchvision: PIL or its own decoder with its transforms, or its own decoder with colours by one matrix.

Worker processes decode whole pictures: neither of the decoders has a part of one.
"""

from __future__ import annotations

import io
import math
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402
from measure import answer, of_stream, timed  # noqa: E402
from payloads import Payloads  # noqa: E402
from PIL import Image  # noqa: E402
from torch.utils.data import DataLoader, Dataset, RandomSampler  # noqa: E402
from torchvision.io import ImageReadMode, decode_jpeg  # noqa: E402
from torchvision.transforms import v2  # noqa: E402
from torchvision.transforms.v2 import functional as F  # noqa: E402

ENDLESS = 1 << 24  # samples of an epoch that never ends
GREY = torch.full((3, 3), 1 / 3)
TURN = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)


def window(job, height, width):
    """top, left, height, width in a picture of what becomes size x size pixels."""
    scale, ratio = random.uniform(*job['scale']), random.uniform(1 - job['aspect'], 1 + job['aspect'])
    across = 2 * scale / (1 + ratio)
    h, w = min(int(job['size'] / (across * ratio)), height), min(int(job['size'] / across), width)
    return random.randint(0, height - h), random.randint(0, width - w), h, w


def colours(job):
    """Hue as a turn about the grey axis, saturation as the distance from it, brightness on all: (3, 3)."""
    hue, value, saturation = (random.uniform(-most, most) for most in job['colour'])
    turn = math.cos(hue) * (torch.eye(3) - GREY) + math.sin(hue) * TURN
    return (1 + value) * (GREY + (1 + saturation) * turn)


class Pictures(Dataset):
    def __init__(self, job):
        self.job, self.payloads = job, Payloads(job['folder'])
        hue, value, saturation = job['colour']
        self.jitter = v2.ColorJitter(brightness=value, saturation=saturation, hue=hue / (2 * math.pi))

    def __len__(self):
        return len(self.payloads)

    def __getitem__(self, number):
        payload = self.payloads[number]
        size = [self.job['size']] * 2
        if self.job['variant'] == 'pil':
            whole = Image.open(io.BytesIO(payload)).convert('RGB')
            box = window(self.job, whole.height, whole.width)
            seen = self.mirrored(F.resized_crop(whole, *box, size))
            return F.pil_to_tensor(self.jitter(seen)).float()
        whole = decode_jpeg(torch.frombuffer(bytearray(payload), dtype=torch.uint8), mode=ImageReadMode.RGB)
        box = window(self.job, *whole.shape[1:])
        seen = self.mirrored(F.resized_crop(whole, *box, size, antialias=False))
        if self.job['variant'] == 'io':
            return self.jitter(seen).float()
        return (colours(self.job) @ seen.reshape(3, -1).float()).clamp_(0, 255).reshape(3, *size)

    def mirrored(self, seen):
        return F.horizontal_flip(seen) if random.random() < 0.5 else seen


def start(_):
    torch.set_num_threads(1)


def main(job):
    pictures = Pictures(job)
    order = RandomSampler(pictures, num_samples=ENDLESS)
    loader = DataLoader(
        pictures, job['batch'], sampler=order, num_workers=job['threads'], worker_init_fn=start, drop_last=True
    )
    return timed(of_stream(iter(loader), job), job)


if __name__ == '__main__':
    answer(main)
