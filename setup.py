"""Package of ibnnet_mx; a user chooses one of the extras cpu and gpu, since both wheels own the folder mxnet/.

make dist sets IBNNET_MX_OPERATORS, the file of the C++ operators that the wheel shall carry. The reader in this wheel
needs no libjpeg. Other builds need no mxnet, and make no operators.
"""

import os
import re
import runpy
import shutil
import sys
from pathlib import Path

from setuptools import Distribution, find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
VERSION = re.search(r"^__version__ = '(.+)'$", (HERE / 'ibnnet_mx' / '__init__.py').read_text(), re.MULTILINE).group(1)

TOML = "tomli>=1.1; python_version < '3.11'"  # tomllib of Python 3.11
PLOT = ['matplotlib>=3.5']
# mxnet 1.9.1 needs a numpy that has no wheel for Python 3.12, and an OpenCV that takes it. On a newer Python the extras
# bring no mxnet, and the reader works alone.
BELOW = "; python_version < '3.12'"
PINS = [f'numpy>=1.21,<1.24{BELOW}', f'opencv-python-headless>=4.5,<4.12{BELOW}']
# The libraries that mxnet-cu112 is linked against; ibnnet_mx._env loads them before mxnet is imported.
CUDA = [
    'nvidia-cublas-cu11==11.11.3.6',
    'nvidia-cuda-nvrtc-cu11==11.8.89',
    'nvidia-cuda-runtime-cu11==11.8.89',
    'nvidia-cudnn-cu11==8.9.6.50',
    'nvidia-cufft-cu11==10.9.0.58',
    'nvidia-curand-cu11==10.3.0.86',
    'nvidia-cusolver-cu11==11.4.1.48',
    'nvidia-cusparse-cu11==11.7.5.86',
    'nvidia-nccl-cu11==2.21.5',
    'nvidia-nvtx-cu11==11.8.86',
]
EXTRAS = {
    'cpu': ['mxnet==1.9.1' + BELOW, *PINS, *PLOT],
    'gpu': ['mxnet-cu112==1.9.1' + BELOW, *(f'{library}{BELOW}' for library in CUDA), *PINS, *PLOT],
    'plot': PLOT,
    'tensorboard': ['tensorboardX>=2.5'],
    'digits': ['scikit-learn>=1.0'],
    'onnx': ['onnx>=1.13,<1.19', 'onnxruntime>=1.14', 'protobuf<7'],  # onnx 1.19 has no onnx.mapping, which mxnet reads
    'safetensors': ['safetensors>=0.4'],
    'torch': ['torch>=2.6'],
    'horovod': ['horovod==0.28.1'],  # built on the spot, which needs settings: docs/distributed.md
    # What GluonCV imports beside mxnet. It asks for opencv-python, which owns the same files as the headless one:
    # pip install --no-deps gluoncv==0.10.5.post0
    'gluoncv': ['pandas>=1.3,<2.1', 'portalocker', 'requests', 'Pillow', 'scipy', *PLOT],
}
EXTRAS['dev'] = [
    'pytest>=7',
    'pytest-xdist>=3',
    'hypothesis>=6',
    'ruff>=0.11',
    'clang-format>=20.1,<21',  # each version formats a little differently
    'mypy>=1.8',
    *EXTRAS['plot'],
    *EXTRAS['tensorboard'],
    *EXTRAS['digits'],
    *EXTRAS['onnx'],
    *EXTRAS['safetensors'],
    *EXTRAS['gluoncv'],
]


try:
    from setuptools.command.bdist_wheel import bdist_wheel  # setuptools 70.1
except ImportError:
    from wheel.bdist_wheel import bdist_wheel


class BuildWithReader(build_py):
    """Compiles the C reader into the wheel; without a compiler the wheel comes without it and says so.

    The wheel of make dist has the operators too, and is not built without its reader.
    """

    def run(self):
        super().run()
        if self.editable_mode:  # ibnnet build reader does it in place
            return
        builder = runpy.run_path(str(HERE / 'ibnnet_mx' / 'recordio' / 'fast' / 'build.py'))
        package = Path(self.build_lib) / 'ibnnet_mx'
        library = package / 'recordio' / 'fast' / builder['LIBRARY']
        operators = os.environ.get('IBNNET_MX_OPERATORS')
        if operators:
            shutil.copy2(operators, str(package / 'operators' / '_ops.so'))
            builder['build'](library, portable=True)
            return
        try:
            builder['build'](library)
        except (OSError, ValueError) as error:
            print(f'ibnnet_mx: {error}\nibnnet_mx: {builder["WITHOUT"]}', file=sys.stderr)


class AnyPython(bdist_wheel):
    """Makes wheels for each Python 3 of one platform, because ctypes and mxnet load the libraries."""

    def get_tag(self):
        return 'py3', 'none', super().get_tag()[2]


class WithLibrary(Distribution):
    """Its wheels are of one platform."""

    def has_ext_modules(self):
        return True


def describe():
    """Return README.md for the package index, which has neither the pictures nor the pages that it links to."""
    text = re.sub(r'^!\[.*\n\n', '', (HERE / 'README.md').read_text(encoding='utf-8'), flags=re.MULTILINE)
    return re.sub(r'\[([^]]*)\]\((?!https?:)[^)]*\)', r'\1', text)


setup(
    name='ibnnet_mx',
    version=VERSION,
    description='ResNet and IBN-Net in MXNet Gluon, trained from RecordIO',
    long_description=describe(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['ibnnet_mx', 'ibnnet_mx.*']),
    package_data={
        'ibnnet_mx': ['hub_weights/*'],  # below: what ibnnet build compiles
        'ibnnet_mx.operators': ['cpp/*'],
        'ibnnet_mx.recordio.fast': ['*.c', '*.h'],
    },
    cmdclass={'build_py': BuildWithReader, 'bdist_wheel': AnyPython},
    distclass=WithLibrary,
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: C',
        'Programming Language :: C++',
        'Programming Language :: Python :: 3',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in range(8, 14)),
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    python_requires='>=3.8',
    install_requires=['numpy>=1.21', 'opencv-python-headless>=4.5', 'shtab>=1.5', 'tqdm', TOML],  # no mxnet: the reader
    extras_require=EXTRAS,
    entry_points={'console_scripts': ['ibnnet=ibnnet_mx.cli.main:main']},
)
