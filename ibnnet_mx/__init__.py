"""ResNet and IBN-Net in MXNet Gluon, trained from RecordIO."""

__version__ = '0.2.0.dev0'

from ibnnet_mx import _env

with _env.terse():
    _env.prepare()

from ibnnet_mx.registry import get_model, list_models  # mxnet may come in from here on

__all__ = ['__version__', 'get_model', 'list_models']
