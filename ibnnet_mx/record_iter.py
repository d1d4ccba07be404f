"""ImageRecordIter for scripts that were written for mxnet's. They only change this import."""

from ibnnet_mx.data.image_record_iter import ImageRecordIter

__all__ = ['ImageRecordIter']
