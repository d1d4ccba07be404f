"""What a run leaves behind, and how it is opened again: the files of one prefix, verified and parsed once."""

from ibnnet_mx.checkpoint.store import Inside, Store, place

__all__ = ['Inside', 'Store', 'place']
