"""Compiles the operators of cpp/ for the mxnet that is installed:  python -m ibnnet_mx.operators.build

All but those with steps.h talk to mxnet's insides, which another build of it may have elsewhere. So what was built is
tried in a process of its own before it takes its place; where it does not work, the library is built without.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mxnet as mx

from ibnnet_mx.operators import HERE, LIBRARY

OPS = HERE / 'cpp'
# GCC 4.8 made the wheels' libmxnet.so, whose strings are the old ones. arrays.h moves NDArrays, which alarms GCC 12.
FLAGS = ['-std=c++17', '-O3', '-fopenmp', '-fPIC', '-D_GLIBCXX_USE_CXX11_ABI=0']
FLAGS += ['-Wno-psabi', '-Wno-maybe-uninitialized']
INSIDES = {  # as libmxnet.so was built; it decides how large its classes are
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
LIMIT = 120  # seconds of the trial


def build():
    """Compiles LIBRARY, whole or not at all. Returns lines about what had to be left out.

    ValueError: no compiler, or what it says.
    """
    compiler = os.environ.get('CXX') or next(filter(shutil.which, ('g++', 'c++', 'clang++')), None)
    if compiler is None:
        raise ValueError('no C++ compiler found: install g++ (Debian and Ubuntu: apt install g++)')
    root = Path(mx.__file__).resolve().parent
    interface = root / 'src' / 'lib_api.cc'
    if not interface.is_file():
        raise ValueError(f'{interface} is missing: this mxnet comes without the interface for operators')
    with tempfile.TemporaryDirectory(dir=HERE) as folder:
        part = Path(folder) / LIBRARY.name
        basic = [(OPS / f'{name}.cc', name, []) for name in ('mabn', 'renorm', 'library')]
        basic.append((interface, 'lib_api', []))
        notes = []
        try:
            _link(compiler, root, [*basic, *_inside(root)], part)
            _try(part)
        except ValueError as error:
            notes.append(f'what talks to the insides of mxnet does not work with this one and is left out: {error}')
            _link(compiler, root, basic, part)
        os.replace(part, LIBRARY)
    return notes


def _inside(root):
    """(file, name, flags) of what talks to mxnet's insides."""
    headers = [f'-I{OPS}', '-isystem', str(root / 'include'), '-isystem', str(root / 'include' / 'mkldnn')]
    defined = [f'-D{name}={value}' for name, value in INSIDES.items()]
    there = SETS if platform.machine() == 'x86_64' else {'plain': []}
    for name in ('norm', 'excite', 'winograd', 'update'):
        yield OPS / f'{name}.cc', name, [*headers, *defined]
    yield OPS / 'choose.cc', 'choose', []
    for name, flags in there.items():
        wide = ['-mprefer-vector-width=512'] if name == 'avx512' else []
        for kernels in ('kernels', 'winograd_kernels'):
            yield OPS / f'{kernels}.cc', f'{kernels}_{name}', [f'-DVARIANT={name}', *flags, *wide]


def _link(compiler, root, files, target):
    """files: (source, name of its object, flags)."""

    def compiled(given):
        source, name, flags = given
        made = target.with_name(f'{name}.o')
        _run([compiler, *FLAGS, *flags, '-I', str(root / 'include'), '-c', str(source), '-o', str(made)], source)
        return str(made)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compiled, files))
    library = [f'-L{root}', '-l:libmxnet.so', f'-Wl,-rpath,{root}']
    _run([compiler, '-shared', '-fopenmp', *objects, *library, '-o', str(target)], target)


def _run(words, what):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f'{words[0]} could not compile {what}:\n{done.stderr.strip()}')


def _try(library):
    """ValueError: a process that computes with it dies, or computes something else than mxnet does."""
    try:
        words = [sys.executable, '-c', TRIAL, str(library)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        raise ValueError(f'its trial took more than {LIMIT} seconds') from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()][-1:] or ['']
        raise ValueError(f'its trial ended with {done.returncode} {said[0]}')


if __name__ == '__main__':
    try:
        for line in build():
            print(f'ibnnet_mx.operators.build: {line}', file=sys.stderr)
    except (OSError, ValueError) as error:
        sys.exit(f'ibnnet_mx.operators.build: {error}')
