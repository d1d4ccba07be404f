"""The operators in C++: how they are built, and what is said where they are not."""

import pytest
from mxnet import library

from ibnnet_mx import operators
from ibnnet_mx.operators import build, trial


def test_without_a_compiler_it_says_what_to_install(monkeypatch):
    monkeypatch.delenv('CXX', raising=False)
    monkeypatch.setattr(build.shutil, 'which', lambda name: None)
    with pytest.raises(ValueError, match='^no C\\+\\+ compiler found: install g\\+\\+'):
        build.build()


def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(monkeypatch, tmp_path):
    compiler = tmp_path / 'c++'
    compiler.write_text('#!/bin/sh\necho no >&2\nexit 1\n')
    compiler.chmod(0o755)
    monkeypatch.setenv('CXX', str(compiler))
    monkeypatch.setattr(build, 'HERE', tmp_path)
    monkeypatch.setattr(build, 'LIBRARY', tmp_path / '_ops.so')
    with pytest.raises(ValueError, match=r'could not compile .*mabn\.cc:\nno$'):
        build.build()
    assert [path.name for path in tmp_path.iterdir()] == ['c++']


def test_what_does_not_work_with_this_mxnet_is_left_out(monkeypatch, tmp_path):
    """A compiler that notes what it is asked for and makes empty files."""
    compiler = tmp_path / 'c++'
    compiler.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nwhile [ "$1" != -o ]; do shift; done\n: > "$2"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv('CXX', str(compiler))
    monkeypatch.setattr(build, 'HERE', tmp_path)
    monkeypatch.setattr(build, 'LIBRARY', tmp_path / '_ops.so')
    notes = build.build()
    assert 'does not work with this one and is left out: its trial ended with 1' in notes[0]
    links = [line for line in (tmp_path / 'asked').read_text().splitlines() if line.startswith('-shared')]
    assert ['/norm.o' in line for line in links] == [True, False]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['_ops.so', 'asked', 'c++']


def test_the_trial_finds_a_wrong_result(monkeypatch):
    if not operators.fused():
        pytest.skip('python -m ibnnet_mx.operators.build has not built it')
    monkeypatch.setattr(library, 'load', lambda *given: None)
    trial.run('there')
    right = trial._ours
    monkeypatch.setattr(trial, '_ours', lambda x, weight, gamma, *rest: right(x, weight, 1.001 * gamma, *rest))
    with pytest.raises(ValueError, match='^of 3 channels, result 0 differs by '):
        trial.run('there')


def test_they_can_be_left_out(monkeypatch):
    monkeypatch.setenv('IBNNET_MX_NATIVE', '0')
    assert operators.loaded.__wrapped__() is False


def test_without_them_nothing_is_said(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(operators, 'LIBRARY', tmp_path / '_ops.so')
    assert operators.loaded.__wrapped__() is False
    assert capsys.readouterr().err == ''


def test_a_damaged_library_is_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv('IBNNET_MX_NATIVE', raising=False)
    monkeypatch.setattr(operators, 'LIBRARY', tmp_path / '_ops.so')
    operators.LIBRARY.write_bytes(b'no library')
    assert operators.loaded.__wrapped__() is False
    said = capsys.readouterr().err
    hint = 'build it anew: python -m ibnnet_mx.operators.build'
    assert said.startswith(f'{operators.LIBRARY} cannot be loaded, {hint} (')
