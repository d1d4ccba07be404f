"""A resumed run says what changes its bits: threads, instructions, devices, operators, another processor."""

import json

import pytest

from ibnnet_mx import _env
from ibnnet_mx.training import computed
from tests.cli import test_train
from tests.cli.test_train import warnings

run = test_train.run
WIDE = 'sse4_1 avx avx2 avx512f avx512bw avx512vl avx512dq'
NOW = {'threads': '2', 'instructions': 'AVX-512', 'processor': 'A', 'mxnet': 'mxnet 1.9.1'}


def test_nothing_is_said_of_equal_or_unknown_circumstances():
    assert computed.remark(None, NOW) == computed.remark({}, NOW) == computed.remark(dict(NOW), NOW) == ''
    assert computed.remark({'threads': '2', 'of a later version': 'x'}, NOW) == ''


def test_one_line_says_what_changed_and_how_sure_that_is():
    line = computed.remark({**NOW, 'threads': '4', 'instructions': 'AVX2'}, NOW)
    assert '(threads: 4, now 2; instructions: AVX2, now AVX-512). The run goes on, and its last bits differ' in line
    assert '(processor: B, now A). The run goes on, and its last bits may differ' in computed.remark(
        {**NOW, 'processor': 'B'}, NOW
    )


def test_a_run_that_goes_on_elsewhere_says_so(run, tmp_path, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '2')
    run('--epochs', '1')
    facts = json.loads((tmp_path / 'net-0001.json').read_text())['computed']
    assert facts['threads'] == '2'
    assert facts['devices'] == '1 cpu'
    assert set(facts) == {'threads', 'instructions', 'devices', 'C++ operators', 'machine', 'processor', 'mxnet'}
    assert warnings(run('--epochs', '2', '--retrain')) == []
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    (line,) = warnings(run('--epochs', '3', '--retrain'))
    assert line.startswith('--retrain: computed differently from the checkpoint (threads: 2, now 3). The run goes on')


@pytest.mark.parametrize(
    ('flags', 'limit', 'dtype', 'expected'),
    [
        ('sse4_1 avx avx2', '', 'float32', 'AVX2'),
        (WIDE, '', 'float32', 'AVX-512'),
        (WIDE, 'avx2', 'float32', 'AVX2'),
        (WIDE, 'AVX512_CORE', 'float32', 'AVX-512'),
        (f'{WIDE} amx_tile', 'AVX512_CORE_AMX', 'float32', 'AVX-512'),
        (
            f'{WIDE} amx_tile',
            'AVX512_CORE_AMX',
            'bfloat16',
            'AVX-512 with AMX',
        ),
        ('asimd', '', 'float32', 'aarch64'),
    ],
)
def test_the_instructions_are_the_processors_or_the_limit(monkeypatch, flags, limit, dtype, expected):
    monkeypatch.setattr(_env, 'read_text', lambda path: f'flags : {flags}')
    monkeypatch.setattr(_env.platform, 'machine', lambda: 'aarch64')
    monkeypatch.setenv('DNNL_MAX_CPU_ISA', limit)
    assert _env.instructions(dtype) == expected
