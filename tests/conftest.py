"""What the tests share: a tiny data set, the folder of reference data, and a way to run a command."""

import os

os.environ.setdefault('OMP_NUM_THREADS', '2')  # before mxnet is imported: the nets here are too small for more

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.record_sets import png, write

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a run under nohup ignores it, and hands that on
signal.signal(signal.SIGINT, signal.default_int_handler)  # as does one in the background of a shell

ROOT = Path(__file__).resolve().parents[1]
TINY_CLASSES = ('dots', 'falling', 'lying', 'standing')


def thorough(*values):
    """Return values of a parameter whose tests are thorough: only make test-all runs them."""
    return [pytest.param(value, marks=pytest.mark.thorough) for value in values]


def tiny_picture(kind, draw):
    """uint8 (32, 32, 3): stripes whose direction and colour tell the class, under noise."""
    rows, columns = np.mgrid[:32, :32]
    wave = (np.sin(rows) * np.sin(columns), np.sin(rows + columns), np.sin(rows), np.sin(columns))[kind]
    colour = np.roll([90, 30, 30], kind)
    return np.clip(128 + wave[..., None] * colour + draw.normal(0, 15, (32, 32, 3)), 0, 255).astype(np.uint8)


def make_tiny(folder, train=48, val=18):
    """cifar10_train.rec, cifar10_val.rec and synset.txt of four classes that a small net can tell apart."""
    for seed, (name, count) in enumerate((('train', train), ('val', val))):
        draw = np.random.RandomState(seed)
        labels = [i % len(TINY_CLASSES) for i in range(count)]
        write(folder / f'cifar10_{name}.rec', [png(tiny_picture(label, draw)) for label in labels], labels)
    (folder / 'synset.txt').write_text('\n'.join(TINY_CLASSES) + '\n')
    return folder


@pytest.fixture(scope='session')
def tiny_data(tmp_path_factory):
    """A data folder that nobody may change; 18 validation pictures are no whole number of batches of 8."""
    return make_tiny(tmp_path_factory.mktemp('tiny'))


@pytest.fixture
def own_data(tmp_path):
    """A data folder that the test may damage."""
    return make_tiny(tmp_path / 'data')


@pytest.fixture(scope='session')
def shared():
    """The folder of reference data beside the checkout."""
    folder = ROOT.parent / 'shared'
    if not folder.is_dir():
        pytest.skip(f'no reference data: {folder} does not exist')
    return folder


@pytest.fixture
def command(tmp_path):
    """run(script, *options, **environment) -> the finished process of a command of the project, started in tmp_path."""

    def run(script, *options, **environment):
        words = [sys.executable, str(ROOT / script), *map(str, options)]
        settings = {**os.environ, **environment}
        return subprocess.run(words, cwd=tmp_path, env=settings, capture_output=True, text=True, timeout=120)

    return run
