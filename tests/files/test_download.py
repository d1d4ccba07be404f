"""Files from a server that lies, stops, cuts and forgets: whole and right, or an error that names the URL."""

import hashlib
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from ibnnet_mx.files import download, locks
from ibnnet_mx.files.download import Check, DownloadError, fetch
from tests.loopback import Server, nobody

BODY = np.random.RandomState(0).bytes(300_000)
RIGHT = Check('sha256', hashlib.sha256(BODY).hexdigest()[:8])
WRONG = Check('sha256', '0' * 8)
WAY_OUT = 'take a train'


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(download, 'PAUSE', 0)


@pytest.fixture
def server():
    with Server({'/a.bin': BODY}) as server:
        yield server


@pytest.fixture
def get(server, tmp_path):
    """get(check) -> bytes of the downloaded file; nothing else may be left in the folder."""

    def get(check=RIGHT):
        path = fetch(f'{server.url}/a.bin', str(tmp_path / 'a'), check, WAY_OUT)
        assert os.listdir(tmp_path) == ['a']
        with open(path, 'rb') as file:
            return file.read()

    return get


@pytest.mark.parametrize(
    'check', [RIGHT, None, Check('md5', hashlib.md5(BODY).hexdigest())], ids=['digits', 'none', 'md5']
)
def test_a_file_arrives(get, server, check):
    assert get(check) == BODY
    assert server.asked == [('/a.bin', None)]


def test_a_wrong_sum_leaves_nothing_and_is_not_asked_for_again(get, server, tmp_path):
    with pytest.raises(DownloadError, match='SHA256 sum .{8}, not 00000000: it is damaged, try again; take a') as error:
        get(WRONG)
    assert f'{server.url}/a.bin has' in str(error.value)
    assert (len(server.asked), os.listdir(tmp_path)) == (1, [])


def test_a_cut_body_is_gone_on_with(get, server):
    server.faults = ['cut']
    assert get() == BODY
    assert server.asked == [('/a.bin', None), ('/a.bin', 'bytes=150000-')]
    assert server.sent == [150_000, 150_000]


def test_cuts_that_bring_something_do_not_count_as_failures(get, server):
    server.faults = ['cut'] * (download.TRIES + 2)
    assert get() == BODY
    assert sum(server.sent) == len(BODY)


def test_a_stalled_server_is_left_and_asked_again(get, server, monkeypatch):
    monkeypatch.setattr(download, 'TIMEOUT', 0.2)
    server.faults = ['stall']
    assert get() == BODY
    assert len(server.asked) == 2


def test_always_cut_without_ranges_ends_and_keeps_what_came(get, server, tmp_path):
    server.always, server.ranges = 'cut', False
    with pytest.raises(DownloadError, match=r'the connection ended after 150000 of 300000 bytes\); take a train'):
        get()
    assert len(server.asked) == download.TRIES
    assert os.listdir(tmp_path) == ['a.part']
    server.always, server.ranges = None, True
    assert get() == BODY
    assert server.asked[-1] == ('/a.bin', 'bytes=150000-')
    assert server.sent[-1] == 150_000


def test_a_server_without_ranges_starts_over(get, server):
    server.faults, server.ranges = ['cut'], False
    assert get() == BODY
    assert server.sent == [150_000, 300_000]


def test_another_range_than_asked_for_is_not_joined(get, server):
    server.faults = ['cut', 'shift']
    assert get() == BODY
    assert server.asked[-1] == ('/a.bin', None)


@pytest.mark.parametrize('rest', [b'x' * 1000, b'x' * len(BODY), b'x' * (len(BODY) + 1)], ids=['short', 'same', 'long'])
def test_the_rest_of_another_file_is_thrown_away(get, server, tmp_path, rest):
    (tmp_path / 'a.part').write_bytes(rest)
    assert get() == BODY
    assert [asked for _, asked in server.asked] == [f'bytes={len(rest)}-', None]


def test_a_rest_and_a_wrong_sum_are_tried_once_from_the_start(get, server, tmp_path):
    (tmp_path / 'a.part').write_bytes(BODY[:1000])
    with pytest.raises(DownloadError, match='it is damaged'):
        get(WRONG)
    assert [asked for _, asked in server.asked] == ['bytes=1000-', None]
    assert os.listdir(tmp_path) == []


def test_503_passes(get, server):
    server.faults = [503, 503]
    assert get() == BODY
    assert len(server.asked) == 3


@pytest.mark.parametrize(('status', 'tries'), [(404, 1), (403, 1), (429, download.TRIES), (500, download.TRIES)])
def test_refusals(get, server, tmp_path, status, tries):
    server.always = status
    with pytest.raises(DownloadError, match=rf'cannot get {server.url}/a.bin \({status} .*\); take a train'):
        get()
    assert (len(server.asked), os.listdir(tmp_path)) == (tries, [])


def test_pauses_grow(get, server, monkeypatch):
    waited = []
    monkeypatch.setattr(download, 'PAUSE', 0.5)
    monkeypatch.setattr(download.time, 'sleep', waited.append)
    server.faults = [503] * 3
    assert get() == BODY
    assert waited == [0.5, 1, 2]


def test_nobody_there(tmp_path):
    url = nobody()
    with pytest.raises(DownloadError, match=rf'cannot get {url}/a \(.*Connection refused\); take a train'):
        fetch(f'{url}/a', str(tmp_path / 'a'), RIGHT, WAY_OUT)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('url', ['ftp://127.0.0.1/a', 'http://127.0.0.1:1/a b', 'http://127.0.0.1:port/a'])
def test_no_such_urls(tmp_path, url):
    with pytest.raises(DownloadError, match=rf'cannot get {url} \(.*\); take a train'):
        fetch(url, str(tmp_path / 'a'), None, WAY_OUT)


@pytest.mark.parametrize('form', ['{}', 'file://{}'])
def test_files_of_this_machine_are_checked_and_stay_where_they_are(tmp_path, form):
    (tmp_path / 'a file').write_bytes(BODY)
    url = form.format(tmp_path / 'a file')
    assert fetch(url, str(tmp_path / 'b'), RIGHT) == str(tmp_path / 'a file')
    with pytest.raises(DownloadError, match='a file has the SHA256 sum .*: it is damaged; take a train'):
        fetch(url, str(tmp_path / 'b'), WRONG, WAY_OUT)
    assert os.listdir(tmp_path) == ['a file']
    for name in ('none', ''):
        with pytest.raises(DownloadError, match=r'cannot get .* \((No such file|Is a directory).*\); take a train'):
            fetch(form.format(tmp_path / name), str(tmp_path / 'b'), None, WAY_OUT)


def test_a_disk_that_cannot_be_written_is_an_oserror(server, tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    with pytest.raises(NotADirectoryError):
        fetch(f'{server.url}/a.bin', str(tmp_path / 'file' / 'a'), RIGHT)


def test_the_lock_is_held_by_one_and_leaves_nothing(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(50):
            with locks.waiting(str(tmp_path / 'a')):
                inside.append(1)
                time.sleep(0.0005)  # the others come, where they can
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(most), max(most), os.listdir(tmp_path)) == (200, 1, [])


PROCESS = """
import os, sys
from ibnnet_mx.files import download, locks
url, path = sys.argv[1:]
print('ready', flush=True)
with locks.waiting(path):
    if not os.path.exists(path):
        download.fetch(url, path)
"""


def test_two_processes_download_once(server, tmp_path):
    def start():
        words = [sys.executable, '-c', PROCESS, f'{server.url}/a.bin', str(tmp_path / 'a')]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    server.gate.clear()
    first = start()
    assert server.seen.wait(30)
    second = start()
    assert second.stdout.readline() == b'ready\n'
    server.gate.set()
    for process in (first, second):
        assert process.communicate(timeout=30)[1] == b''  # no bar where stderr is no terminal
        assert process.returncode == 0
    assert server.sent == [len(BODY)]
    assert (tmp_path / 'a').read_bytes() == BODY
