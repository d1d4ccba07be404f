"""Every file of a checkpoint is read once by each command: what was verified is what is used."""

import json
import os
import subprocess
import sys

import pytest

from tests.cli.test_train import TINY
from tests.conftest import ROOT
from tests.record_sets import png, scene

WATCHED = """
import collections, importlib, json, os, sys
counts = collections.Counter()

def hook(event, given):
    if event != 'open' or not isinstance(given[0], str):
        return
    path, mode, flags = given
    reads = mode is not None and 'r' in mode or mode is None and flags & 3 == os.O_RDONLY
    name = os.path.basename(path)
    if reads and name.startswith('net-') and not os.path.isdir(path):
        counts[name] += 1

sys.addaudithook(hook)
code = importlib.import_module(sys.argv[1]).main(sys.argv[2:])
print(json.dumps([code, counts]), file=sys.stderr)
os._exit(0)
"""
PARAMS = {'net-0001.json': 1, 'net-0001.params': 1}
READS = {  # command: (module, words, the files that it reads, each once)
    'predict': ('predict', ['--img', 'a.png', '--prefix', 'net', '--epoch', '1'], PARAMS),
    'evaluate': ('evaluate', ['data', '--prefix', 'net', '--epoch', '1'], PARAMS),
    'convert': ('convert', ['net-0001.params', 'net.onnx'], PARAMS),
    'start from': ('train', [*TINY, '--init', 'net-0001.params', '--epochs', '1', '--model-prefix', 'b'], PARAMS),
    'go on': (
        'train',
        [*TINY, '--retrain', '--epochs', '1', '--model-prefix', 'net'],
        {**PARAMS, 'net-0001.states': 1},
    ),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    from tests.conftest import make_tiny

    folder = tmp_path_factory.mktemp('once')
    make_tiny(folder / 'data')
    (folder / 'a.png').write_bytes(png(scene(0, 40, 40)))
    words = ['train_resnet.py', *TINY, '--data-dir', 'data', '--model-prefix', 'net', '--epochs', '1']
    subprocess.run([sys.executable, str(ROOT / words[0]), *words[1:]], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize('command', READS)
def test_each_file_is_read_once(folder, command):
    module, words, reads = READS[command]
    if command == 'convert':
        pytest.importorskip('onnx')
    if module == 'train':
        words = [*words, '--data-dir', 'data']
    line = [sys.executable, '-c', WATCHED, f'ibnnet_mx.cli.{module}', *words]
    done = subprocess.run(line, cwd=folder, env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True, text=True)
    code, counts = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    assert counts == reads
