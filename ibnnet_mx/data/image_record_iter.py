"""The stand-in for mxnet's ImageRecordIter over our reader. A Module or Gluon script changes its import, nothing
else.
"""

from __future__ import annotations

import os
from typing import Any

import mxnet as mx
import numpy as np

from ibnnet_mx.recordio.pixels.augment import Augment
from ibnnet_mx.recordio.pixels.view import View
from ibnnet_mx.recordio.reading import checks
from ibnnet_mx.recordio.reading.options import Options
from ibnnet_mx.recordio.reading.reader import Batch, Reader
from ibnnet_mx.size import MAX_SIDE, Size

# mxnet's options of its way of working; they do not change the batches.
HINTS = ('verbose', 'prefetch_buffer', 'ctx', 'device_id', 'shuffle_chunk_size', 'shuffle_chunk_seed', 'round_batch')
FIXED = {  # other options, and their values that do nothing
    'aug_seq': ('aug_default',),
    'path_imglist': ('',),
    'mean_img': ('',),
    'mirror': (False,),
    'inter_method': (1,),
    'mean_a': (0,),
    'std_a': (1,),
    'max_random_contrast': (0,),
    'max_random_illumination': (0,),
    'brightness': (0,),
    'contrast': (0,),
    'saturation': (0,),
    'pca_noise': (0,),
    'rotate': (-1, 0),
    'max_crop_size': (-1,),
    'min_crop_size': (-1,),
    'max_img_size': (1e10,),
    'min_img_size': (0,),
    'seed_aug': (None,),
}
DEFAULTS = {  # of the options that act, as mxnet 1.9.1 documents them
    'path_imgidx': '',
    'label_width': 1,
    'preprocess_threads': None,
    'num_parts': 1,
    'part_index': 0,
    'shuffle': False,
    'seed': 0,
    'dtype': 'float32',
    'resize': -1,
    'rand_crop': False,
    'random_resized_crop': False,
    'rand_mirror': False,
    'max_rotate_angle': 0,
    'max_aspect_ratio': 0.0,
    'min_aspect_ratio': None,
    'max_shear_ratio': 0.0,
    'max_random_scale': 1.0,
    'min_random_scale': 1.0,
    'max_random_area': 1.0,
    'min_random_area': 1.0,
    'random_h': 0,
    'random_s': 0,
    'random_l': 0,
    'fill_value': 255,
    'pad': 0,
    'mean_r': 0.0,
    'mean_g': 0.0,
    'mean_b': 0.0,
    'std_r': 1.0,
    'std_g': 1.0,
    'std_b': 1.0,
    'scale': 1.0,
    'exif': 'apply',  # not one of mxnet's
    'data_name': 'data',
    'label_name': 'softmax_label',
}


def _options(path: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Return all options that act. Raises ValueError for unknown ones, and for changes of pictures that this reader
    lacks.
    """
    for name, value in given.items():
        if name in FIXED and value not in FIXED[name]:
            does_nothing = ' or '.join(repr(value) for value in FIXED[name])
            raise ValueError(
                f'{name}={value!r} is not supported by this reader, only {does_nothing}, which does nothing'
            )
        if name not in DEFAULTS and name not in FIXED and name not in HINTS:
            raise ValueError(f'ImageRecordIter has no option {name}')
    options = {**DEFAULTS, **{name: value for name, value in given.items() if name in DEFAULTS}}
    index = os.fspath(options['path_imgidx'])
    if index and not (isinstance(path, (str, os.PathLike)) and os.path.splitext(path)[0] == os.path.splitext(index)[0]):
        raise ValueError(f'path_imgidx={index!r}: only the index beside path_imgrec={path!r} is read, or none')
    options['dtype'] = options['dtype'] or 'float32'
    if options['dtype'] not in ('float32', 'uint8'):
        raise ValueError(f'dtype={options["dtype"]!r} is not supported by this reader: float32 or uint8')
    return options


def _augment(o: dict[str, Any]) -> Augment | None:
    """Return the Augment that the options ask for; None if they ask for nothing random and no border."""
    if o['random_resized_crop']:
        if o['min_aspect_ratio'] is None or not o['max_aspect_ratio']:
            raise ValueError(
                'random_resized_crop=True needs min_aspect_ratio and max_aspect_ratio, such as 3/4 and 4/3'
            )
        shape: dict[str, Any] = dict(
            area=(o['min_random_area'], o['max_random_area']), ratio=(o['min_aspect_ratio'], o['max_aspect_ratio'])
        )
    elif o['min_aspect_ratio'] is not None:
        raise ValueError(f'min_aspect_ratio={o["min_aspect_ratio"]} needs random_resized_crop=True')
    else:
        shape = dict(
            scale=(o['min_random_scale'], o['max_random_scale']),
            aspect=o['max_aspect_ratio'],
            rotate=o['max_rotate_angle'],
            shear=o['max_shear_ratio'],
            pad=o['pad'],
            centre=not o['rand_crop'],
        )
    hls = (o['random_h'], o['random_l'], o['random_s'])
    augment = Augment(hls=hls, mirror=bool(o['rand_mirror']), fill=o['fill_value'], **shape)
    return None if augment == Augment(mirror=False, centre=True, fill=o['fill_value']) else augment


def _size(data_shape: Any) -> Size:
    shape = tuple(data_shape) if hasattr(data_shape, '__len__') else (data_shape,)
    try:
        if len(shape) == 3 and shape[0] == 3:
            return Size.of(shape[1:])
    except ValueError:
        pass
    raise ValueError(f'data_shape={shape} must be (3, height, width), of 1 to {MAX_SIDE} pixels a side')


class ImageRecordIter(mx.io.DataIter):
    """The batches, options and defaults of mx.io.ImageRecordIter; from ibnnet_mx.record_iter import ImageRecordIter.

    The differences, all on purpose: an option that would change pictures and cannot is refused. verbose, ctx,
    prefetch_buffer, device_id and shuffle_chunk_* are accepted and mean nothing. The index is the one beside the
    records. Each epoch has every record once, in an order of the whole file, and draws anew. The last batch is filled
    up with its own first pictures, which `pad` counts, for any round_batch. Parts are equal. A damaged record is a
    RecordError, not an abort. exif='ignore', an option of this reader alone, leaves pictures as they are stored.

    data are NDArrays on the CPU that alias the reader's memory, which is not written to while they live. path_imgrec: a
    .rec, several, or a pattern such as 'train_*.rec'. Raises ValueError, which names the option.
    """

    def __init__(self, path_imgrec: Any, data_shape: Any, batch_size: int, **options: Any) -> None:
        super().__init__(batch_size)
        o, size = _options(path_imgrec, options), _size(data_shape)
        checks.check_whole('batch_size', batch_size, 1, checks.MOST)
        checks.check_whole('num_parts', o['num_parts'], 1)
        checks.check_whole('part_index', o['part_index'], 0, o['num_parts'] - 1)
        if not o['scale']:
            raise ValueError('scale=0 leaves nothing of the pictures')
        augment, resize = _augment(o), o['resize'] if o['resize'] > 0 else None
        if resize is not None and augment is not None:
            raise ValueError(f'resize={resize} together with random changes: pack the records at that size instead')
        if resize is not None and resize < max(size):
            raise ValueError(f'resize={resize} is less than a side of data_shape={tuple(data_shape)}')
        std = [o[f'std_{plane}'] / o['scale'] for plane in 'rgb']
        normalisation: Any = (tuple(o[f'mean_{plane}'] for plane in 'rgb'), tuple(std))
        if o['dtype'] == 'uint8':
            if normalisation != ((0,) * 3, (1,) * 3):
                raise ValueError('dtype="uint8" holds neither mean_*, std_* nor scale: take float32')
            normalisation = None
        self._reader = Reader(
            path_imgrec,
            size,
            batch_size * o['num_parts'],
            augment,
            normalisation,
            Options(
                seed=o['seed'],
                share=(o['part_index'], o['num_parts']),
                threads=o['preprocess_threads'],
                shuffle=bool(o['shuffle']),
                label_width=o['label_width'],
                exif=o['exif'],
            ),
            View(resize),
        )
        labels = (batch_size,) if o['label_width'] == 1 else (batch_size, o['label_width'])
        self.provide_data = [mx.io.DataDesc(o['data_name'], (batch_size, 3, *size), np.dtype(o['dtype']).type)]
        self.provide_label = [mx.io.DataDesc(o['label_name'], labels)]
        self._epoch = 0
        self._batches: Any = None  # the generator of an epoch
        self._current: Any = None  # data, label and pad

    def reset(self) -> None:
        """Go to the start of the next epoch; to the start of this one, if no batch of it was asked for."""
        if self._batches is not None:
            self._batches.close()
            self._epoch += 1
        self._batches = self._current = None

    hard_reset = reset

    def iter_next(self) -> bool:
        """Read the next batch. Return False at the end of the epoch."""
        if self._batches is None:
            self._batches = self._reader.epoch(self._epoch)
        batch = next(self._batches, None)
        self._current = None if batch is None else self._whole(batch)
        return batch is not None

    def _whole(self, batch: Batch) -> tuple[Any, Any, int]:
        """Return data, label and pad. A smaller batch is filled up with its own pictures."""
        pad, data, label = self.batch_size - batch.real, batch.data, batch.label
        if pad:
            rows = np.arange(self.batch_size) % max(batch.real, 1)
            data, label = data[rows], label[rows]
        return mx.nd.from_numpy(data, zero_copy=True), mx.nd.array(label), pad

    def getdata(self) -> list[Any]:
        """Return the pictures of the batch, [NDArray]."""
        return [self._current[0]]

    def getlabel(self) -> list[Any]:
        """Return the labels of the batch, [NDArray]."""
        return [self._current[1]]

    def getpad(self) -> int:
        """Return how many pictures of the batch are padding."""
        return self._current[2]

    def getindex(self) -> None:
        """Return None, because records have no index here."""
        return None

    def close(self) -> None:
        """End the threads and close the files."""
        if self._batches is not None:
            self._batches.close()
        self._reader.close()
