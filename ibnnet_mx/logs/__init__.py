"""The log of a run: the format of every line and its reader, together.

The lines are those of mxnet's 2016 training logs, so that old and new runs can be drawn in one picture.
"""

from ibnnet_mx.logs.curves import Run, read_log, stem_of
from ibnnet_mx.logs.lines import BATCH, RATE, SPEED, TIME, TRAIN, VALIDATION, VALIDATION_TIME
from ibnnet_mx.logs.reporter import Reporter

__all__ = [
    'BATCH',
    'RATE',
    'SPEED',
    'TIME',
    'TRAIN',
    'VALIDATION',
    'VALIDATION_TIME',
    'Reporter',
    'Run',
    'read_log',
    'stem_of',
]
