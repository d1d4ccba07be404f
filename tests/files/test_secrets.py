"""Passwords in URLs reach the server and nobody else; redirects and odd names dodge no rule."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys

import pytest

from ibnnet_mx import hub
from ibnnet_mx.distributed import launch
from ibnnet_mx.distributed.launch import hosts
from ibnnet_mx.files import download
from ibnnet_mx.files.download import DownloadError, fetch
from tests.loopback import Server

BODY = b'weights' * 99
SUM = hashlib.sha256(BODY).hexdigest()[:8]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, 'PAUSE', 0)
    with Server({'/a.bin': BODY}) as server:
        yield server


def with_secret(url):
    return url.replace('://', '://me:se%40cret@')


def test_a_password_is_sent_to_its_server_and_shown_to_nobody(server, tmp_path):
    with Server({'/b.bin': BODY}) as other:
        server.moved['/moved'] = f'{other.url}/b.bin'
        fetch(with_secret(f'{server.url}/a.bin'), str(tmp_path / 'a'))
        fetch(with_secret(f'{server.url}/moved'), str(tmp_path / 'b'))
        words = base64.b64encode(b'me:se@cret').decode()
        assert [headers.get('Authorization') for headers in server.headers] == [f'Basic {words}'] * 2
        assert 'Authorization' not in other.headers[0]
    assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes() == BODY
    for path in ('/none', '/a.bin?token=se%40cret'):
        with pytest.raises(DownloadError) as error:
            fetch(with_secret(server.url + path), str(tmp_path / 'c'), download.Check('sha256', 'f' * 8))
        assert 'cret' not in str(error.value)
        assert server.url[7:] in str(error.value)


def test_a_sign_in_a_query_is_no_password():
    assert download.split_secret('https://host?mail=me@there') == ('https://host?mail=me@there', '')
    assert download.split_secret('https://me:x@host?mail=a@b') == ('https://host?mail=a@b', 'me:x')


@pytest.mark.parametrize('target', ['file:///etc/passwd', 'ftp://127.0.0.1/a', 'data:,a'])
def test_redirects_lead_to_the_web_only(server, tmp_path, target):
    server.moved['/away'] = target
    with pytest.raises(DownloadError, match='cannot get .*/away'):
        fetch(f'{server.url}/away', str(tmp_path / 'a'))
    assert not (tmp_path / 'a').exists()


def test_https_stays_https():
    request = download.urllib.request.Request('https://127.0.0.1/a')
    with pytest.raises(download._Lost, match='redirects to http://, which is not followed') as error:
        download._Redirects().redirect_request(request, None, 302, 'Found', {}, 'http://127.0.0.1/a')
    assert not error.value.again
    moved = download._Redirects().redirect_request(request, None, 302, 'Found', {}, 'https://127.0.0.1/b')
    assert moved.full_url == 'https://127.0.0.1/b'


@pytest.mark.parametrize(
    'name',
    [
        f'https://host/net-{SUM}.pth',
        f'https://host/net-{SUM}.pth?raw=true',
        f'https://host/net-{SUM.upper()}.PTH#top',
        f'https://host/net-{SUM}.pth/?download=1',
        f'https://host/net%2D{SUM}%2Epth',
        f'/folder/net-{SUM.upper()}.PTH',
    ],
)
def test_the_sum_in_a_name_counts_however_it_is_written(name):
    assert hub._promised_sum(name) == download.Check('sha256', SUM)
    assert hub._promised_sum('https://host/net.pth?name=-01234567.pth') is None


def test_a_password_is_on_no_command_line_of_another_machine(monkeypatch):
    secret = 'https://me:secret@mirror/weights'
    monkeypatch.setattr(launch._env, 'BEFORE', {'IBNNET_MX_REPO': secret, 'OMP_NUM_THREADS': '2'})
    command = [sys.executable, '-c', 'import os; print(os.environ["IBNNET_MX_REPO"], os.environ["OMP_NUM_THREADS"])']
    plan = launch.Setup(hosts.spread_processes(['a', 'b'], 2, 1), 9091, command)
    process = plan.processes[-1]
    assert not any('secret' in word for word in plan.words(process))
    assert plan.withheld(process) == {'IBNNET_MX_REPO': secret}
    pipe = subprocess.PIPE
    with subprocess.Popen(['sh', '-c', plan.words(process)[4]], stdin=pipe, stdout=pipe, text=True) as shell:
        shell.stdin.write(f'{secret}\n')
        shell.stdin.flush()
        assert shell.stdout.read() == f'{secret} 2\n'
