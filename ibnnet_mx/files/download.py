"""Files from the network, whole or not at all: tried again, resumed, checked, then renamed. Pure Python.

The bytes of a lost connection stay as PATH.part, and the next call goes on from there.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Iterator, NamedTuple

from tqdm import tqdm

from ibnnet_mx.errors import OptionError
from ibnnet_mx.files import atomic
from ibnnet_mx.files.state import WHOLE, Verdict, damaged

TRIES = 4  # in a row that bring nothing new
PAUSE = 0.5  # seconds after the first of them, doubled after each further one
TIMEOUT = 60  # seconds without a byte
BLOCK = 1 << 16
PASSING = (408, 425, 429)  # the answers below 500 that another try may change


def split_secret(url: str) -> tuple[str, str]:
    """Return a URL without its user and password, and these ('user:password', or '')."""
    scheme, mark, rest = url.partition('://')
    place = re.split('[/?#]', rest, maxsplit=1)[0]
    secret, at, host = place.rpartition('@')
    return (f'{scheme}{mark}{host}{rest[len(place) :]}', secret) if mark and at else (url, '')


def has_secret(text: str) -> bool:
    """Return True for a URL with a user or a password in it."""
    return bool(split_secret(text)[1])


def shown(url: str) -> str:
    """Return a URL for messages and notes: without user, password and query, which may hold keys."""
    url = split_secret(url)[0]
    return url.partition('?')[0] if '://' in url else url


class DownloadError(OptionError):
    """A file that cannot be had: the URL, what came, and the way out."""

    def __init__(self, text: str) -> None:
        super().__init__(None, None, text)


class Check(NamedTuple):
    """The sum that a file must have, or its first hexadecimal digits. kind: a name that hashlib knows."""

    kind: str
    digits: str


class _Lost(Exception):
    """A try without success. again: True if another try may do better."""

    def __init__(self, reason: object, again: bool = True) -> None:
        super().__init__(str(reason))
        self.again = again


def fetch(url: str, path: str, check: Check | None = None, way_out: str = 'try again later') -> str:
    """The path of the checked file: `path` for http(s)://, the file itself for file:// and plain paths.

    DownloadError names the URL, the reason and way_out; OSError is the disk's. What has a wrong sum does not stay, and
    if it was put together from several answers, it is got once more in one piece.
    """
    if not url.startswith(('http://', 'https://')):
        return _local(url, check, way_out)
    part = f'{path}.part'
    try:
        joined = _receive(url, part)
        verdict = _judge_sum(part, check)
        if not verdict.whole and joined:  # parts of two versions of the file, or bytes of a killed machine
            _drop(part)
            _receive(url, part)
            verdict = _judge_sum(part, check)
        if not verdict.whole:
            _drop(part)
            raise DownloadError(f'{shown(url)} {verdict.reason}: it is damaged, try again; {way_out}')
        atomic.rename(part, path)
    except _Lost as error:
        raise DownloadError(f'cannot get {shown(url)} ({error}); {way_out}') from None
    except OSError as error:  # a full disk should not stay full
        _drop(part)
        raise OSError(error.errno, f'cannot be written: {error.strerror}', path) from None
    return path


def digest(path: str, kind: str) -> str:
    """The sum of a file in hexadecimal digits."""
    checksum = hashlib.new(kind)
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            checksum.update(block)
    return checksum.hexdigest()


def _local(url: str, check: Check | None, way_out: str) -> str:
    """A file that is there already; it is read and never changed."""
    path = url
    if url.startswith('file://'):
        path = urllib.request.url2pathname(urllib.parse.urlsplit(url).path)
    elif '://' in url:
        raise DownloadError(f'cannot get {shown(url)} (not http://, https://, file:// or a path); {way_out}')
    try:
        open(path, 'rb').close()
        verdict = _judge_sum(path, check)
    except OSError as error:
        raise DownloadError(f'cannot get {url} ({error.strerror}: {path}); {way_out}') from None
    if not verdict.whole:
        raise DownloadError(f'{url} {verdict.reason}: it is damaged; {way_out}')
    return path


def _judge_sum(path: str, check: Check | None) -> Verdict:
    """Return WHOLE if the file has the sum that it must have, else DAMAGED with both sums."""
    if check is None:
        return WHOLE
    digits = digest(path, check.kind)
    if digits.startswith(check.digits):
        return WHOLE
    return damaged(f'has the {check.kind.upper()} sum {digits[: len(check.digits)]}, not {check.digits}')


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.exists(path) else 0


def _drop(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _receive(url: str, part: str) -> bool:
    """Fill `part` from the URL. Return True if it was put together from several answers.

    Raises _Lost after TRIES in a row that brought nothing new.
    """
    tries, most = 0, _size(part)
    while True:
        try:
            return _answer(url, part)
        except _Lost as error:
            size = _size(part)
            tries, most = (1, size) if size > most else (tries + 1, most)
            if tries >= TRIES or not error.again:
                raise
        time.sleep(PAUSE * 2 ** (tries - 1))


def _answer(url: str, part: str) -> bool:
    """Ask the server once, and go on from the bytes in `part` if it can. Return True if it could."""
    start = _size(part)
    with _open(url, part, start) as answer:
        if answer.status == 206:
            if not answer.headers.get('Content-Range', '').startswith(f'bytes {start}-'):
                _drop(part)
                raise _Lost('the server sent another range than it was asked for')
        else:
            start = 0
        total = None if answer.length is None else start + answer.length
        size = start
        name = urllib.parse.urlsplit(url).path.rpartition('/')[2]
        look = dict(desc=name, unit='B', unit_scale=True, file=sys.stderr, disable=None)
        with open(part, 'ab' if start else 'wb', opener=_no_link) as file, tqdm(
            total=total, initial=start, **look
        ) as bar:
            for block in _blocks(answer):
                file.write(block)
                size += len(block)
                bar.update(len(block))
            atomic.sync(file)
    if total is not None and size < total:
        raise _Lost(f'the connection ended after {size} of {total} bytes')
    return start > 0


def _no_link(path: str, flags: int) -> int:
    """Open a file for open(), unless it is a link, which could lead to any file."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but none from https to anything else, and none to a file or the like."""

    def redirect_request(self, request: Any, file: Any, code: int, text: str, headers: Any, target: str) -> Any:
        scheme = urllib.parse.urlsplit(target).scheme.lower()
        if scheme not in ('https', urllib.parse.urlsplit(request.full_url).scheme):
            raise _Lost(f'the server redirects to {scheme}://, which is not followed', again=False)
        return super().redirect_request(request, file, code, text, headers, target)


def _open(url: str, part: str, start: int) -> Any:
    """Return the server's answer to a GET of everything behind the first `start` bytes."""
    try:
        plain, secret = split_secret(url)
        request = urllib.request.Request(plain, headers={'Range': f'bytes={start}-'} if start else {})
        if secret:
            words = base64.b64encode(urllib.parse.unquote(secret).encode()).decode()
            request.add_unredirected_header('Authorization', f'Basic {words}')  # not to another server
        return urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        beyond = error.code == 416 and start > 0  # `part` is longer than the file
        if beyond:
            _drop(part)
        raise _Lost(f'{error.code} {error.reason}', beyond or error.code >= 500 or error.code in PASSING) from None
    except urllib.error.URLError as error:
        # a certificate does not become valid by asking again
        raise _Lost(error.reason, not isinstance(error.reason, ssl.SSLCertVerificationError)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _Lost(error, not isinstance(error, (http.client.InvalidURL, ValueError))) from None


def _blocks(answer: Any) -> Iterator[bytes]:
    """Yield the body. It is apart from _answer(), so that errors of the network and of the disk stay apart."""
    try:
        yield from iter(lambda: answer.read(BLOCK), b'')
    except (OSError, http.client.HTTPException) as error:
        raise _Lost(error) from None
