"""The launcher: what it starts where, and that nothing is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ibnnet_mx.cli import launch as command
from ibnnet_mx.distributed import launch
from ibnnet_mx.distributed.launch import hosts
from tests.conftest import ROOT, thorough

PYTHON = sys.executable


@pytest.mark.parametrize(
    ('text', 'names'),
    [('node1\nme@node2.lan # the second\n\n', ['node1', 'me@node2.lan']), ('# all\n10.0.0.1\n', ['10.0.0.1'])],
)
def test_hosts_are_read_line_by_line(tmp_path, text, names):
    path = tmp_path / 'hosts'
    path.write_text(text)
    assert hosts.read_hosts(str(path)) == names
    assert hosts.read_hosts(None) == ['localhost']


@pytest.mark.parametrize(
    ('content', 'what'),
    [
        (b'', 'names no machine: one for each line, such as node1'),
        (b'node1\n-oProxyCommand=evil\n', "line 2, '-oProxyCommand=evil' is no name of a machine"),
        (b'node1; rm -rf x\n', "line 1, 'node1; rm -rf x' is no name"),
        (b'a@-b\n', "line 1, 'a@-b' is no name"),
        (b'\xff\xfe\n', 'cannot be read: it is no text'),
        (b'node1\nlocalhost\n', 'localhost is another machine for each of them'),
    ],
)
def test_what_is_no_host_is_refused(tmp_path, content, what):
    path = tmp_path / 'hosts'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='^-H .*hosts') as found:
        hosts.read_hosts(str(path))
    assert what in str(found.value)
    with pytest.raises(ValueError, match='-H .* cannot be read: No such file'):
        hosts.read_hosts(str(tmp_path / 'none'))


def test_processes_are_spread_evenly():
    found = hosts.spread_processes(['a', 'b'], 3, 2)
    assert [(p.role, p.number, p.host, p.peers) for p in found] == [
        ('scheduler', 0, 'a', 2),
        ('server', 0, 'a', 2),
        ('server', 1, 'b', 1),
        ('worker', 0, 'a', 2),
        ('worker', 1, 'b', 1),
        ('worker', 2, 'a', 2),
    ]


def test_another_machine_is_reached_by_ssh_with_every_word_quoted(monkeypatch, tmp_path):
    """Run by a shell, the line gives back what was asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch._env, 'BEFORE', {'PS_VERBOSE': "a'b $(x)", 'HOME': '/nowhere'})
    command = [
        PYTHON,
        '-c',
        'import os,sys; print(sys.argv[1:], os.environ["PS_VERBOSE"], os.getcwd())',
        "it's; `x`",
        '$Y',
    ]
    plan = launch.Setup(hosts.spread_processes(['me@a', 'b'], 2, 1), 9091, command)
    words = plan.words(plan.processes[-1])
    assert words[:4] == ['ssh', '-o', 'BatchMode=yes', 'b']
    assert plan.settings(plan.processes[-1])['DMLC_PS_ROOT_URI'] == 'a'
    assert 'DMLC_NODE_HOST' not in plan.settings(plan.processes[-1])
    pipe = subprocess.PIPE
    with subprocess.Popen(['sh', '-c', words[4]], stdin=pipe, stdout=pipe, text=True, cwd='/') as shell:
        assert shell.stdout.read() == f"[\"it's; `x`\", '$Y'] a'b $(x) {tmp_path}\n"
        assert shell.wait() == 0
    assert 'HOME=/nowhere' not in words[4]


def launched(script, *options, workers=2, **settings):
    words = [PYTHON, '-m', 'ibnnet_mx', 'launch', '-n', str(workers), *options, '--', PYTHON, '-c', script]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, cwd=ROOT, env={**os.environ, **settings}, stdout=pipe, stderr=pipe, text=True)


def left(mark):
    """Processes with a mark in their environment."""
    found = []
    for pid in filter(str.isdecimal, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/environ') as file:
                found += [pid] if f'MARK={mark}' in file.read() else []
        except OSError:
            pass
    return found


def nothing_left(mark):
    until = time.monotonic() + 10
    while left(mark) and time.monotonic() < until:
        time.sleep(0.1)
    return not left(mark)


def test_output_is_prefixed_and_a_failure_ends_all(tmp_path):
    script = "import sys; print('out'); print('ibnnet_mx: worker 1 of 2\\nerr', file=sys.stderr); sys.exit(3)"
    job = launched(script, MARK='fails', workers=1)
    out, err = job.communicate(timeout=60)
    assert job.returncode == 3
    assert out.endswith('] out\n')
    assert '[worker 1] err\n' in err
    assert 'ibnnet launch: worker 1 ended with code 3; the others are ended: scheduler 0, server 0\n' in err
    assert nothing_left('fails')


def test_commands_of_its_own_environment_are_found(tmp_path):
    words = ['-n', '1', '--', os.path.basename(PYTHON), '-c', 'import sys; print(sys.executable); sys.exit(7)']
    line = [PYTHON, '-m', 'ibnnet_mx', 'launch', *words]
    done = subprocess.run(line, cwd=ROOT, env={**os.environ, 'PATH': '/bin'}, capture_output=True, text=True)
    assert done.returncode == 7, done.stderr
    assert done.stdout == f'[worker 0] {PYTHON}\n'


def test_a_process_that_dies_ends_all_and_is_told_by_its_signal():
    job = launched(
        "import os,time; time.sleep(1) if os.environ['DMLC_ROLE'] else 0; os.kill(os.getpid(), 9)", MARK='dies'
    )
    _, err = job.communicate(timeout=60)
    assert job.returncode == 137
    assert 'ended with signal 9' in err
    assert nothing_left('dies')


WAITING = """
import signal, sys, time
def stop(number, _):
    print('asked', number, flush=True)
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, stop), signal.signal(signal.SIGINT, stop)
print('ready', flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize('number', [signal.SIGTERM, *thorough(signal.SIGINT, signal.SIGHUP)])
def test_a_signal_to_the_launcher_is_one_to_the_workers(number):
    job = launched(WAITING, '--max-restarts', '0', MARK=f'asked{number}')
    said = [job.stdout.readline() for _ in range(2)]
    assert sorted(line.split()[-1] for line in said) == ['ready', 'ready']
    job.send_signal(number)
    out, _ = job.communicate(timeout=60)
    passed = signal.SIGTERM if number == signal.SIGHUP else number  # the end of a terminal asks as SIGTERM does
    assert out.count(f'asked {int(passed)}') == 2
    assert job.returncode == 128 + passed
    assert nothing_left(f'asked{number}')


def test_a_launcher_that_is_killed_leaves_nothing():
    job = launched(WAITING.replace('time.sleep(60)', 'time.sleep(60)'), MARK='killed')
    for _ in range(2):
        job.stdout.readline()
    job.kill()
    job.communicate(timeout=60)
    until = time.monotonic() + 40
    while left('killed') and time.monotonic() < until:
        time.sleep(0.2)
    assert not left('killed')


def test_a_job_starts_again_as_often_as_was_asked(tmp_path):
    counter = tmp_path / 'tries'
    script = f"open({str(counter)!r}, 'a').write('x'); import sys; sys.exit(5)"
    job = launched(f'{script} # --retrain', '--max-restarts', '2', workers=1, MARK='again')
    _, err = job.communicate(timeout=100)
    assert job.returncode == 2  # --retrain must be a word of the command
    words = ['-n', '1', '--max-restarts', '2', '--', PYTHON, '-c', script, '--retrain', 'auto']
    done = subprocess.run([PYTHON, '-m', 'ibnnet_mx', 'launch', *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 5
    assert counter.read_text() == 'xxx'
    assert 'ibnnet launch: code 5 after ' in done.stderr
    assert 'all start again, restart 2 of 2\n' in done.stderr


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        (['-n', '2'], 'COMMAND is missing: end with -- ibnnet train'),
        (['-n', '0', '--', 'x'], '-n 0 must be from 1 to 4096'),
        (['-n', '1', '-s', '0', '--', 'x'], '-s 0 must be from 1'),
        (['-n', '1', '--port', '70000', '--', 'x'], '--port 70000 must be from 1 to 65535'),
        (['-n', '1', '--max-restarts', '2', '--', 'x'], '--max-restarts 2: COMMAND would start anew each time; add'),
        (['-n', '1', '--', 'no-such-command'], ''),
    ],
)
def test_a_mistake_is_one_line(capfd, words, text):
    assert command.main(words) == (2 if text else 127)
    said = capfd.readouterr().err
    if text:
        assert said.startswith(f'ibnnet launch: {text}')
        assert said.count('\n') == 1
    else:
        assert 'ibnnet launch: no-such-command: No such file or directory\n' in said


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_any_host_file_gives_names_or_a_refusal(tmp_path, content):
    path = tmp_path / 'hosts'
    path.write_bytes(content)
    try:
        found = hosts.read_hosts(str(path))
    except ValueError as error:
        found = str(error)
    if isinstance(found, str):
        assert found.startswith(f'-H {path}')
    else:
        assert all(not name.startswith('-') and not set(name) & set(' ;|&$`\'"\n\\()<>') for name in found)


@pytest.mark.parametrize('output', ['| head -1', *thorough('> /dev/full', '2> /dev/full')])
def test_a_job_ends_as_its_workers_though_nobody_takes_its_lines(output):
    """More lines than pipes hold: workers whose lines are not read would wait for ever."""
    script = "import sys; [print('x' * 99, file=file) for _ in range(5000) for file in (sys.stdout, sys.stderr)]"
    line = f"{PYTHON} -m ibnnet_mx launch -n 1 -- {PYTHON} -c \"{script}; open('$MADE', 'w'); sys.exit(7)\" {output}"
    made = f'/tmp/made-{os.getpid()}'
    words = ['bash', '-c', f'set -o pipefail; {line}']
    settings = {**os.environ, 'MADE': made, 'MARK': 'unread'}
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=ROOT, env=settings, stdout=pipe, stderr=pipe, text=True) as job:
        _, err = job.communicate(timeout=100)
    os.unlink(made)
    assert job.returncode == 7
    assert nothing_left('unread')
    said = [line for line in err.splitlines() if line.startswith('ibnnet launch: ')]
    if output.startswith('2'):
        assert said == []
    else:
        why = 'Broken pipe' if '|' in output else 'No space left on device'
        assert said[0] == f'ibnnet launch: lines cannot be passed on: {why}; the job goes on without them'
