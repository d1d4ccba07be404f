"""Compiles ops.cc for the mxnet that is installed:  python -m ibnnet_mx.norm.build"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import mxnet as mx

from ibnnet_mx.norm.native import HERE, LIBRARY

FLAGS = ['-std=c++17', '-O3', '-fopenmp', '-shared', '-fPIC']


def build():
    """Compiles LIBRARY, whole or not at all. ValueError: no compiler, or what it says."""
    compiler = os.environ.get('CXX') or next(filter(shutil.which, ('g++', 'c++', 'clang++')), None)
    if compiler is None:
        raise ValueError('no C++ compiler found: install g++ (Debian and Ubuntu: apt install g++)')
    root = Path(mx.__file__).resolve().parent
    interface = root / 'src' / 'lib_api.cc'
    if not interface.is_file():
        raise ValueError(f'{interface} is missing: this mxnet comes without the interface for operators')
    with tempfile.TemporaryDirectory(dir=HERE) as folder:
        part = Path(folder) / LIBRARY.name
        words = [compiler, *FLAGS, f'-I{root / "include"}', str(HERE / 'ops.cc'), str(interface), '-o', str(part)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f'{compiler} could not compile {HERE / "ops.cc"}:\n{done.stderr.strip()}')
        os.replace(part, LIBRARY)


if __name__ == '__main__':
    try:
        build()
    except (OSError, ValueError) as error:
        sys.exit(f'ibnnet_mx.norm.build: {error}')
