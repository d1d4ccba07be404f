"""A mistake as a command tells it and as a Python user reads it."""

from __future__ import annotations

import re
from contextlib import contextmanager

import pytest

from ibnnet_mx.cli.options import option_name
from ibnnet_mx.errors import OptionError


@contextmanager
def refused(text):
    """An OptionError whose command-line form matches `text`; its Python form has no dashes."""
    with pytest.raises(OptionError) as error:
        yield
    assert re.search(text, error.value.told(option_name))
    assert '--' not in str(error.value)
