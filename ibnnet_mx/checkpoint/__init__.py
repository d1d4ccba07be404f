"""What a run leaves behind, and how it is opened again: the files of one prefix, verified and parsed once."""

from ibnnet_mx.checkpoint.facts import Facts, Inside, Place
from ibnnet_mx.checkpoint.store import Opened, Store, put_params, restore

__all__ = ['Facts', 'Inside', 'Opened', 'Place', 'Store', 'put_params', 'restore']
