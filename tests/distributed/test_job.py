"""What the DMLC_ variables may say, and what is told where they are wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest

from ibnnet_mx.distributed import address, job
from ibnnet_mx.errors import Stopped
from tests.conftest import ROOT

GOOD = {
    'DMLC_ROLE': 'worker',
    'DMLC_PS_ROOT_URI': '127.0.0.1',
    'DMLC_PS_ROOT_PORT': '9091',
    'DMLC_NUM_WORKER': '2',
    'DMLC_NUM_SERVER': '1',
}


def test_a_job_is_what_the_variables_say():
    found = job.read_job(GOOD)
    assert found == ('worker', '127.0.0.1', 9091, 2, 1)
    assert found.scheduler == '127.0.0.1:9091'
    assert job.count_workers('dist_sync', GOOD) == 2
    assert job.count_workers('local', GOOD) == 1


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (
            {'DMLC_ROLE': ''},
            'x: DMLC_ROLE is not set; start the job by ibnnet launch -n 2 -s 1 -- COMMAND, or see',
        ),
        ({'DMLC_ROLE': 'worke'}, "x: DMLC_ROLE='worke' is none of worker, server, scheduler"),
        ({'DMLC_PS_ROOT_URI': ''}, 'x: DMLC_PS_ROOT_URI is not set, it is the address of the scheduler'),
        ({'DMLC_PS_ROOT_PORT': ''}, 'x: DMLC_PS_ROOT_PORT is not set'),
        ({'DMLC_PS_ROOT_PORT': '99999'}, 'x: DMLC_PS_ROOT_PORT=99999 is no number from 1 to 65535'),
        ({'DMLC_NUM_WORKER': '0'}, 'x: DMLC_NUM_WORKER=0 is no number from 1'),
        ({'DMLC_NUM_SERVER': 'two'}, 'x: DMLC_NUM_SERVER=two is no number from 1'),
    ],
)
def test_a_wrong_variable_is_named(change, text):
    with pytest.raises(ValueError) as found:  # noqa: PT011
        job.read_job({**GOOD, **change}, 'x')
    assert str(found.value).startswith(text)


@pytest.mark.parametrize(
    ('kvstore', 'environ', 'text'),
    [
        (
            'dist_async',
            {},
            "kv_store='dist_async' is not available: workers that do not wait for each other diverge; use",
        ),
        (
            'garbage',
            {},
            "kv_store='garbage' is not available; use one of local, device, dist_sync, dist_device_sync, horovod",
        ),
        ('dist_sync', {}, "kv_store='dist_sync': DMLC_ROLE is not set"),
        ('horovod', {}, "kv_store='horovod': HOROVOD_SIZE is not set; start it by horovodrun --gloo -np 2"),
        ('local', GOOD, "kv_store='local': DMLC_NUM_WORKER=2 says that this is one of several workers"),
    ],
)
def test_a_kvstore_that_cannot_be_is_refused(kvstore, environ, text):
    with pytest.raises(ValueError) as found:  # noqa: PT011
        job.check_kv_store(kvstore, environ)
    assert str(found.value).startswith(text)
    for good, variables in (('local', {}), ('device', {**GOOD, 'DMLC_NUM_WORKER': '1'}), ('dist_sync', GOOD)):
        job.check_kv_store(good, variables)


@pytest.mark.parametrize('text', ['', 'long', '-1', 'nan', '0'])
def test_the_time_to_join_is_a_number(text):
    with pytest.raises(ValueError, match=f'IBNNET_MX_JOIN_SECONDS={text} is no number of seconds'):
        job.join_seconds({'IBNNET_MX_JOIN_SECONDS': text})
    assert job.join_seconds({'IBNNET_MX_JOIN_SECONDS': '600'}) == 600
    assert job.join_seconds({}) < 30


def listener():
    listening = socket.socket()
    listening.bind(('127.0.0.1', 0))
    listening.listen()
    return listening, job.Job('worker', '127.0.0.1', listening.getsockname()[1], 2, 1)


def test_a_scheduler_that_comes_later_is_waited_for():
    listening, part = listener()
    job.find_scheduler(part, 5)
    listening.close()
    with pytest.raises(Stopped, match=rf'the scheduler does not answer at {part.scheduler} .* for 0.5 s: Connection'):
        job.find_scheduler(part, 0.5)
    with pytest.raises(ValueError, match=r'DMLC_PS_ROOT_URI=no\.such\.host\.invalid: .*the scheduler.s address'):
        job.find_scheduler(part._replace(host='no.such.host.invalid'), 5)


def test_a_port_in_use_is_told():
    listening, part = listener()
    with listening, pytest.raises(
        ValueError, match=f'DMLC_PS_ROOT_PORT={part.port}: Address already in use; is another'
    ):
        job.check_port(part)
    job.check_port(part)


def test_a_deadline_ends_the_process_with_its_text():
    told, ended = [], []
    with job.Deadline(0.05, 'too late', told.append, ended.append):
        time.sleep(0.3)
    with job.Deadline(0.2, 'in time', told.append, ended.append):
        pass
    time.sleep(0.4)
    assert (told, ended) == (['too late'], [job.ENDED])


def test_options_are_read_without_mxnet():
    code = "import sys; from ibnnet_mx.cli import train, launch; print('mxnet' in sys.modules)"
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == 'False\n'


def serve(**environ):
    words = [sys.executable, '-m', 'ibnnet_mx.distributed.serve']
    settings = {**os.environ, **GOOD, **environ}
    return subprocess.run(words, env=settings, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_server_that_cannot_serve_says_why_and_ends():
    listening, part = listener()
    with listening:
        done = serve(DMLC_ROLE='scheduler', DMLC_PS_ROOT_PORT=str(part.port))
    assert done.returncode == 2
    assert done.stderr.startswith(f'scheduler: DMLC_PS_ROOT_PORT={part.port}: Address already in use')
    done = serve(DMLC_ROLE='server', DMLC_PS_ROOT_PORT=str(part.port), IBNNET_MX_JOIN_SECONDS='0.5')
    assert done.returncode == job.ENDED  # it can be started again
    assert done.stderr.startswith(f'server: the scheduler does not answer at {part.scheduler}')
    done = serve()
    assert (done.returncode, done.stderr.count('\n')) == (2, 1)
    assert 'DMLC_ROLE=worker: a server or the scheduler is started here' in done.stderr


def names(monkeypatch, *answers):
    """Let each look-up of a name give the next answer: addresses, or an error."""
    left = list(answers)

    def look_up(name, *_):
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, '', (one, 0)) for one in answer]

    monkeypatch.setattr(socket, 'getaddrinfo', look_up)
    monkeypatch.setattr(address, 'own_address', lambda environ: '10.0.0.7')


@pytest.mark.parametrize(
    ('name', 'answer', 'expected'),
    [
        ('localhost', ['127.0.0.1'], '127.0.0.1'),
        ('127.0.0.1', ['127.0.0.1'], '127.0.0.1'),
        ('node1', ['10.0.0.3'], '10.0.0.3'),
        ('node1', ['127.0.1.1', '10.0.0.3'], '10.0.0.3'),
        ('node1', ['127.0.1.1'], '10.0.0.7'),  # Debian's /etc/hosts for the machine's own name
    ],
)
def test_the_scheduler_may_have_a_name(monkeypatch, name, answer, expected):
    names(monkeypatch, answer)
    environ = {**GOOD, 'DMLC_PS_ROOT_URI': name}
    resolved = address.resolve(job.read_job(environ), 1, environ)
    assert (resolved.host, environ['DMLC_PS_ROOT_URI']) == (expected, expected)


def test_a_name_server_that_is_not_there_yet_is_asked_again(monkeypatch):
    again, unknown = socket.gaierror(socket.EAI_AGAIN, 'try again'), socket.gaierror(socket.EAI_NONAME, 'not known')
    part = job.read_job({**GOOD, 'DMLC_PS_ROOT_URI': 'node1'})
    names(monkeypatch, again, ['10.0.0.3'])
    assert address.resolve(part, 5, {}).host == '10.0.0.3'
    names(monkeypatch, unknown)
    with pytest.raises(ValueError, match="^DMLC_PS_ROOT_URI=node1: not known; it is the scheduler's address$"):
        address.resolve(part, 5, {})
    names(monkeypatch, unknown)
    scheduler = part._replace(role='scheduler')
    assert address.resolve(scheduler, 5, {'DMLC_USE_KUBERNETES': '1'}) == scheduler
    names(monkeypatch, UnicodeError('label too long'))
    with pytest.raises(ValueError, match='^DMLC_PS_ROOT_URI=xxx.*: it is no name of a machine; '):
        address.resolve(part._replace(host='x' * 99), 5, {})


def test_the_address_of_an_interface():
    assert address.own_address({'DMLC_INTERFACE': 'lo'}) == '127.0.0.1'
    assert address.own_address({'DMLC_INTERFACE': 'no-such'}) == ''
