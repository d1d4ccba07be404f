"""RecordIO files of pictures: format, packing, reading. Knows numpy and OpenCV, neither mxnet nor recipes."""

from ibnnet_mx.recordio.augment import Augment
from ibnnet_mx.recordio.format import RecordError, RecordFile
from ibnnet_mx.recordio.loader import Loader

__all__ = ['Augment', 'Loader', 'RecordError', 'RecordFile']
