"""The files that a run leaves behind under one prefix, and their opening: verified and parsed once."""

from ibnnet_mx.checkpoint.facts import Facts, Inside, Place
from ibnnet_mx.checkpoint.store import Opened, Store, put_params, restore

__all__ = ['Facts', 'Inside', 'Opened', 'Place', 'Store', 'put_params', 'restore']
