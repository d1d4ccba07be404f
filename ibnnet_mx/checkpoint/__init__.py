"""Write the checkpoints of a run under one prefix, and open them: each file is read, verified and parsed once."""

from ibnnet_mx.checkpoint.facts import Facts, Inside, Place
from ibnnet_mx.checkpoint.runs import new_id
from ibnnet_mx.checkpoint.store import Opened, Store, put_params, restore

__all__ = ['Facts', 'Inside', 'Opened', 'Place', 'Store', 'new_id', 'put_params', 'restore']
