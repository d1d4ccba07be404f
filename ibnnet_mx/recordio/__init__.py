"""RecordIO files of pictures: format, packing, reading. The room knows numpy and OpenCV, neither mxnet nor recipes."""

from ibnnet_mx.recordio.format import RecordError, RecordFile
from ibnnet_mx.recordio.pixels.augment import Augment
from ibnnet_mx.recordio.reading.loader import Loader

__all__ = ['Augment', 'Loader', 'RecordError', 'RecordFile']
