"""The log of a run: the format of every line and its reader, together.

The lines are those of mxnet's 2016 training logs, so that old and new runs can be drawn in one picture.
"""

from ibnnet_mx.logs.curves import Run, stem_of
from ibnnet_mx.logs.lines import BATCH, BEGIN, GO_ON, RATE, SPEED, TIME, TRAIN, VALIDATION, VALIDATION_TIME, short_name
from ibnnet_mx.logs.reading import read_log, read_runs
from ibnnet_mx.logs.reporter import Reporter

__all__ = [
    'BATCH',
    'BEGIN',
    'GO_ON',
    'RATE',
    'SPEED',
    'TIME',
    'TRAIN',
    'VALIDATION',
    'VALIDATION_TIME',
    'Reporter',
    'Run',
    'read_log',
    'read_runs',
    'short_name',
    'stem_of',
]
