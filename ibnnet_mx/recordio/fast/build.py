"""Compile fast/ against libjpeg-turbo:  ibnnet build reader

libjpeg-turbo is the system's, if its header is installed. Else it comes from a wheel of PyPI (comma-deps-libjpeg,
270 kB, a static library). The wheel's metadata asks for a newer Python than ours, although it holds no Python code.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Sequence

HERE = Path(__file__).resolve().parent
LIBRARY = '_fast.so'
SOURCES = (
    'trap.c',
    'decoder.c',
    'exif.c',
    'header.c',
    'segments.c',
    'turn.c',
    'jpeg.c',
    'payload.c',
    'sample.c',
    'straight.c',
    'slanted.c',
    'filter.c',
    'render.c',
    'restart.c',
    'shuffle.c',
    'last_words.c',
)
FLAGS = ['-std=gnu11', '-O3', '-fPIC', '-fvisibility=hidden', '-pthread']
# All variants of the kernels must round alike. Not-a-number and traps cannot occur in them.
EXACT = ['-ffp-contract=off', '-fno-trapping-math', '-fno-signed-zeros', '-ffinite-math-only', '-fno-math-errno']
WIDER = {
    'kernels_avx2': ['-mavx2'],
    'kernels_avx512': ['-mavx512f', '-mavx512bw', '-mavx512vl', '-mavx512dq', '-mprefer-vector-width=512'],
}
WITHOUT = 'pictures are read by OpenCV, which takes three times as long; once there is a compiler: ibnnet build reader'
WHEEL = 'comma-deps-libjpeg==3.1.0.post92'
HASHES = {  # SHA-256 of the wheels for x86-64 and aarch64
    'b47ff662cabd8a0c564fd12f64de451a8806990d80712193b6cd7c23fba2ce6f',
    '88219351e4b3d550c403a8143613977d55612abcd3d3a047caad1d391c7eae38',
}
PROBE = """#include <stdio.h>
#include <jpeglib.h>
#if LIBJPEG_TURBO_VERSION_NUMBER < 2000000
#error libjpeg-turbo 2.0 or newer is needed
#endif
int main(void) { struct jpeg_error_mgr e; jpeg_std_error(&e); return 0; }
"""


def _run(words: Sequence[str]) -> str | None:
    """Run a command. Return None if it succeeds, else its output."""
    done = subprocess.run(list(words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return None if done.returncode == 0 else done.stdout.strip()


def compiler() -> str:
    """Return the C compiler. Raises ValueError if there is none."""
    command = os.environ.get('CC') or next(filter(shutil.which, ('gcc', 'cc', 'clang')), None)
    if command is None:
        raise ValueError('no C compiler found: install gcc (Debian and Ubuntu: apt install gcc libc6-dev)')
    return command


def _system(cc: str, folder: Path) -> list[str] | None:
    """Return the flags of the system's libjpeg-turbo, None if it has none."""
    probe = folder / 'probe.c'
    probe.write_text(PROBE)
    return None if _run([cc, str(probe), '-ljpeg', '-o', str(folder / 'probe')]) else ['-ljpeg']


def _wheel(folder: Path) -> list[str]:
    """Fetch the wheel into `folder` and return the flags of its library. Raises ValueError if that fails."""
    words = [sys.executable, '-m', 'pip', 'download', '--disable-pip-version-check', '--python-version', '3.12']
    error = _run([*words, '--only-binary=:all:', '--no-deps', '--dest', str(folder), WHEEL])
    wheels = sorted(folder.glob('*.whl'))
    if error or not wheels:
        reason = (error or 'no file came').splitlines()[-1]
        raise ValueError(
            f"no libjpeg-turbo: {WHEEL} could not be fetched ({reason}); install the system's "
            '(Debian and Ubuntu: apt install libjpeg62-turbo-dev or libjpeg-turbo8-dev)'
        )
    if hashlib.sha256(wheels[0].read_bytes()).hexdigest() not in HASHES:
        raise ValueError(f'{wheels[0].name} is not the file that is known: its sha256 differs')
    with zipfile.ZipFile(wheels[0]) as file:
        file.extractall(folder / 'wheel')
    (header,) = (folder / 'wheel').rglob('jpeglib.h')
    (library,) = (folder / 'wheel').rglob('libjpeg.a')
    return [f'-I{header.parent}', str(library)]


def _objects(folder: Path) -> list[tuple[str, list[str], str]]:
    """Return (source, flags, object file) of everything that is compiled."""
    interface = hashlib.sha256((HERE / 'fast.h').read_bytes()).hexdigest()  # native.py compares it
    flags = [*FLAGS, f'-DINTERFACE="{interface}"']
    files = [(name, flags, name[:-2]) for name in SOURCES] + [('kernels.c', FLAGS + EXACT, 'kernels')]
    if platform.machine() in ('x86_64', 'AMD64'):
        files += [('kernels.c', FLAGS + EXACT + ['-DAVX2', *flags], name) for name, flags in WIDER.items()]
    return [(str(HERE / source), flags, str(folder / f'{name}.o')) for source, flags, name in files]


def build(target: Path, extra: Sequence[str] = (), portable: bool = False) -> None:
    """Compile `target`, whole or not at all. Raises ValueError: what is missing, or the compiler's words.

    portable: for a wheel, whose users may have no libjpeg-turbo.
    """
    cc = compiler()
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        folder = Path(name)
        jpeg = (None if portable else _system(cc, folder)) or _wheel(folder)
        include = [flag for flag in jpeg if flag.startswith('-I')]
        for source, flags, out in _objects(folder):
            error = _run([cc, *flags, *extra, *include, '-c', source, '-o', out])
            if error:
                raise ValueError(f'{cc} could not compile {source}:\n{error}')
        objects = [out for _, _, out in _objects(folder)]
        part = folder / target.name
        libraries = [flag for flag in jpeg if not flag.startswith('-I')]
        hidden = ['-Wl,--exclude-libs,ALL', '-Wl,-Bsymbolic']  # OpenCV brings a libjpeg of its own into the process
        error = _run([cc, '-shared', *extra, *objects, *libraries, *hidden, '-lm', '-o', str(part)])
        if error:
            raise ValueError(f'{cc} could not link {target}:\n{error}')
        os.replace(part, target)


if __name__ == '__main__':
    if len(sys.argv) > 1:
        sys.exit(f'{__doc__}\nIt takes no options. `ibnnet build reader` does the same.')
    try:
        build(HERE / LIBRARY)
    except (OSError, ValueError) as error:
        sys.exit(f'ibnnet_mx.recordio.fast.build: {error}\n{WITHOUT}')
