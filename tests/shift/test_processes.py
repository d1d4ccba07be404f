"""The processes that shift pictures: the same values, and an end with their parent."""

import os
import signal
import subprocess
import sys

import numpy as np

from ibnnet_mx import shift
from tests.shift.pictures import pictures


def test_several_processes_give_what_one_gives():
    batches = [(pictures(3, 32, seed=batch), range(3 * batch, 3 * batch + 3), batch) for batch in range(7)]
    with shift.Workers(1) as one, shift.Workers(2) as two:
        for name in ('frost', 'elastic_transform'):
            alone, together = list(one.over(iter(batches), name, 4)), list(two.over(iter(batches), name, 4))
            assert [batch for _, _, batch in together] == list(range(7))
            assert all(np.array_equal(a, b) for (a, *_), (b, *_) in zip(alone, together))


SCRIPT = """
import sys, time, numpy
from ibnnet_mx import shift
if __name__ == '__main__':
    with shift.Workers(2) as workers:
        batches = ((numpy.zeros((2, 32, 32, 3), 'uint8'), range(2)) for _ in iter(int, 1))
        for count, _ in enumerate(workers.over(batches, 'fog', 1)):
            if count == 5:
                print(*workers._pool._processes, flush=True)
"""


def _shifting(tmp_path):
    """A process that shifts for ever, and the numbers of its two."""
    (tmp_path / 'script.py').write_text(SCRIPT)
    parent = subprocess.Popen(
        [sys.executable, tmp_path / 'script.py'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    return parent, list(map(int, parent.stdout.readline().split()))


def test_processes_end_with_who_started_them(tmp_path):
    parent, children = _shifting(tmp_path)
    assert len(children) == 2
    parent.kill()
    parent.communicate(timeout=20)  # whoever holds its output is waited for
    assert not any(os.path.exists(f'/proc/{child}/cmdline') and _command(child) for child in children)


def _command(process):
    try:
        with open(f'/proc/{process}/cmdline') as file:
            return 'multiprocessing' in file.read()
    except OSError:
        return False


def test_a_killed_process_is_told_of(tmp_path):
    parent, children = _shifting(tmp_path)
    os.kill(children[0], signal.SIGKILL)
    _, err = parent.communicate(timeout=20)
    assert 'OptionError: a process that shifts pictures was killed' in err
    assert parent.returncode == 1
