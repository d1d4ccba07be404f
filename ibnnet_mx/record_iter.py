"""mxnet's ImageRecordIter over our reader: an existing Module or Gluon script changes its import, nothing else."""

from __future__ import annotations

import mxnet as mx
import numpy as np

from ibnnet_mx.recordio.augment import Augment
from ibnnet_mx.recordio.reader import Options, Reader
from ibnnet_mx.recordio.view import View

FILL = 127
HINTS = ('verbose', 'prefetch_buffer', 'ctx', 'shuffle_chunk_size', 'path_imgidx', 'aug_seq', 'device_id')
SAME = {  # what the other options of mxnet's may be set to, since nothing else is done
    'round_batch': (True, False),
    'mirror': (False,),
    'max_random_scale': (1.0,),
    'fill_value': (FILL, 255),
    'inter_method': (1,),
    'mean_a': (0.0,),
    'std_a': (1.0,),
    'max_random_contrast': (0.0,),
    'max_random_illumination': (0.0,),
    'brightness': (0.0,),
    'contrast': (0.0,),
    'saturation': (0.0,),
    'pca_noise': (0.0,),
    'rotate': (-1, 0),
    'max_crop_size': (-1,),
    'min_crop_size': (-1,),
    'max_img_size': (1e10,),
    'min_img_size': (0.0,),
    'path_imglist': ('',),
    'mean_img': ('',),
    'shuffle_chunk_seed': (0,),
}
