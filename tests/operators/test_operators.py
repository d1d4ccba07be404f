"""The operators in C++: how they are built and tried, for which mxnet they are loaded, and what is said otherwise."""

import hashlib
import struct
import subprocess
import sys

import mxnet as mx
import pytest
from mxnet import library

from ibnnet_mx import operators
from ibnnet_mx.operators import build, libmxnet, trial
from ibnnet_mx.operators.libmxnet import Record

CPU, GPU = libmxnet.WHEELS  # identities
HINT = 'build it anew: ibnnet build operators'
built = pytest.mark.skipif(not operators.fused(), reason='ibnnet build operators has not built it')


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


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """A compiler that notes what it is asked for in tmp_path/asked and makes empty files."""
    compiler = tmp_path / 'c++'
    compiler.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nwhile [ "$1" != -o ]; do shift; done\n: > "$2"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv('CXX', str(compiler))
    monkeypatch.setattr(build, 'HERE', tmp_path)
    monkeypatch.setattr(build, 'LIBRARY', tmp_path / '_ops.so')
    return lambda: [line for line in (tmp_path / 'asked').read_text().splitlines() if line.startswith('-shared')]


def test_a_library_for_a_wheel_looks_for_mxnet_beside_the_package(monkeypatch, tmp_path, compiler):
    monkeypatch.setattr(build, '_try', lambda library: None)
    build.build_portable(tmp_path / 'wheel.so')
    (link,) = compiler()
    assert '/old_libraries.o' in link
    assert '-Wl,-rpath,$ORIGIN/../../mxnet' in link
    assert libmxnet.read_record(tmp_path / 'wheel.so').tried_with == (libmxnet.identify(libmxnet.path()),)


def test_what_does_not_work_with_this_mxnet_is_left_out(monkeypatch, tmp_path, compiler):
    trials = iter([ValueError('its trial ended with 1'), None])
    monkeypatch.setattr(build, '_try', lambda library: throw(next(trials)))
    notes = build.build()
    assert 'do not work with this one and are left out: its trial ended with 1' in notes[0]
    assert ['/norm.o' in line for line in compiler()] == [True, False]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['_ops.so', 'asked', 'c++']


def throw(error):
    if error is not None:
        raise error


def test_a_library_that_works_with_no_operator_takes_no_place(tmp_path, compiler):
    with pytest.raises(ValueError, match='^its trial ended with 1 .*_ops.so'):  # it is empty
        build.build()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['asked', 'c++']


def test_the_record_names_this_mxnet_and_the_sources(monkeypatch, tmp_path, compiler):
    monkeypatch.setattr(build, '_try', lambda library: None)
    assert build.build() == []
    record = libmxnet.read_record(tmp_path / '_ops.so')
    assert record == Record(build._hash_sources(), (libmxnet.identify(libmxnet.path()),))


@pytest.mark.parametrize(
    ('sources', 'error', 'stays'),
    [('same', None, True), ('same', ValueError('its trial ended with 1'), False), ('other', None, False)],
)
def test_a_library_for_another_mxnet_is_tried_before_it_is_replaced(
    monkeypatch, tmp_path, compiler, sources, error, stays
):
    present = libmxnet.identify(libmxnet.path())
    path, trials = tmp_path / '_ops.so', []
    path.write_bytes(b'a library')
    libmxnet.add_record(path, Record(build._hash_sources() if sources == 'same' else 'other', ('build-id:aa',)))

    def attempt(library):
        trials.append(library)
        throw(error if library == path else None)

    monkeypatch.setattr(build, '_try', attempt)
    notes = build.build()
    assert (path in trials) == (sources == 'same')
    assert path.read_bytes().startswith(b'a library') == stays
    assert ('works with this one too' in ''.join(notes)) == stays
    assert set(libmxnet.read_record(path).tried_with) == ({'build-id:aa', present} if stays else {present})


@built
def test_the_trial_exercises_every_registered_operator():
    slow = {'ibnnet_winograd'} - trial.registered()  # it is registered if it is fast on this processor
    assert set(trial.CASES) == trial.registered() | slow


@built
def test_an_operator_without_a_trial_is_an_error(monkeypatch):
    monkeypatch.setattr(library, 'load', lambda *given: None)
    monkeypatch.delitem(trial.CASES, 'ibnnet_excite')
    with pytest.raises(ValueError, match='^ibnnet_excite has no trial$'):
        trial.run('there')


@built
@pytest.mark.parametrize('name', trial.CASES)
def test_the_trial_finds_a_wrong_result(name, monkeypatch):
    if name not in trial.registered():
        pytest.skip(f'{name} is not fast on this processor')
    monkeypatch.setattr(library, 'load', lambda *given: None)
    trial.run('there')
    right = getattr(mx.nd, name)

    def wrong(*arrays, **options):
        if name == 'ibnnet_update':
            return right(*arrays, **{**options, 'rescale_grad': 1.01 * options['rescale_grad']})
        return right(*arrays[:-1], arrays[-1] * 1.01, **options)

    monkeypatch.setattr(mx.nd, name, wrong)
    with pytest.raises(ValueError, match=rf'^{name}: case \d+, result \d+ differs by '):
        trial.run('there')


def test_they_can_be_left_out(monkeypatch):
    monkeypatch.setenv('IBNNET_MX_NATIVE', '0')
    assert operators.loaded.__wrapped__() is False


def test_without_them_nothing_is_said(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(operators, 'LIBRARY', tmp_path / '_ops.so')
    assert operators.loaded.__wrapped__() is False
    assert capsys.readouterr().err == ''


def loaded_with(monkeypatch, path, record):
    """Return loaded() for a file with a record, and the files that mxnet was asked to load."""
    asked = []
    monkeypatch.delenv('IBNNET_MX_NATIVE', raising=False)
    monkeypatch.setattr(operators, 'LIBRARY', path)
    monkeypatch.setattr(library, 'load', lambda path, verbose: asked.append(path))
    path.write_bytes(b'no library')
    if record is not None:
        libmxnet.add_record(path, record)
    return operators.loaded.__wrapped__(), asked


@pytest.mark.parametrize('others', [(), ('build-id:aa', 'build-id:ff')])
def test_the_libmxnet_that_it_was_tried_with_loads_it(monkeypatch, tmp_path, capsys, others):
    record = Record('', (libmxnet.identify(libmxnet.path()), *others))
    assert loaded_with(monkeypatch, tmp_path / '_ops.so', record) == (True, [str(tmp_path / '_ops.so')])
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize(
    ('record', 'reason'),
    [
        (None, 'it has no record of the libmxnet.so that it was tried with'),
        (Record('', ()), 'it was tried with none, not with {path} ({wheel})'),
        (Record('', (CPU, 'build-id:aa')), 'it was tried with mxnet 1.9.1, build-id:aa, not with {path} ({wheel})'),
    ],
)
def test_another_libmxnet_is_refused_in_one_line(monkeypatch, tmp_path, capsys, record, reason):
    monkeypatch.setattr(libmxnet, 'identify', lambda path: GPU)
    path = tmp_path / '_ops.so'
    assert loaded_with(monkeypatch, path, record) == (False, [])
    reason = reason.format(path=libmxnet.path(), wheel='mxnet-cu112 1.9.1')
    assert capsys.readouterr().err == f'{path} is not loaded, {HINT} ({reason})\n'


def test_without_a_fitting_library_networks_are_graphs_of_mxnets_own_operators(tmp_path):
    path = tmp_path / '_ops.so'
    path.write_bytes(b'no library')
    libmxnet.add_record(path, Record('', ('build-id:aa',)))
    script = f"""
import mxnet as mx
from pathlib import Path
from ibnnet_mx import get_model, operators
operators.LIBRARY = Path({str(path)!r})
assert 'ibnnet_' not in get_model('cifar_resnet20_ibn_a').trace(2, mx.cpu())[0].tojson()
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)
    assert done.stderr.count('\n') == 1
    assert 'is not loaded, build it anew' in done.stderr


@pytest.mark.parametrize('line', [b'{', b'[]', b'{"sources": ""}', b'\xff', b'3'])
def test_a_damaged_record_is_none(tmp_path, line):
    (tmp_path / '_ops.so').write_bytes(b'a library' + libmxnet.MARK + line)
    assert libmxnet.read_record(tmp_path / '_ops.so') is None


def elf(*notes, kind=4):
    """A 64-bit ELF file of one segment of notes (name, kind, content)."""
    parts = [
        struct.pack('<III', len(name), len(content), number) + name.ljust(-len(name) % 4 + len(name), b'\0') + content
        for name, number, content in notes
    ]
    header = (b'\x7fELF\x02\x01'.ljust(32, b'\0') + struct.pack('<Q', 64)).ljust(54, b'\0') + struct.pack('<HH', 56, 1)
    body = b''.join(parts)
    return header.ljust(64, b'\0') + struct.pack('<IIQQQQ', kind, 0, 120, 0, 0, len(body)).ljust(56, b'\0') + body


def test_the_build_id_is_the_linkers(tmp_path):
    path = tmp_path / 'libmxnet.so'
    path.write_bytes(elf((b'Linux\0', 3, b'abcd'), (b'GNU\0', 1, b'efgh'), (b'GNU\0', 3, bytes(range(20)))))
    assert libmxnet.identify(path) == 'build-id:' + bytes(range(20)).hex()


@pytest.mark.parametrize(
    'content',
    [b'', b'\x7fELF', b'x' * 100, elf(), elf((b'GNU\0', 1, b'abcd')), elf((b'GNU\0', 3, b'abcd'), kind=1)]
    + [elf((b'GNU\0', 3, b'abcd'))[:-2], elf((b'GNU\0', 3, b'abcd'))[:70]],
)
def test_without_a_build_id_size_and_ends_decide(tmp_path, content):
    path = tmp_path / 'libmxnet.so'
    path.write_bytes(content)
    digest = hashlib.sha256(b'%d ' % len(content) + content + content).hexdigest()
    assert libmxnet.identify(path) == f'size-sha256:{digest}'


def test_a_large_file_without_a_build_id_is_read_at_its_ends(tmp_path):
    path = tmp_path / 'libmxnet.so'
    identities = set()
    for first, middle, last, size in ((0, 0, 0, 3), (0, 1, 0, 3), (1, 0, 0, 3), (0, 0, 1, 3), (0, 0, 0, 4)):
        parts = [bytes([value]) * libmxnet.MEGABYTE for value in (first, *[middle] * (size - 2), last)]
        path.write_bytes(b''.join(parts))
        identities.add(libmxnet.identify(path))
    assert len(identities) == 4  # the middle is not read


def test_this_mxnet_has_an_identity():
    assert libmxnet.identify(libmxnet.path()).startswith(('build-id:', 'size-sha256:'))


def test_a_damaged_library_is_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv('IBNNET_MX_NATIVE', raising=False)
    monkeypatch.setattr(operators, 'LIBRARY', tmp_path / '_ops.so')
    operators.LIBRARY.write_bytes(b'no library')
    libmxnet.add_record(operators.LIBRARY, Record('', (libmxnet.identify(libmxnet.path()),)))
    assert operators.loaded.__wrapped__() is False
    assert capsys.readouterr().err.startswith(f'{operators.LIBRARY} cannot be loaded, {HINT} (')
