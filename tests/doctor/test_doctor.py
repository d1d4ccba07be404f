"""What the doctor finds, and the ways out."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from ibnnet_mx import doctor
from ibnnet_mx.cli import doctor as command
from tests.conftest import ROOT


def texts(part):
    return [line for finding in part for line in finding.lines()]


def test_the_doctor_finds_this_machine_well():
    done = subprocess.run(
        [sys.executable, '-m', 'ibnnet_mx', 'doctor'], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ''
    for told in ('  ok  Python 3.', 'mxnet 1.9.1', '  ok  threads: ', 'GPUs', 'GB free', 'so this is a run of one'):
        assert told in done.stdout
    assert 'STOP' not in done.stdout


def test_the_doctor_knows_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor._env, 'report', lambda: ['mxnet missing', 'CUDA libraries: not found libcudnn.so.8'])
    monkeypatch.setattr(doctor._env, 'bfloat16', lambda: 'no')
    assert texts(doctor.find_environment()) == [
        'STOP  mxnet missing',
        "      -> pip install -e '.[cpu]', or '.[gpu]'",
        'STOP  CUDA libraries: not found libcudnn.so.8',
        "      -> pip install -e '.[gpu]' brings them",
        'note  bfloat16: not there',
        '      -> `dtype` bfloat16 needs a processor with AVX-512',
    ]
    monkeypatch.setattr(doctor.shutil, 'disk_usage', lambda place: shutil_usage(1e9))
    assert texts(doctor.find_room(str(tmp_path / 'not' / 'yet')))[:2] == [
        f'note  {tmp_path}: 1.0 GB free',
        '      -> make room: checkpoints need 2 GB',
    ]


def shutil_usage(free):
    return type('usage', (), {'free': free})


@pytest.mark.parametrize(
    ('probe', 'told'),
    [
        (
            'import sys; sys.exit("ImportError: no libgfortran")',
            'mxnet cannot be used: ImportError: no libgfortran',
        ),
        ('import os; os.abort()', 'mxnet cannot be used: it ended with -6'),
        ('import time; time.sleep(60)', 'mxnet does not begin within 1 seconds'),
        ('print(\'{"sum": 7.0, "fused": false, "cuda": false}\')', 'mxnet computes 2 x 2 matrices wrongly: 7.0'),
    ],
)
def test_the_doctor_survives_an_mxnet_that_does_not(probe, told, monkeypatch):
    monkeypatch.setattr(doctor, 'PROBE', probe)
    monkeypatch.setattr(doctor, 'LIMIT', 1)
    monkeypatch.setenv('DMLC_ROLE', 'server')
    found = texts(doctor.find_mxnet())
    assert found[0] == f'STOP  {told}'
    assert ('unset DMLC_ROLE=server' in found[1]) == ('begin' in told)


def test_the_doctor_blames_the_memory_if_there_is_none(monkeypatch):
    monkeypatch.setattr(doctor, 'PROBE', 'import time; time.sleep(60)')
    monkeypatch.setattr(doctor, 'LIMIT', 0.5)
    monkeypatch.setattr(doctor._limits, 'free_memory', lambda: 10**7)
    first, way_out = texts(doctor.find_mxnet())
    assert first == 'STOP  mxnet does not begin within 0.5 seconds: only 0.0 GB of memory are available'
    assert 'stop other programs' in way_out


def test_the_doctor_asks_the_scheduler(monkeypatch):
    for name in [name for name in os.environ if name.startswith('DMLC_')]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(doctor, 'PATIENCE', 0.1)
    assert 'this is a run of one' in texts(doctor.find_cluster())[0]
    given = {'ROLE': 'worker', 'PS_ROOT_URI': '127.0.0.1', 'PS_ROOT_PORT': 'x', 'NUM_WORKER': '2', 'NUM_SERVER': '1'}
    for name, value in given.items():
        monkeypatch.setenv(f'DMLC_{name}', value)
    found = texts(doctor.find_cluster())
    assert found[0] == 'STOP  several machines: DMLC_PS_ROOT_PORT=x is no number from 1 to 65535'
    assert 'ibnnet launch sets them' in found[1]
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        port = server.getsockname()[1]
        monkeypatch.setenv('DMLC_PS_ROOT_PORT', str(port))
        assert f'the scheduler does not answer at 127.0.0.1:{port} ' in texts(doctor.find_cluster())[0]
        server.listen()
        assert texts(doctor.find_cluster()) == [f'  ok  the scheduler 127.0.0.1:{port} answers; 2 workers, 1 servers']


def test_a_mistake_is_one_line(capsys):
    with pytest.raises(SystemExit, match='2'):
        command.main(['--nothing'])
    assert capsys.readouterr().err == 'ibnnet doctor: --nothing is not an option: ibnnet doctor --help lists them\n'


def test_a_reader_that_has_ended_is_no_mistake():
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, 'w') as gone:
        words = [sys.executable, '-m', 'ibnnet_mx', 'doctor']
        done = subprocess.run(words, stdout=gone, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, '')


def test_the_doctor_tells_why_operators_are_refused(monkeypatch):
    monkeypatch.delenv('IBNNET_MX_NATIVE', raising=False)
    answer = {'sum': 8.0, 'fused': False, 'refused': 'it was tried with mxnet 1.8', 'cuda': False}
    monkeypatch.setattr(doctor, 'PROBE', f'print({json.dumps(answer)!r})')
    line = 'operators in C++: refused, training steps take longer: it was tried with mxnet 1.8'
    assert texts(doctor.find_mxnet())[0] == f'note  {line}'
