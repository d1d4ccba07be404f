"""Verdicts on files: three states, and a reason where there is one."""

from ibnnet_mx.files import state
from ibnnet_mx.files.state import State


def test_only_a_whole_file_is_whole():
    assert state.WHOLE.whole
    assert not state.MISSING.whole
    assert not state.damaged('has 3 bytes of 4').whole


def test_a_damaged_file_says_why():
    assert state.damaged('has 3 bytes of 4') == (State.DAMAGED, 'has 3 bytes of 4')
    assert (state.WHOLE.reason, state.MISSING.reason) == ('', '')
