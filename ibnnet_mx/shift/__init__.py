"""Changes that pictures from elsewhere have: corruptions of arXiv:1903.12261 and changes of appearance. numpy and
OpenCV.

shift.apply(pictures, positions, 'fog', 3) changes uint8 (n, S, S, 3); shift.chosen('noise,fog:3') reads an option.
"""

from ibnnet_mx.shift.run import LEAST, Workers, apply
from ibnnet_mx.shift.table import CORRUPTIONS, GROUPS, NAMES, SEVERITIES, chosen, group_of

__all__ = ['CORRUPTIONS', 'GROUPS', 'LEAST', 'NAMES', 'SEVERITIES', 'Workers', 'apply', 'chosen', 'group_of']
