"""The name under which scripts written for mxnet import its ImageRecordIter: they change this import, nothing else."""

from ibnnet_mx.data.image_record_iter import ImageRecordIter

__all__ = ['ImageRecordIter']
