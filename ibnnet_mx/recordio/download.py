"""CIFAR-10's archive from its authors' page, checked against the sum that they publish."""

from __future__ import annotations

import hashlib
import os
import sys
import urllib.error
import urllib.request

from tqdm import tqdm

from ibnnet_mx.recordio.sources import SourceError

URL = 'https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz'
URL_VARIABLE = 'IBNNET_MX_CIFAR10_URL'  # a mirror; the sum stays
MD5 = 'c58f30108f718f92721af3b95e74349a'
FILE = 'cifar-10-python.tar.gz'
TIMEOUT = 60  # seconds without a byte


def cifar10(folder: str) -> str:
    """The path of the archive in `folder`, downloaded unless it is there and right. SourceError, and no file left."""
    path = os.path.join(folder, FILE)
    if os.path.isfile(path):
        with open(path, 'rb') as file:
            digest = hashlib.md5()
            for block in iter(lambda: file.read(1 << 20), b''):
                digest.update(block)
        if digest.hexdigest() == MD5:
            return path
    url = os.environ.get(URL_VARIABLE, URL)
    os.makedirs(folder, exist_ok=True)
    part = path + '.part'
    try:
        found = _stream(url, part)
        if found != MD5:
            raise SourceError(f'--download: {url} has the MD5 sum {found}, not {MD5}: it is damaged, try again')
        os.replace(part, path)
    except (urllib.error.URLError, OSError, ValueError) as error:
        if os.path.exists(part):
            os.unlink(part)
        if isinstance(error, SourceError):
            raise
        reason = getattr(error, 'reason', None) or error
        raise SourceError(
            f'--download: cannot get {url} ({reason}); without a network, copy {FILE} here and name it as SOURCE'
        ) from None
    return path


def _stream(url: str, part: str) -> str:
    """The MD5 sum of what was written to `part`."""
    digest = hashlib.md5()
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, open(part, 'wb') as file:
        size = int(answer.headers.get('Content-Length') or 0)
        with tqdm(total=size or None, desc=FILE, unit='B', unit_scale=True, file=sys.stderr, disable=None) as bar:
            for block in iter(lambda: answer.read(1 << 18), b''):
                digest.update(block)
                file.write(block)
                bar.update(len(block))
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()
