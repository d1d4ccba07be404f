"""Building the C reader: what is said where it cannot be done, and where libjpeg comes from."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ibnnet_mx.recordio.fast import build, native

ROOT = Path(__file__).resolve().parents[2]


def has_compiler():
    try:
        return bool(build.compiler())
    except ValueError:
        return False


def test_without_a_compiler_it_says_what_is_lost(tmp_path):
    env = {**{k: v for k, v in os.environ.items() if k != 'CC'}, 'PATH': str(tmp_path), 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(
        [sys.executable, '-m', 'ibnnet_mx.recordio.fast.build'], env=env, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert 'no C compiler found: install gcc' in done.stderr
    assert 'pictures are read by OpenCV, which takes three times as long' in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.skipif(not has_compiler(), reason='there is no C compiler')
def test_a_library_that_cannot_be_linked_leaves_the_old_one(tmp_path, monkeypatch):
    target = tmp_path / build.LIBRARY
    target.write_bytes(b'old')
    monkeypatch.setattr(build, '_system', lambda cc, folder: ['-lthere_is_no_such_library'])
    with pytest.raises(ValueError, match='could not'):
        build.build(target)
    assert target.read_bytes() == b'old'
    assert os.listdir(tmp_path) == [build.LIBRARY]


@pytest.mark.skipif(not has_compiler(), reason='there is no C compiler')
def test_a_library_can_be_had_from_pypi(tmp_path, monkeypatch):
    """The way of machines without libjpeg's headers."""
    monkeypatch.setattr(build, '_system', lambda cc, folder: None)
    target = tmp_path / build.LIBRARY
    try:
        build.build(target)
    except ValueError as error:
        if 'could not be fetched' in str(error):
            pytest.skip('PyPI is not reachable')
        raise
    library = ctypes.CDLL(str(target))
    library.fast_new.restype = ctypes.c_void_p
    decoder = library.fast_new()
    assert decoder
    library.fast_free(ctypes.c_void_p(decoder))


def test_the_variable_leaves_it_out(monkeypatch):
    monkeypatch.setenv('IBNNET_MX_NATIVE', '0')
    assert native.functions() is None
    assert 'IBNNET_MX_NATIVE is 0' in native.about()
    monkeypatch.undo()
    assert (native.functions() is None) == (not native.LIBRARY.is_file())  # what was seen meanwhile is not kept


def test_a_damaged_library_is_named(monkeypatch, tmp_path, capsys):
    (tmp_path / '_fast.so').write_bytes(b'no library')
    monkeypatch.setattr(native, 'LIBRARY', tmp_path / '_fast.so')
    assert native.functions() is None
    assert 'build it anew: ibnnet build reader' in capsys.readouterr().err
    assert 'OpenCV, which takes three times as long' in native.about()


@pytest.mark.skipif(not has_compiler(), reason='there is no C compiler')
@pytest.mark.parametrize(
    'sources', ['int fast_new(void) { return 0; }', 'const char* fast_interface(void) { return "old"; }']
)
def test_a_library_of_other_sources_is_not_called(sources, tmp_path, monkeypatch, capsys):
    """A checkout that went on has the old library beside the new Python; its structures are laid out in another way."""
    (tmp_path / 'old.c').write_text(sources)
    names = [name for name in native._FUNCTIONS if name not in sources]
    with open(tmp_path / 'old.c', 'a') as file:
        file.writelines(f'\nvoid {name}(void) {{}}' for name in names if 'interface' in sources)
    subprocess.run([build.compiler(), '-shared', '-fPIC', 'old.c', '-o', 'old.so'], cwd=tmp_path, check=True)
    monkeypatch.setattr(native, 'LIBRARY', tmp_path / 'old.so')
    monkeypatch.delenv('IBNNET_MX_NATIVE', raising=False)
    assert native.functions() is None
    assert (
        'old.so was built from other sources, so pictures are decoded by OpenCV; build it anew'
        in capsys.readouterr().err
    )
