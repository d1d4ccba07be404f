"""Rewrites of a traced graph that leave its parameters and results as they are."""

from ibnnet_mx.graph.fuse import fused
from ibnnet_mx.graph.precision import mixed
from ibnnet_mx.graph.tile import tiled

__all__ = ['fused', 'mixed', 'tiled']
