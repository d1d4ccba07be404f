"""Too little memory is said as that, in one line, before any work where it can be foreseen."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from ibnnet_mx import _limits, errors
from ibnnet_mx.cli import options, run_options
from ibnnet_mx.graph import symbol_file
from ibnnet_mx.metrics.classification import Result
from ibnnet_mx.recordio.fast import last_words
from ibnnet_mx.report import confusion
from tests.cli import test_train
from tests.conftest import ROOT

run = test_train.run
TEXTS = [
    'std::bad_alloc',
    'Check failed: ret == 0 (12 vs. 0) : Allocation failed',
    'MXNetError: Resource temporarily unavailable',
    'src/storage/./pooled_storage_manager.h: cudaMalloc retry failed: out of memory',
    'OpenCV(4.11.0) error: (-4:Insufficient memory) Failed to allocate 99 bytes in function OutOfMemoryError',
]


@pytest.mark.parametrize('text', TEXTS)
@pytest.mark.parametrize('kind', [RuntimeError, MemoryError])
def test_an_error_about_memory_is_one_line_about_memory(capsys, kind, text):
    def command(args):
        raise kind(text)

    assert options.run(command, options.Parser(prog='tool'), []) == 2
    assert capsys.readouterr().err == f'tool: {options.NO_MEMORY}\n'


def test_other_errors_are_not(capsys):
    assert not errors.no_memory(RuntimeError('shapes do not fit'))
    assert not errors.no_memory(ValueError('the symbol is damaged'))


def test_a_symbol_is_not_damaged_because_memory_lacks(tmp_path, monkeypatch):
    import mxnet as mx

    mx.sym.FullyConnected(mx.sym.var('data'), num_hidden=2).save(str(tmp_path / 'a-symbol.json'))

    def full(*_):
        raise mx.base.MXNetError('std::bad_alloc')

    monkeypatch.setattr(symbol_file, 'load_text', full)
    with pytest.raises(mx.base.MXNetError, match='bad_alloc'):
        symbol_file.read_symbol(tmp_path / 'a-symbol.json')


def test_too_many_classes_are_refused_before_they_take_memory(run, monkeypatch):
    last = run('--num-classes', 10**9, code=2).splitlines()[-1]
    assert last == 'train_resnet: --num-classes 1000000000 must be at most 16777216: labels are float32'
    monkeypatch.setattr(run_options._limits, 'memory_limit', lambda: 2 * 10**9)
    last = run('--num-classes', 10**7, code=2).splitlines()[-1]
    text = 'weights, gradients and momentum of this network take 8 GB, and there are 2 GB of memory'
    assert last == f'train_resnet: --num-classes 10000000: {text}'


def test_the_command_ends_in_a_line_before_the_first_step(run, monkeypatch):
    monkeypatch.setattr(_limits, 'free_memory', lambda: 10**6)
    last = run('--batch-size', 16, code=2).splitlines()[-1]
    assert last.startswith('train_resnet: --batch-size 16: the run needs about 0.')
    assert 'Epoch[0] Validation-accuracy' in run('--batch-size', 16, '--epochs', 1, '--no-memory-check')


def test_auto_is_settled_by_the_free_memory(run, tmp_path):
    log = run('--batch-size', 16, '--epochs', 1, '--accumulate', 'auto', '--memonger', 'auto')
    assert "'accumulate': 1, 'memonger': 'auto'" in (tmp_path / 'log' / 'net.log').read_text()
    assert 'memory: about ' in log


def test_the_confusion_of_many_classes_is_that_of_the_worst(tmp_path, monkeypatch):
    pytest.importorskip('matplotlib')
    classes, draw = 20_000, np.random.RandomState(0)
    labels = np.repeat(np.arange(classes), 2)
    predicted = labels.copy()
    predicted[[2 * 7, 2 * 7 + 1, 2 * 9]] = 12_345, 12_345, 7
    predicted[2 * 500] = -1
    result = Result(labels, predicted, classes, 0.5, None, 1.0, draw.rand(len(labels)))
    assert result.most_confused(3).tolist() == [7, 9, 12_345]
    assert result.confusion([7, 9, 12_345]).tolist() == [[0, 0, 2], [1, 1, 0], [0, 0, 2]]
    drawn = []
    monkeypatch.setattr(confusion, 'save_figure', lambda option, path, figure: drawn.append(figure))
    confusion.draw_confusion('a.png', result, [f'class {number}' for number in range(classes)])
    axes = drawn[0].axes[0]
    assert axes.get_title().splitlines()[1] == 'the 40 of 20,000 classes with the most mistakes'
    assert axes.images[0].get_array().shape == (40, 40)
    assert 'class 12345' in [label.get_text() for label in axes.get_yticklabels()]


@pytest.mark.parametrize('end', ['os.abort()', 'os.kill(os.getpid(), signal.SIGSEGV)'])
@pytest.mark.parametrize('limited', [True, False])
def test_a_process_that_c_plus_plus_ends_says_whether_memory_lacked(tmp_path, end, limited):
    if not last_words.LIBRARY.is_file():
        pytest.skip('the C library is not built')
    limit = 'resource.setrlimit(resource.RLIMIT_AS, (1 << 20, 1 << 20))\n        ' if limited else ''
    (tmp_path / 'tool.py').write_text(
        'import os, resource, signal, sys\n'
        'from ibnnet_mx.cli import options\n'
        'def command(args):\n'
        f'        {limit}{end}\n'
        "sys.exit(options.run(command, options.Parser(prog='tool')))\n"
    )
    words = [sys.executable, 'tool.py']
    settings = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(words, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)
    if limited:
        assert (done.returncode, done.stderr) == (2, f'tool: {options.NO_MEMORY}\n')
    else:
        assert done.returncode in (-signal.SIGABRT, -signal.SIGSEGV)
        assert options.NO_MEMORY not in done.stderr
