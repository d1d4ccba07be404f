"""Process settings that must be made before mxnet is imported: threads, AMX, CUDA libraries, numpy's missing alias.

IBNNET_MX_TUNE=0 leaves threads and AMX unchanged. Variables that are set already keep their values. Child processes
inherit the variables set here, but exec drops the kernel's permission for AMX. So a child must import ibnnet_mx before
mxnet too.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.abc
import importlib.machinery
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from ibnnet_mx._limits import own_cores, read_text, usable_cores

SPINS = '1000'  # rounds of the loop in which a thread of libgomp waits
ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XTILEDATA = 158, 0x1023, 18  # x86-64 Linux: Documentation/arch/x86/xstate.rst
CUDA_LIBRARIES = """
    cuda_runtime/lib/libcudart.so.11.0  cuda_nvrtc/lib/libnvrtc.so.11.2  nvtx/lib/libnvToolsExt.so.1
    cublas/lib/libcublasLt.so.11  cublas/lib/libcublas.so.11  cusparse/lib/libcusparse.so.11
    cusolver/lib/libcusolver.so.11  cufft/lib/libcufft.so.10  curand/lib/libcurand.so.10
    cudnn/lib/libcudnn.so.8  nccl/lib/libnccl.so.2
"""  # from the wheels of the extra 'gpu'; each depends only on earlier ones
CHECKOUT = (Path(__file__).resolve().parents[1] / 'setup.py').is_file()
PACKAGE, EDITABLE = ('.', '-e ') if CHECKOUT else ('ibnnet_mx', '')
MXNET = f"pip install {EDITABLE}'{PACKAGE}[cpu]', or '{PACKAGE}[gpu]'"  # the advice if mxnet is missing
NUMPY, NUMPY_OF_MXNET = "'numpy>=1.21'", "'numpy>=1.21,<1.24' 'opencv-python-headless<4.12'"
_lines: list[str] = []  # what prepare() has set, for the log
BEFORE = dict(os.environ)  # for child processes that must not inherit the settings made here


def prepare() -> None:
    """Check DMLC_ROLE and that numpy is there, then make the settings. Further calls do nothing.

    The reader works without mxnet, on every Python from 3.8 on and with numpy 2. So Python and numpy are checked when
    mxnet is imported.
    """
    if _lines:
        return
    _check_role()
    lines = _settings()
    os.environ.setdefault('MXNET_SUBGRAPH_VERBOSE', '0')  # else mxnet prints a line for each graph that memonger tries
    if _numpy_version() is None:
        raise ImportError(f'numpy is missing: {sys.executable} -m pip install {NUMPY}', name='numpy')
    if 'numpy' in sys.modules:
        _mend_numpy()
    if not any(isinstance(finder, _BeforeMxnet) for finder in sys.meta_path):
        sys.meta_path.insert(0, _BeforeMxnet())
    _lines.extend(lines)


def describe_error(error: Exception) -> str:
    """Return the text of an error, with advice if mxnet is missing."""
    if getattr(error, 'name', None) != 'mxnet':
        return str(error)
    return f'{error}: {MXNET if _python_fits() else _other_python()}'


@contextlib.contextmanager
def terse() -> Iterator[None]:
    """End `python -m ibnnet_mx...` and `ibnnet` with a line and code 2 if an import or a setting fails."""
    try:
        yield
    except (ImportError, ValueError) as error:
        name = Path(sys.argv[0]).name if sys.argv else ''  # it is -m while `python -m` looks for the module
        if name not in ('-m', 'ibnnet'):
            raise
        print(f'ibnnet_mx: {describe_error(error)}', file=sys.stderr)
        raise SystemExit(2) from None


def report() -> list[str]:
    """Return the lines that a run's log starts with: versions, threads, AMX."""
    versions = [f'Python {platform.python_version()}', f'numpy {_numpy_version() or "missing"}', _mxnet_wheel()]
    return [', '.join(versions), *_lines]


def _python_fits() -> bool:
    return (3, 8) <= sys.version_info[:2] <= (3, 11)


def _other_python() -> str:
    return (
        f'mxnet 1.9.1 runs on Python 3.8 to 3.11, not on {platform.python_version()}, where only pack, records and '
        f"the reader work: python3.11 -m venv .venv && .venv/bin/pip install {EDITABLE}'{PACKAGE}[cpu]'"
    )


def _check_role() -> None:
    """Raise ValueError for an unknown DMLC_ROLE, with which `import mxnet` would wait for ever."""
    role = os.environ.get('DMLC_ROLE', 'worker')
    if role not in ('worker', 'server', 'scheduler'):
        raise ValueError(f'DMLC_ROLE={role!r} makes mxnet wait for ever: use worker, server or scheduler, or unset it')


def _numpy_version() -> str | None:
    """Return the version of numpy, None if there is none. numpy is not imported, so that --help answers at once."""
    if 'numpy' in sys.modules:
        return str(sys.modules['numpy'].__version__)
    if importlib.util.find_spec('numpy') is None:
        return None
    try:
        return metadata.version('numpy')
    except metadata.PackageNotFoundError:  # a copy that no installer knows
        import numpy

        return numpy.__version__


def _mend_numpy() -> None:
    """Give numpy 1 the alias numpy.bool, which mxnet 1.9.1 needs.

    numpy 1.20 to 1.23 warn about it, and 1.24 to 1.26 do not have it. numpy 2 has another numpy.bool.
    """
    import numpy

    if int(str(numpy.__version__).split('.')[0]) < 2:
        vars(numpy).setdefault('bool', bool)


def _check_for_mxnet() -> None:
    """Raise ImportError if this Python or this numpy cannot run mxnet. numpy 2 lacks more than the alias."""
    if not _python_fits():
        raise ImportError(_other_python(), name='python')
    import numpy

    if int(str(numpy.__version__).split('.')[0]) >= 2:
        advice = f'{sys.executable} -m pip install {NUMPY_OF_MXNET}'
        raise ImportError(f'numpy {numpy.__version__} is too new for mxnet 1.9.1: {advice}', name='numpy')


class _BeforeMxnet(importlib.abc.MetaPathFinder):
    """A finder that finds nothing. It mends numpy when mxnet is looked for, because --help imports neither.

    Where mxnet is installed and cannot work, it raises ImportError. Without mxnet it does nothing, because other
    packages only ask whether there is one.
    """

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        if name == 'mxnet' and importlib.machinery.PathFinder.find_spec(name, path) is not None:
            _check_for_mxnet()
            _mend_numpy()


def _mxnet_wheel() -> str:
    for name in ('mxnet-cu112', 'mxnet'):
        try:
            return f'{name} {metadata.version(name)}'
        except metadata.PackageNotFoundError:
            continue
    return 'mxnet missing'


def _settings() -> list[str]:
    if 'mxnet' in sys.modules:
        return ['threads, AMX: unchanged, because mxnet was imported before ibnnet_mx; import ibnnet_mx first']
    if importlib.machinery.PathFinder.find_spec('mxnet') is None:  # PyTorch, say, would follow the settings
        return ['threads, AMX: unchanged, because mxnet is missing']
    lines = _load_cuda() if _mxnet_wheel().startswith('mxnet-cu') else []
    if os.environ.get('IBNNET_MX_TUNE') == '0':
        return ['threads, AMX: unchanged (IBNNET_MX_TUNE=0)', *lines]
    return [_set_threads(), _set_amx(), *lines]


def _set_threads() -> str:
    """Set the count of threads. mxnet's default is half of an x86 machine's cores; all cores are faster.

    On two cores the speed was 1.84 times as high (measured).
    """
    _limit_spinning()
    threads = os.environ.get('OMP_NUM_THREADS')
    if threads:
        return f'threads: {threads}, as OMP_NUM_THREADS says'
    os.environ['OMP_NUM_THREADS'] = str(own_cores())
    cores = 'the usable cores' if own_cores() == usable_cores() else "this worker's share of the usable cores"
    return f'threads: {os.environ["OMP_NUM_THREADS"]}, {cores} (OMP_NUM_THREADS was not set)'


def _limit_spinning() -> None:
    """Let a thread of libgomp that waits spin for 10 us instead of 3 ms, unless the environment says otherwise.

    libgomp does so itself once it has more threads than cores, as a run has from its first validation on. Before that,
    a thread that spins takes a core from another process, and from the thread that it waits for: benchmarks/threads/.
    """
    if not os.environ.get('OMP_WAIT_POLICY'):
        os.environ.setdefault('GOMP_SPINCOUNT', SPINS)


def _set_amx() -> str:
    """Let oneDNN use AMX, which made bfloat16 training 2.0 times as fast (measured).

    If the variable were set without the kernel's permission, the process would die of SIGILL. So it is then removed.
    """
    isa = os.environ.get('DNNL_MAX_CPU_ISA', '')
    if isa and 'AMX' not in isa.upper() and isa.upper() != 'ALL':
        return f'AMX: off, as DNNL_MAX_CPU_ISA={isa} says'
    if not isa and not _has_amx():
        return 'AMX: this processor has none'
    if _ask_for_amx():
        os.environ['DNNL_MAX_CPU_ISA'] = isa or 'AVX512_CORE_AMX'
        return f'AMX: on (DNNL_MAX_CPU_ISA={os.environ["DNNL_MAX_CPU_ISA"]})'
    os.environ.pop('DNNL_MAX_CPU_ISA', None)
    return 'AMX: off, refused by the kernel' + (f'; DNNL_MAX_CPU_ISA={isa} was removed' if isa else '')


def _has_amx() -> bool:
    return 'amx_tile' in read_text(Path('/proc/cpuinfo'))


def bfloat16() -> str:
    """Return how this processor computes in bfloat16: 'fast', 'slow' (by float32 instructions) or 'no'.

    oneDNN needs AVX-512 for it. It is fast with instructions that multiply bfloat16: AMX or AVX512-BF16.
    """
    flags = set(read_text(Path('/proc/cpuinfo')).split())
    if not {'avx512f', 'avx512bw', 'avx512vl', 'avx512dq'} <= flags:
        return 'no'
    return 'fast' if {'amx_bf16', 'avx512_bf16'} & flags else 'slow'


LEVELS = (  # of oneDNN's instruction sets: name, the value that it begins with in DNNL_MAX_CPU_ISA, needed flags
    ('SSE4.1', 'SSE41', {'sse4_1'}),
    ('AVX', 'AVX', {'avx'}),
    ('AVX2', 'AVX2', {'avx2'}),
    ('AVX-512', 'AVX512', {'avx512f', 'avx512bw', 'avx512vl', 'avx512dq'}),
)


def instructions(dtype: str = 'float32') -> str:
    """Return the instruction set that oneDNN computes with: the processor's best, or the limit of DNNL_MAX_CPU_ISA.

    AMX counts for bfloat16 alone.
    """
    flags, limit = set(read_text(Path('/proc/cpuinfo')).split()), os.environ.get('DNNL_MAX_CPU_ISA', '').upper()
    best = ''
    for name, value, needed in LEVELS:
        best = name if needed <= flags else best
        if limit == value:
            break
    return f'{best} with AMX' if dtype == 'bfloat16' and 'AMX' in limit and _has_amx() else best or platform.machine()


def processor() -> str:
    """Return the name of the processor's model; '' if the system does not tell."""
    lines = (line.partition(':') for line in read_text(Path('/proc/cpuinfo')).splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == 'model name'), '')


def mxnet_version() -> str:
    """Return the name and version of mxnet's wheel."""
    return _mxnet_wheel()


def _ask_for_amx() -> bool:
    """Ask the kernel for the tile registers. Kernels before 5.16 and processors without them refuse."""
    if sys.platform != 'linux' or platform.machine() != 'x86_64':
        return False
    return ctypes.CDLL(None).syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0


def _load_cuda() -> list[str]:
    """Load the CUDA libraries of NVIDIA's wheels, so that libmxnet.so finds them. Missing ones may be on the system."""
    spec = importlib.util.find_spec('nvidia')
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()] if spec else []
    missing = []
    for name in CUDA_LIBRARIES.split():
        path = next((folder / name for folder in folders if (folder / name).is_file()), None)
        try:
            ctypes.CDLL(str(path) if path else Path(name).name, ctypes.RTLD_GLOBAL)
        except OSError:
            missing.append(Path(name).name)
    return [f'CUDA libraries: not found {" ".join(missing)}' if missing else 'CUDA libraries: loaded']
