"""The way from records to NDArrays: files, augmentation, and checks before the first batch.

train, val = data.record_iters(recipe, 'data', cluster, data.Input(224, mean, std)) opens the records of a run.
"""

from ibnnet_mx.data.files import FILES, check_lists, count_classes, describe_gaps, find_records
from ibnnet_mx.data.iterator import Evaluation, Iterator
from ibnnet_mx.data.opening import evaluation_iter, record_iters, val_iter
from ibnnet_mx.data.pictures import Input, crop_of, load_crop, load_image, normalise

__all__ = [
    'FILES',
    'Evaluation',
    'Input',
    'Iterator',
    'check_lists',
    'count_classes',
    'describe_gaps',
    'crop_of',
    'evaluation_iter',
    'find_records',
    'load_crop',
    'load_image',
    'normalise',
    'record_iters',
    'val_iter',
]
