"""one.py SIDE NAME...: ms that a corruption of severity 3 costs a picture, by the ImageNet-C constants, as JSON.

Run by this project's Python it measures ibnnet_mx.shift, else imagecorruptions, which is all that it then needs.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import cv2
import numpy as np

LEAST = 0.3  # seconds that are measured
SEVERITY = 3


def pictures(side, count):
    """uint8 (count, side, side, 3) with large and small shapes."""
    draw = np.random.default_rng(0)
    found = []
    for _ in range(count):
        one = sum(
            cv2.resize(draw.standard_normal((cells, cells, 3)), (side, side), interpolation=cv2.INTER_CUBIC) / cells
            for cells in (2, 4, 8, 16)
        )
        found.append(255 * (one - one.min()) / (one.max() - one.min()))
    return np.stack(found).astype(np.uint8)


def per_picture(run, count):
    """Seconds a picture, of run() on `count` of them, after one that does not count."""
    run()
    times, began = [], time.process_time()
    while time.process_time() - began < LEAST or not times:
        start = time.process_time()
        run()
        times.append((time.process_time() - start) / count)
    return sorted(times)[len(times) // 2]


def ours(side, names):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from ibnnet_mx import shift
    from ibnnet_mx.shift import table

    table.SMALL = 0  # the constants of imagecorruptions, which has those of ImageNet-C alone
    x = pictures(side, 100 if side <= 64 else 8)
    return {
        name: per_picture(lambda name=name: shift.apply(x, range(len(x)), name, SEVERITY), len(x)) for name in names
    }


def theirs(side, names):
    warnings.simplefilter('ignore')
    import imagecorruptions
    from imagecorruptions import corruptions

    smooth = corruptions.gaussian

    def gaussian(image, sigma, multichannel=None, **rest):
        return smooth(image, sigma, channel_axis=-1 if multichannel else None, **rest)

    corruptions.gaussian = gaussian
    (x,) = pictures(side, 1)
    return {
        name: per_picture(lambda name=name: imagecorruptions.corrupt(x, SEVERITY, corruption_name=name), 1)
        for name in names
    }


if __name__ == '__main__':
    cv2.setNumThreads(1)
    try:
        import imagecorruptions  # noqa: F401
    except ImportError:
        measure = ours
    else:
        measure = theirs
    told = measure(int(sys.argv[1]), sys.argv[2:])
    print(json.dumps({name: 1000 * seconds for name, seconds in told.items()}))
