"""Files of weights, in each format that torch.save() has written."""

import pytest

from tests.torch_files import FORMATS, reader


@pytest.fixture(params=FORMATS)
def encode(request):
    return FORMATS[request.param]


@pytest.fixture
def read(tmp_path):
    return reader(tmp_path / 'a.pth')
