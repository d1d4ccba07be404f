"""Compile the operators of cpp/ for the installed mxnet:  ibnnet build operators

The operators that include nodes.h use mxnet's internals, which differ between builds of mxnet. Those that include
steps.h use its interface for libraries. So a new library is first tried in a separate process. If the trial fails, it
is built again without the operators of nodes.h. libmxnet.py records the libmxnet.so of the trial.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mxnet as mx

from ibnnet_mx.operators import HERE, LIBRARY, libmxnet

OPS = HERE / 'cpp'
# libmxnet.so in the wheels has the old std::string of GCC 4.8. GCC 12 warns falsely about NDArrays moved in arrays.h.
FLAGS = ['-std=c++17', '-O3', '-fopenmp', '-fPIC', '-D_GLIBCXX_USE_CXX11_ABI=0']
FLAGS += ['-Wno-psabi', '-Wno-maybe-uninitialized']
INSIDES = {  # macros that libmxnet.so was built with; they decide the sizes of its classes
    'MXNET_USE_MKLDNN': 1,
    'MXNET_USE_CUDA': 0,
    'MXNET_USE_OPENCV': 0,
    'MSHADOW_USE_CUDA': 0,
    'MSHADOW_USE_MKL': 0,
    'MSHADOW_USE_CBLAS': 0,
    'MSHADOW_STAND_ALONE': 1,
    'MSHADOW_USE_F16C': 0,
}
SETS = {'plain': [], 'avx2': ['-mavx2', '-mfma'], 'avx512': [f'-mavx512{x}' for x in ('f', 'bw', 'dq', 'vl')]}
TRIAL = 'import sys; from ibnnet_mx.operators import trial; trial.run(sys.argv[1])'
LIMIT = 120  # seconds that a trial may take


# For a wheel: old versions of glibc and libstdc++ do, and libmxnet.so is looked for beside the package.
PORTABLE = ['-fno-sized-deallocation', '-include', str(OPS / 'old_libraries.h')]
BESIDE = '$ORIGIN/../../mxnet'


def build():
    """Compile LIBRARY, whole or not at all. Return lines for the user about anything unusual.

    If LIBRARY has the same sources and was built for another mxnet, it is tried first. If it works with this one too,
    it stays, so that two environments can share a checkout.
    Raises ValueError if there is no compiler, compiling fails, or the library does not work with this mxnet.
    """
    record = libmxnet.Record(_hash_sources(), (libmxnet.identify(libmxnet.path()),))
    if _share(record):
        return ['the library that was built for another mxnet works with this one too']
    compiler, root = _compiler(), Path(mx.__file__).resolve().parent
    with tempfile.TemporaryDirectory(dir=HERE) as folder:
        part = Path(folder) / LIBRARY.name
        basic, notes = _basic(root), []
        try:
            _link(compiler, root, [*basic, *_inside(root)], part)
            _try(part)
        except ValueError as error:
            notes.append(
                f'the operators that use internals of mxnet do not work with this one and are left out: {error}'
            )
            _link(compiler, root, basic, part)
            _try(part)
        libmxnet.add_record(part, record)
        os.replace(part, LIBRARY)
    return notes


def build_portable(target):
    """Compile a library for a wheel: it has all operators, and works on systems as old as mxnet's own wheel does.

    Raises ValueError as build() does, and if not all operators work with this mxnet.
    """
    compiler, root = _compiler(), Path(mx.__file__).resolve().parent
    with tempfile.TemporaryDirectory(dir=HERE) as folder:
        part = Path(folder) / LIBRARY.name
        files = [*_basic(root), *_inside(root), (OPS / 'old_libraries.cc', 'old_libraries', [])]
        _link(compiler, root, [(source, name, [*PORTABLE, *flags]) for source, name, flags in files], part, BESIDE)
        _try(part)
        libmxnet.add_record(part, libmxnet.Record(_hash_sources(), (libmxnet.identify(libmxnet.path()),)))
        shutil.copy2(part, target)


def _compiler():
    """Return the C++ compiler. Raises ValueError if there is none."""
    compiler = os.environ.get('CXX') or next(filter(shutil.which, ('g++', 'c++', 'clang++')), None)
    if compiler is None:
        raise ValueError('no C++ compiler found: install g++ (Debian and Ubuntu: apt install g++)')
    return compiler


def _basic(root):
    """Return (source, name of its object file, flags) of the operators that use mxnet's interface for libraries.

    Raises ValueError if this mxnet has no such interface.
    """
    interface = root / 'src' / 'lib_api.cc'
    if not interface.is_file():
        raise ValueError(f'{interface} is missing: this mxnet comes without its interface for operators')
    files: list[tuple] = [(OPS / f'{name}.cc', name, []) for name in ('mabn', 'renorm', 'library')]
    return [*files, (interface, 'lib_api', [])]


def _hash_sources():
    """Return the SHA-256 of cpp/ and this file, on which the built library depends."""
    paths = [*sorted(OPS.iterdir()), Path(__file__)]
    return hashlib.sha256(b''.join(path.name.encode() + path.read_bytes() for path in paths)).hexdigest()


def _share(record):
    """Try LIBRARY if it has the same sources and was never tried with this mxnet. Return True if it works."""
    present = libmxnet.read_record(LIBRARY) if LIBRARY.is_file() else None
    if present is None or present.sources != record.sources or set(record.tried_with) <= set(present.tried_with):
        return False
    try:
        _try(LIBRARY)
    except ValueError:
        return False
    with tempfile.TemporaryDirectory(dir=HERE) as folder:
        part = Path(shutil.copy2(LIBRARY, folder))
        libmxnet.add_record(part, record._replace(tried_with=present.tried_with + record.tried_with))
        os.replace(part, LIBRARY)
    return True


def _inside(root):
    """Yield (source, name of its object file, flags) of the operators that use mxnet's internals and their kernels."""
    headers = [f'-I{OPS}', '-isystem', str(root / 'include'), '-isystem', str(root / 'include' / 'mkldnn')]
    defined = [f'-D{name}={value}' for name, value in INSIDES.items()]
    sets = SETS if platform.machine() == 'x86_64' else {'plain': []}
    for name in ('norm', 'excite', 'winograd', 'update'):
        yield OPS / f'{name}.cc', name, [*headers, *defined]
    yield OPS / 'choose.cc', 'choose', []
    for name, flags in sets.items():
        wide = ['-mprefer-vector-width=512'] if name == 'avx512' else []
        for kernels in ('kernels', 'winograd_kernels'):
            yield OPS / f'{kernels}.cc', f'{kernels}_{name}', [f'-DVARIANT={name}', *flags, *wide]


def _link(compiler, root, files, target, search=None):
    """Compile and link a library. files: (source, name of its object file, flags). search: the folder of libmxnet.so
    when the library is loaded; None: where it is now.
    """

    def compile_one(file):
        source, name, flags = file
        object_file = target.with_name(f'{name}.o')
        words = [compiler, *FLAGS, *flags, '-I', str(root / 'include'), '-c', str(source), '-o', str(object_file)]
        _run(words, source)
        return str(object_file)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, files))
    library = [f'-L{root}', '-l:libmxnet.so', f'-Wl,-rpath,{search or root}']
    _run([compiler, '-shared', '-fopenmp', *objects, *library, '-o', str(target)], target)


def _run(words, product):
    """Run a compiler. Raises ValueError with its output if it fails."""
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f'{words[0]} could not compile {product}:\n{done.stderr.strip()}')


def _try(library):
    """Run the trial of a library. Raises ValueError if results are wrong, or its process dies or takes too long."""
    try:
        words = [sys.executable, '-c', TRIAL, str(library)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        raise ValueError(f'its trial took more than {LIMIT} seconds') from None
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:] or ['']
        raise ValueError(f'its trial ended with {done.returncode} {last[0]}')


if __name__ == '__main__':
    if len(sys.argv) > 1:
        sys.exit(f'{__doc__}\nIt takes no options. `ibnnet build operators` does the same.')
    try:
        for line in build():
            print(f'ibnnet_mx.operators.build: {line}', file=sys.stderr)
    except (OSError, ValueError) as error:
        sys.exit(f'ibnnet_mx.operators.build: {error}')
