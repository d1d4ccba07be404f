"""Load and save weights and networks of PyTorch, the 2016 MXNet code, GluonCV, safetensors, ONNX. A stable interface.

A loader takes a path or a mapping {key: array}. It fills the whole network or leaves it untouched. In the second case
one ValueError lists the names without a partner on either side. No code in a file from elsewhere is ever run.
"""

from ibnnet_mx.convert.onnx_file import to_onnx
from ibnnet_mx.convert.symbol import load_symbol, prediction, with_embedding
from ibnnet_mx.convert.weights import (
    load,
    load_mxnet,
    load_safetensors,
    load_torch,
    read_weights,
    save_safetensors,
    to_torch,
)

__all__ = [
    'load',
    'load_mxnet',
    'load_safetensors',
    'load_symbol',
    'load_torch',
    'prediction',
    'read_weights',
    'save_safetensors',
    'to_onnx',
    'to_torch',
    'with_embedding',
]
