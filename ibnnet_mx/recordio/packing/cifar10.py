"""The CIFAR-10 archive from its authors' page, checked against the sum that they publish."""

from __future__ import annotations

import os

from ibnnet_mx.errors import OptionError
from ibnnet_mx.files import download, locks

URL = 'https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz'
URL_VARIABLE = 'IBNNET_MX_CIFAR10_URL'  # a mirror; the sum stays
MD5 = 'c58f30108f718f92721af3b95e74349a'
FILE = 'cifar-10-python.tar.gz'


def cifar10(folder: str) -> str:
    """Return the path of the archive. It is downloaded into `folder` unless it is there and right. Raises
    OptionError.
    """
    path = os.path.join(folder, FILE)
    url = os.environ.get(URL_VARIABLE, URL)
    way_out = f'without a network, copy {FILE} here and name it as SOURCE'
    try:
        if _whole(path):
            return path
        os.makedirs(folder, exist_ok=True)
        with locks.waiting(path):  # another process may have got it meanwhile
            return path if _whole(path) else download.fetch(url, path, download.Check('md5', MD5), way_out)
    except (OSError, ValueError) as error:
        raise OptionError('download', None, f': {error}') from None


def _whole(path: str) -> bool:
    return os.path.isfile(path) and download.digest(path, 'md5') == MD5
