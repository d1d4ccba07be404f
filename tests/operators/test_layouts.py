"""The kernels of norms on layouts that a processor without AMX does not lead to: tests/layouts.cc, compiled here."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ibnnet_mx.operators import build

HERE = Path(__file__).resolve().parent
NEEDS = {'plain': set(), 'avx2': {'avx2', 'fma'}, 'avx512': {'avx512f', 'avx512bw', 'avx512dq', 'avx512vl'}}


@pytest.mark.parametrize('variant', build.SETS)
def test_channels_last_and_blocks_are_as_plain(variant, tmp_path):
    compiler = shutil.which('g++')
    if compiler is None:
        pytest.skip('no g++')
    if not NEEDS[variant] <= set(Path('/proc/cpuinfo').read_text().split()):
        pytest.skip(f'this processor has no {variant}')
    flags = ['-std=c++17', '-O1', '-fopenmp-simd', '-Wno-psabi', f'-I{build.OPS}', f'-DVARIANT={variant}']
    sources = [str(HERE / 'layouts.cc'), str(build.OPS / 'kernels.cc')]
    words = [compiler, *flags, *build.SETS[variant], *sources, '-o', str(tmp_path / 'layouts')]
    subprocess.run(words, check=True)
    done = subprocess.run([str(tmp_path / 'layouts')], capture_output=True, text=True, check=True)
    whole, half = map(float, done.stdout.split())
    assert whole < 1e-5
    assert half < 1e-2  # of bfloat16, whose last bit is 1/256
