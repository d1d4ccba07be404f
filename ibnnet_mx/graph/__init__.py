"""Passes that rewrite a traced graph. They change neither its parameters nor, except for rounding, its results."""

from ibnnet_mx.graph.fuse import fused
from ibnnet_mx.graph.precision import mixed
from ibnnet_mx.graph.tile import tiled

__all__ = ['fused', 'mixed', 'tiled']
