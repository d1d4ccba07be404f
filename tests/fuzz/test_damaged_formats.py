"""Damaged files of every format and hostile command lines: a fast slice of tests/fuzz/formats.py, and that it finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ibnnet_mx import logs
from ibnnet_mx.convert import torch_file
from ibnnet_mx.files import params_file
from ibnnet_mx.graph import symbol_file
from ibnnet_mx.recordio import lists
from ibnnet_mx.recordio.format import read_index
from tests.fuzz import damage, formats, plain

SLICE = 5  # cases of each format


def test_damage_does_no_harm(tmp_path):
    tally = formats.Tally(tmp_path)
    formats.work(tally, 1, [(name, number) for number in range(SLICE) for name in formats.names()])
    assert not tally.findings, tally.summary()
    assert tally.done == SLICE * len(formats.names())
    outcomes = {outcome for counts in tally.outcomes.values() for outcome in counts}
    assert len(outcomes) > 2, tally.summary()  # not one refusal of all


@pytest.mark.thorough
def test_harm_is_found(tmp_path):
    texts = (
        "KeyError: 'nothing'",
        'took ',
        'fc1_bias is loaded as',
        'the child ended with -6',
        'the child ended with -9',
    )
    cases = [('planted', number) for number in range(len(texts))]
    tally = formats.Tally(tmp_path)
    formats.work(tally, 1, [*cases, ('names of models', 0)], stuck=6)
    assert tally.findings == cases
    for number, text in enumerate(texts):
        assert text in (tmp_path / f'planted_{number}.txt').read_text()
    assert tally.done == len(cases) + 1  # the next case runs all the same


def test_a_case_is_a_function_of_seed_and_number():
    data = bytes(range(256)) * 10
    one, same, other = (damage.damaged(np.random.RandomState(seed), data, b'other') for seed in (1, 1, 2))
    assert one == same != other


READERS = {
    'index': read_index,
    'list': lists.read_list,
    'log': logs.read_log,
    'params': params_file.read_params,
    'pth': lambda path: torch_file.read_torch(path, use_torch=False),
    'symbol': symbol_file.read_symbol,
}
HEADS = (b'', b'\x12\x01' + bytes(14), b'\x80\x02', b'PK\x03\x04', b'{"nodes": [', b'0\t0\n', b'Epoch[0] Train-ce=')
ANY = st.binary(max_size=200) | st.text(max_size=60).map(lambda text: text.encode('utf-8', 'surrogatepass'))
SHAPES = st.lists(st.integers(0, 3), max_size=4)
BOUNDS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize('kind', sorted(READERS))
@BOUNDS
@given(head=st.sampled_from(HEADS), rest=ANY)
def test_any_bytes_are_read_or_a_valueerror(tmp_path, kind, head, rest):
    path = tmp_path / 'file'
    path.write_bytes(head + rest)
    try:
        READERS[kind](str(path))
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017  (reading them is right, too)


@BOUNDS
@given(name=st.text(max_size=9), shape=SHAPES, at=st.integers(0), value=st.integers(0, 255))
def test_a_params_file_with_a_changed_byte_is_read_as_it_is_or_refused(tmp_path, name, shape, at, value):
    data = bytearray(params_file.encode_params({name: np.ones(shape or (1,), 'f'), f'{name}x': np.zeros(2, 'i4')}))
    data[at % len(data)] = value
    (tmp_path / 'a.params').write_bytes(data)
    try:
        found = params_file.read_params(tmp_path / 'a.params')
    except ValueError:
        return
    held = plain.params(bytes(data))
    assert list(found) == list(held)
    for key, array in held.items():
        assert (found[key].shape, found[key].tobytes()) == (array.shape, array.tobytes())
