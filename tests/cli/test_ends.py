"""How a command ends: by a mistake, a signal, a closed stream, a reader that has gone."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from ibnnet_mx.cli import options
from tests.conftest import ROOT


def ends(capsys, error, *rest):
    def command(args):
        raise error

    code = options.run(command, options.Parser(prog='tool'), [], *rest)
    return code, capsys.readouterr().err


def test_what_a_user_can_cure_is_one_line(capsys):
    assert ends(capsys, ValueError('--a 1: no')) == (2, 'tool: --a 1: no\n')
    full = OSError(errno.ENOSPC, 'cannot be written: No space left on device', 'a.params')
    assert ends(capsys, full) == (2, 'tool: a.params: cannot be written: No space left on device\n')
    assert ends(capsys, OSError('odd')) == (2, 'tool: odd\n')
    onnx = ends(capsys, ModuleNotFoundError("No module named 'onnx'", name='onnx'))
    assert onnx == (2, "tool: No module named 'onnx'\n")
    missing = ends(capsys, ModuleNotFoundError("No module named 'mxnet'", name='mxnet'))
    assert missing == (2, "tool: No module named 'mxnet': pip install -e '.[cpu]', or '.[gpu]'\n")
    assert ends(capsys, KeyboardInterrupt()) == (130, 'tool: interrupted\n')
    assert ends(capsys, KeyboardInterrupt(), 'stopped; go on') == (130, 'tool: stopped; go on\n')
    with pytest.raises(RuntimeError):
        ends(capsys, RuntimeError('a mistake of ours keeps its traceback'))


def test_a_command_that_is_terminated_cleans_up(capsys):
    cleaned = []

    def command(args):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            cleaned.append(True)

    assert options.run(command, options.Parser(prog='tool'), []) == 143
    assert capsys.readouterr().err == 'tool: interrupted\n'
    assert cleaned == [True]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize('closed', ['>&-', '2>&-', '<&- >&- 2>&-'])
def test_a_closed_stream_is_not_taken_by_a_file(closed, tmp_path):
    (tmp_path / 'tool.py').write_text(
        'import sys\n'
        'from ibnnet_mx.cli import options\n'
        'def command(args):\n'
        "    file = open('made', 'w')\n"
        '    print("a")\n'
        '    print("b", file=sys.stderr)\n'
        '    file.write(str(file.fileno()))\n'
        "sys.exit(options.run(command, options.Parser(prog='tool')))\n"
    )
    done = subprocess.run(
        f'{sys.executable} tool.py {closed}',
        shell=True,
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert int((tmp_path / 'made').read_text()) > 2
    assert done.stdout == ('' if '>&-' in closed.replace('2>&-', '') else 'a\n')
    lost = 'tool: standard output is closed: what was printed is lost\n' if closed == '>&-' else ''
    assert done.stderr == ('' if '2>&-' in closed else f'b\n{lost}')


@pytest.mark.parametrize('ends', ['', '    raise ValueError("no")\n'])
def test_full_streams_are_named_and_end_nothing_else(tmp_path, ends):
    (tmp_path / 'tool.py').write_text(
        'import sys\n'
        'from ibnnet_mx.cli import options\n'
        'def command(args):\n'
        '    for _ in range(3):\n'
        '        print("lost", file=sys.stderr)\n'
        '    if sys.argv[1:]:\n'
        '        print("a table " * 10000)\n'
        f'    open("made", "w").close()\n{ends}'
        "sys.exit(options.run(command, options.Parser(prog='tool'), []))\n"
    )

    def run(line):
        settings = {**os.environ, 'PYTHONPATH': str(ROOT)}
        words = f'{sys.executable} tool.py {line}'
        return subprocess.run(words, shell=True, cwd=tmp_path, env=settings, capture_output=True, text=True)

    done = run('2>/dev/full')
    assert (done.returncode, done.stdout, done.stderr) == (2 if ends else 0, '', '')
    assert (tmp_path / 'made').exists()
    done = run('print >/dev/full')
    assert done.returncode == 2
    assert done.stderr == 'lost\n' * 3 + 'tool: standard output: cannot be written: No space left on device\n'


def test_letters_that_the_output_lacks_are_escaped(tmp_path):
    (tmp_path / 'tool.py').write_text(
        'import os\n'
        'from ibnnet_mx.cli import options\n'
        'def command(args):\n'
        "    print('caf\\u00e9', os.fsdecode(b'\\xff.png'))\n"
        "options.run(command, options.Parser(prog='tool'))\n"
    )
    for encoding, told in (('ascii', rb'caf\xe9 \udcff.png'), ('utf-8', 'café \\udcff.png'.encode())):
        done = subprocess.run(
            [sys.executable, 'tool.py'],
            cwd=tmp_path,
            env={**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONIOENCODING': encoding, 'LC_ALL': 'C.UTF-8'},
            capture_output=True,
        )
        assert (done.stdout.splitlines(), done.stderr) == ([told], b'')


@pytest.mark.parametrize('lines', [1, 5000])
def test_a_reader_that_has_ended_is_no_mistake(capsys, monkeypatch, lines):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, 'w') as gone:
        monkeypatch.setattr(sys, 'stdout', gone)
        code = options.run(lambda args: print('a table\n' * lines), options.Parser(prog='tool'), [])
        gone.write('more')  # and is dropped, as is what the interpreter writes at its end
    monkeypatch.undo()
    assert (code, capsys.readouterr().err) == (141, '')


@pytest.mark.parametrize('capture', ['capfd', 'capsys'])  # a file, a stream in memory
def test_a_broken_pipe_that_is_not_ours_is_told(request, capture):
    captured = request.getfixturevalue(capture)
    assert ends(captured, BrokenPipeError('a worker has ended')) == (2, 'tool: a worker has ended\n')


@pytest.mark.parametrize(
    'script', ['train_resnet.py', 'evaluate.py', 'predict/predict.py', 'log/plot_curve.py', 'tools/im2rec_wrapper.py']
)
def test_an_environment_that_cannot_work_is_one_line(command, script):
    done = command(script, DMLC_ROLE='garbage')
    name = script.rpartition('/')[2][:-3]
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr.startswith(f"{name}: DMLC_ROLE='garbage' makes mxnet wait for ever")
    assert done.stderr.count('\n') == 1
