import importlib.machinery
import os
import re
import subprocess
import sys
import types

import pytest

from ibnnet_mx import _env, _limits
from tests.conftest import ROOT

VARIABLES = ('OMP_NUM_THREADS', 'DNNL_MAX_CPU_ISA', 'DMLC_ROLE', 'IBNNET_MX_TUNE')
VARIABLES += ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')
SHOW = "import os, ibnnet_mx; print(*(os.environ.get(v) for v in ('OMP_NUM_THREADS', 'DNNL_MAX_CPU_ISA')))"


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch):
    """None of the variables is set, mxnet is not imported and prepare() has not run; all of it is put back."""
    for name in VARIABLES:
        monkeypatch.setenv(name, '')  # so that what a test sets is undone as well
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, 'mxnet', raising=False)
    monkeypatch.setattr(_env, '_lines', [])


def run(code, **variables):
    """A fresh interpreter with exactly these of the variables set."""
    return subprocess.run([sys.executable, '-c', code], env={**os.environ, **variables}, capture_output=True, text=True)


def amx(monkeypatch, there, granted):
    asked = []
    monkeypatch.setattr(_env, '_has_amx', lambda: there)
    monkeypatch.setattr(_env, '_ask_for_amx', lambda: asked.append(True) or granted)
    return asked


def test_the_import_sets_threads_and_leaves_mxnet_out():
    done = run("import sys, os, ibnnet_mx; print(os.environ['OMP_NUM_THREADS'], 'mxnet' in sys.modules)")
    assert (done.stderr, done.stdout.split()) == ('', [str(_limits.usable_cores()), 'False'])


def test_alias_of_numpy_comes_without_a_warning():
    code = "warnings.simplefilter('error'); import ibnnet_mx, numpy; find_spec('mxnet'); print(numpy.bool is bool)"
    done = run(f'import warnings; from importlib.util import find_spec; {code}')
    assert (done.stderr, done.stdout) == ('', 'True\n')


def test_own_number_of_threads_stays():
    assert run(SHOW, OMP_NUM_THREADS='7').stdout.split()[0] == '7'


def test_waiting_threads_spin_briefly_unless_told_otherwise():
    show = "import os, ibnnet_mx; print(os.environ.get('GOMP_SPINCOUNT'))"
    assert run(show).stdout == '1000\n'
    assert run(show, GOMP_SPINCOUNT='5').stdout == '5\n'
    assert run(show, OMP_WAIT_POLICY='active').stdout == 'None\n'
    assert run(show, IBNNET_MX_TUNE='0').stdout == 'None\n'


def test_tuning_switched_off_sets_nothing_but_the_alias():
    assert run(SHOW, IBNNET_MX_TUNE='0').stdout == 'None None\n'
    assert run('import numpy, ibnnet_mx; print(numpy.bool is bool)', IBNNET_MX_TUNE='0').stdout == 'True\n'


def test_isa_without_amx_stays():
    assert run(SHOW, DNNL_MAX_CPU_ISA='AVX2').stdout.split()[1] == 'AVX2'


@pytest.mark.parametrize('role', ['sever', '', 'WORKER'])
def test_unknown_role_is_refused(role):
    done = run('import ibnnet_mx', DMLC_ROLE=role)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert (
        last
        == f'ValueError: DMLC_ROLE={role!r} makes mxnet wait for ever: use worker, server or scheduler, or unset it'
    )


@pytest.mark.parametrize('words', [['-m', 'ibnnet_mx', 'models'], ['ibnnet', 'models']])
def test_a_command_says_what_is_wrong_in_one_line(words, tmp_path):
    (tmp_path / 'numpy.py').write_text("__version__ = '2.1.0'")
    (tmp_path / 'numpy-2.1.0.dist-info').mkdir()
    (tmp_path / 'numpy-2.1.0.dist-info' / 'METADATA').write_text('Metadata-Version: 2.1\nName: numpy\nVersion: 2.1.0\n')
    (tmp_path / 'ibnnet').write_text('import sys\nfrom ibnnet_mx.cli.main import main\nsys.exit(main())')
    words = [str(tmp_path / word) if word == 'ibnnet' else word for word in words]
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, *words], env={**os.environ, 'PYTHONPATH': path}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr.startswith('ibnnet models: numpy 2.1.0 is too new for mxnet 1.9.1: ')
    assert done.stderr.count('\n') == 1


@pytest.mark.parametrize(
    'words',
    [
        ['-m', 'ibnnet_mx', 'models'],
        ['-m', 'ibnnet_mx', 'convert', 'a.pth', 'b-0000.params'],
        ['-m', 'ibnnet_mx.operators.build'],
        [str(ROOT / 'evaluate.py'), 'a.rec', '--prefix', 'p'],
    ],
    ids=lambda words: words[-1],
)
def test_a_command_names_the_extras_where_mxnet_is_missing(words, tmp_path):
    (tmp_path / 'mxnet.py').write_text("raise ModuleNotFoundError(\"No module named 'mxnet'\", name='mxnet')")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, *words], env={**os.environ, 'PYTHONPATH': path}, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.endswith(": No module named 'mxnet': pip install -e '.[cpu]', or '.[gpu]'\n")
    assert done.stderr.count('\n') == 1


@pytest.mark.parametrize('role', ['worker', 'server', 'scheduler'])
def test_known_role_stays(monkeypatch, role):
    monkeypatch.setenv('DMLC_ROLE', role)
    _env.prepare()
    assert os.environ['DMLC_ROLE'] == role


def mxnet_is_looked_for(monkeypatch, numpy='1.23.5'):
    """Import mxnet as far as the finder goes, with mxnet installed and this version of numpy."""
    monkeypatch.setitem(sys.modules, 'numpy', types.SimpleNamespace(__version__=numpy))
    monkeypatch.setattr(importlib.machinery.PathFinder, 'find_spec', lambda *_: object())
    _env._BeforeMxnet().find_spec('mxnet', None)


def test_numpy_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(_env, '_numpy_version', lambda: None)
    for _ in range(2):  # it is not taken for done
        with pytest.raises(ImportError, match="numpy is missing: .* -m pip install 'numpy>=1.21'"):
            _env.prepare()


@pytest.mark.parametrize('version', ['2.0.0rc1', '2.1.3'])
def test_numpy_that_is_too_new_is_named_when_mxnet_is_imported(monkeypatch, version):
    monkeypatch.setattr(_env, '_numpy_version', lambda: version)
    _env.prepare()  # the reader works with it
    with pytest.raises(ImportError, match=f"numpy {version} is too new .* -m pip install 'numpy>=1.21,<1.24'"):
        mxnet_is_looked_for(monkeypatch, version)


def test_numpy_that_is_too_new_is_named_before_mxnet_too(tmp_path):
    """Its metadata say another version: the module itself is looked at when mxnet is to be imported."""
    (tmp_path / 'numpy.py').write_text("__version__ = '2.1.0'")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = run('import ibnnet_mx, mxnet', PYTHONPATH=path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith('ImportError: numpy 2.1.0 is too new for mxnet 1.9.1: ')


@pytest.mark.parametrize('version', ['1.24.0', '1.26.4'])
def test_missing_alias_of_numpy_is_mended(monkeypatch, version):
    monkeypatch.setitem(sys.modules, 'numpy', types.SimpleNamespace(__version__=version))
    _env.prepare()
    assert sys.modules['numpy'].bool is bool


@pytest.mark.parametrize('version', [(3, 7, 16), (3, 12, 1), (4, 0, 0)])
def test_python_that_cannot_work_is_named_when_mxnet_is_imported(monkeypatch, version):
    monkeypatch.setattr(sys, 'version_info', version)
    monkeypatch.setattr(_env.platform, 'python_version', lambda: '.'.join(map(str, version)))
    _env.prepare()
    names = r'3\.8 to 3\.11, not on ' + '.'.join(map(str, version)) + '.*pip install -e .*cpu'
    with pytest.raises(ImportError, match=names):
        mxnet_is_looked_for(monkeypatch)
    missing = ModuleNotFoundError("No module named 'mxnet'", name='mxnet')
    assert re.search(names, _env.describe_error(missing))


def test_without_mxnet_nothing_is_set_and_a_question_for_it_is_answered(monkeypatch):
    monkeypatch.setattr(importlib.machinery.PathFinder, 'find_spec', lambda *_: None)
    _env.prepare()
    assert 'OMP_NUM_THREADS' not in os.environ
    assert _env.report()[1] == 'threads, AMX: unchanged, because mxnet is missing'
    monkeypatch.setattr(sys, 'version_info', (3, 13, 0))
    assert _env._BeforeMxnet().find_spec('mxnet', None) is None


def test_amx_is_opened_only_with_leave(monkeypatch):
    asked = amx(monkeypatch, there=True, granted=True)
    _env.prepare()
    assert (os.environ['DNNL_MAX_CPU_ISA'], asked) == ('AVX512_CORE_AMX', [True])
    assert _env.report()[2] == 'AMX: on (DNNL_MAX_CPU_ISA=AVX512_CORE_AMX)'


@pytest.mark.parametrize(
    ('there', 'line'), [(True, 'AMX: off, refused by the kernel'), (False, 'AMX: this processor has none')]
)
def test_amx_without_leave_stays_closed(monkeypatch, there, line):
    amx(monkeypatch, there, granted=False)
    _env.prepare()
    assert 'DNNL_MAX_CPU_ISA' not in os.environ
    assert _env.report()[2] == line


@pytest.mark.parametrize('isa', ['AVX512_CORE_AMX', 'avx512_core_amx', 'ALL'])
@pytest.mark.parametrize('granted', [True, False])
def test_amx_that_the_user_opened_needs_leave_too(monkeypatch, isa, granted):
    monkeypatch.setenv('DNNL_MAX_CPU_ISA', isa)
    asked = amx(monkeypatch, there=False, granted=granted)
    _env.prepare()
    assert asked == [True]
    assert os.environ.get('DNNL_MAX_CPU_ISA') == (isa if granted else None)
    assert isa in _env.report()[2]


def test_amx_is_not_asked_for_where_the_user_closed_it(monkeypatch):
    monkeypatch.setenv('DNNL_MAX_CPU_ISA', 'AVX2')
    asked = amx(monkeypatch, there=True, granted=True)
    _env.prepare()
    assert (asked, _env.report()[2]) == ([], 'AMX: off, as DNNL_MAX_CPU_ISA=AVX2 says')


def test_mxnet_imported_before_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mxnet', types.ModuleType('mxnet'))
    _env.prepare()
    assert 'OMP_NUM_THREADS' not in os.environ
    assert 'mxnet was imported before ibnnet_mx' in _env.report()[1]


def test_cuda_libraries_are_loaded_for_the_cuda_wheel_only(monkeypatch, tmp_path):
    loaded = []
    monkeypatch.setattr(_env.ctypes, 'CDLL', lambda name, *mode: loaded.append(name))
    spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(_env.importlib.util, 'find_spec', lambda name: spec)
    cudart = tmp_path / 'cuda_runtime' / 'lib' / 'libcudart.so.11.0'
    cudart.parent.mkdir(parents=True)
    cudart.touch()
    amx(monkeypatch, there=False, granted=False)
    monkeypatch.setattr(_env, '_mxnet_wheel', lambda: 'mxnet 1.9.1')
    _env.prepare()
    assert loaded == []
    monkeypatch.setattr(_env, '_lines', [])
    monkeypatch.setattr(_env, '_mxnet_wheel', lambda: 'mxnet-cu112 1.9.1')
    _env.prepare()
    assert loaded[:2] == [str(cudart), 'libnvrtc.so.11.2']  # what is in no wheel is left to the system's search
    assert len(loaded) == len(_env.CUDA_LIBRARIES.split())
    assert _env.report()[-1] == 'CUDA libraries: loaded'


def test_missing_cuda_libraries_are_named(monkeypatch):
    def refuse(name, *mode):
        raise OSError(name)

    monkeypatch.setattr(_env.ctypes, 'CDLL', refuse)
    assert _env._load_cuda()[0].startswith('CUDA libraries: not found libcudart.so.11.0 ')


def test_report_names_versions_and_choices(monkeypatch):
    monkeypatch.setattr(_env, '_numpy_version', lambda: '1.23.5')
    monkeypatch.setattr(_env, '_mxnet_wheel', lambda: 'mxnet 1.9.1')
    for name in ('usable_cores', 'own_cores'):
        monkeypatch.setattr(_env, name, lambda: 3)
    amx(monkeypatch, there=False, granted=False)
    _env.prepare()
    _env.prepare()  # changes nothing
    assert _env.report() == [
        f'Python {sys.version.split()[0]}, numpy 1.23.5, mxnet 1.9.1',
        'threads: 3, the usable cores (OMP_NUM_THREADS was not set)',
        'AMX: this processor has none',
    ]
