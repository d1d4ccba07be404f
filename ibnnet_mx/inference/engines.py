"""The engines, which compute predictions. A new engine is a class here and a row in ENGINES."""

from __future__ import annotations

import os
from typing import Any, Protocol

import mxnet as mx
import numpy as np

from ibnnet_mx.errors import OptionError, no_memory
from ibnnet_mx.inference import onnx_tail
from ibnnet_mx.size import Pixels, Size

NEEDS = "needs onnx and onnxruntime: pip install 'onnx>=1.13,<1.19' onnxruntime 'protobuf<7'"


class Engine(Protocol):
    """A network ready to compute: NDArray (n, 3, H, W) float32 -> logits, a numpy array (n, classes)."""

    net: Any  # the HybridBlock behind it, for gradients and embeddings; None if there is none

    def __call__(self, pictures: Any) -> np.ndarray:
        """Return the logits of normalised pictures. Raises ValueError for a size that the network cannot take."""


class GluonEngine:
    """A HybridBlock on a device, computed in its inference form.

    label: the user's name for the network, for messages.
    """

    def __init__(self, net: Any, context: Any, label: str) -> None:
        self.net, self.context, self._label = net, context, label
        self._foreign = isinstance(net, mx.gluon.SymbolBlock)
        self._form = net if self._foreign else net.inference_form()
        self._form.hybridize(**({} if self._foreign else {'static_alloc': True}))

    def __call__(self, pictures: Any) -> np.ndarray:
        try:
            return self._form(pictures.as_in_context(self.context)).asnumpy()
        except mx.base.MXNetError as error:  # its text has many lines about mxnet's sources
            if no_memory(error) or not self._foreign:
                raise
            shape = pictures.shape
            raise ValueError(f'{self._label}: mxnet cannot compute this network for pictures {shape}') from None


class OnnxEngine:
    """An .onnx file on the CPU, by onnxruntime.

    A softmax at its end is cut; see onnx_tail. facts: its metadata {key: text}. shape: of its input, numbers or names.
    threads: 0 leaves the choice to onnxruntime.
    Raises OptionError for onnx if the file is not a network for pictures.
    """

    net = None

    def __init__(self, path: Any, threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise OptionError('onnx', None, NEEDS) from None
        self._path, options = str(path), onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, threads
        if not os.path.isfile(path):
            raise OptionError('onnx', self._path, 'cannot be read: no such file')
        try:
            cut, self._probabilities = onnx_tail.without_softmax(self._path)
            given = self._path if cut is None else cut
            self._session = onnxruntime.InferenceSession(given, options, providers=['CPUExecutionProvider'])
        except OptionError:
            raise
        except Exception as error:  # onnxruntime's exceptions have no common class
            raise OptionError('onnx', self._path, f'cannot be run by onnxruntime: {error}') from None
        entries = self._session.get_inputs()
        self._name, self.shape = entries[0].name, entries[0].shape
        self.facts = dict(self._session.get_modelmeta().custom_metadata_map)
        listed = ', '.join(f'{entry.name} {entry.type} {entry.shape}' for entry in entries)
        single = len(entries) == 1 and entries[0].type == 'tensor(float)' and len(self.shape) == 4
        if not single or not self._takes_pictures():
            raise OptionError('onnx', self._path, f': it needs one input of float32 (N, 3, H, W), but has {listed}')

    def _takes_pictures(self) -> bool:
        planes = self.shape[1]
        return planes == 3 or not isinstance(planes, int)

    @property
    def fixed(self) -> bool:
        """True if the file names a side of its pictures."""
        return any(isinstance(side, int) for side in self.shape[2:])

    @property
    def size(self) -> Size:
        """The size of its pictures: the sides that the input names, else those of the metadata, else 224.

        Raises OptionError if one of them cannot be the side of a picture.
        """
        sides = [side if isinstance(side, int) else None for side in self.shape[2:]]
        if None in sides:
            usual = self._size_of(self.facts['size']) if 'size' in self.facts else [next(filter(None, sides), 224)] * 2
            sides = [other if side is None else side for side, other in zip(sides, usual)]
        return self._size_of(sides)

    def _size_of(self, size: Any) -> Size:
        try:
            return Size.of(size)
        except ValueError:
            raise OptionError('onnx', self._path, f': it names {size}, which is no size of pictures') from None

    def classes(self, size: Pixels) -> int:
        """Return the number of logits for pictures of this size. Raises OptionError if there are none."""
        logits = self(np.zeros((1, 3, *Size.of(size)), np.float32))
        if logits.ndim != 2:
            raise OptionError('onnx', self._path, f': it must give logits (N, classes), but gives {logits.shape}')
        return logits.shape[1]

    def __call__(self, pictures: Any) -> np.ndarray:
        """Return the logits of an NDArray or a numpy array. Raises OptionError for pictures of another size."""
        x = pictures.asnumpy() if isinstance(pictures, mx.nd.NDArray) else pictures
        rows = self.shape[0] if isinstance(self.shape[0], int) else max(len(x), 1)
        count = max(-(-len(x) // rows), 1)  # batches; for a fixed batch size the last is filled with zeros
        filled = np.concatenate([x, np.zeros((count * rows - len(x), *x.shape[1:]), x.dtype)])
        batches = np.split(filled, count)
        try:
            outputs = [self._session.run(None, {self._name: batch})[0] for batch in batches]
        except Exception as error:  # onnxruntime's exceptions have no common class
            shape = tuple(batches[0].shape)
            raise OptionError('onnx', self._path, f'takes {self.shape} and got {shape}: {error}') from None
        logits = np.concatenate(outputs)[: len(x)]
        logits = logits.reshape(len(logits), -1) if logits.shape[2:] == (1, 1) else logits
        return np.log(np.maximum(logits, LEAST)) if self._probabilities else logits


LEAST = np.finfo(np.float32).tiny  # a probability that is 0 in float32
ENGINES = {'gluon': GluonEngine, 'onnxruntime': OnnxEngine}
