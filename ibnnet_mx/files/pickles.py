"""Pickles that data sets come in, read without running what they name: arrays, numbers, texts, lists and dicts only."""

from __future__ import annotations

import io
import pickle
from typing import Any

ARRAYS = {
    ('numpy.core.multiarray', '_reconstruct'),
    ('numpy._core.multiarray', '_reconstruct'),
    ('numpy.core.multiarray', 'scalar'),
    ('numpy._core.multiarray', 'scalar'),
    ('numpy', 'ndarray'),
    ('numpy', 'dtype'),
}


class PickleError(ValueError):
    """The error for a pickle that is damaged or asks for more than arrays. The text says what it asks for."""


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that knows names for numpy arrays and for nothing else, because pickles run what they name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in ARRAYS:
            return super().find_class(module.replace('numpy._core', 'numpy.core'), name)
        if (module, name) == ('_codecs', 'encode'):  # how Python 3 writes bytes for Python 2
            return _latin1
        raise PickleError(f'is a pickle that asks for {module}.{name}')


def _latin1(text: str, encoding: str = 'latin1') -> bytes:
    return text.encode('latin1')


def load_arrays(data: bytes) -> Any:
    """Return the contents of a pickle, with texts of Python 2 as bytes. Raises PickleError."""
    try:
        return _ArraysOnly(io.BytesIO(data), encoding='bytes').load()
    except PickleError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise PickleError(f'is no pickle ({type(error).__name__}: {error})') from None
