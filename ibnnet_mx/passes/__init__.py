"""Rewrites of a traced graph that leave its parameters and results as they are."""

from ibnnet_mx.passes.fuse import fused
from ibnnet_mx.passes.precision import mixed
from ibnnet_mx.passes.tile import tiled

__all__ = ['fused', 'mixed', 'tiled']
