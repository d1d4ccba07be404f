"""Results come in order, work is bounded, and nothing is left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from ibnnet_mx.files import ahead


def slow_square(number):
    time.sleep(0.02 if number % 3 == 0 else 0)
    return number * number


@pytest.mark.parametrize('most', [0, 1, 5, 100])
def test_results_come_in_the_order_of_the_items(most):
    with ThreadPoolExecutor(4) as pool:
        results = ahead.in_order(range(20), lambda i: (i, [pool.submit(slow_square, i)]), most)
        assert list(results) == [(i, [i * i]) for i in range(20)]


def test_an_item_may_have_any_number_of_futures():
    with ThreadPoolExecutor(4) as pool:
        results = ahead.in_order(range(4), lambda i: (None, [pool.submit(slow_square, k) for k in range(i)]), 2)
        assert [values for _, values in results] == [[], [0], [0, 1], [0, 1, 4]]


@pytest.mark.parametrize('most', [0, 3])
def test_so_many_items_are_in_work_and_no_more(most):
    begun = []

    def begin(number):
        begun.append(number)
        return number, []

    for number, _ in ahead.in_order(range(10), begin, most):
        assert len(begun) == min(number + most + 1, 10)


def test_closing_cancels_what_waits_and_waits_for_what_runs():
    gate, ended = threading.Event(), []

    def work(number):
        gate.wait(10)
        ended.append(number)

    with ThreadPoolExecutor(1) as pool:

        def begin(number):
            return number, [pool.submit(work, number)] if number else []

        with closing(ahead.in_order(range(10), begin, 5)) as results:
            assert next(results) == (0, [])
            threading.Timer(0.1, gate.set).start()
    assert ended == [1]


def test_the_error_of_an_item_comes_in_its_turn():
    with ThreadPoolExecutor(2) as pool:
        results = ahead.in_order((1, 2, 0, 3), lambda i: (i, [pool.submit(lambda: 6 // i)]), 3)
        assert [next(results), next(results)] == [(1, [6]), (2, [3])]
        with pytest.raises(ZeroDivisionError):
            next(results)


@pytest.mark.parametrize('killed', [None, ValueError('a process was killed')])
def test_a_killed_process_is_an_error_with_a_name(killed):
    with ProcessPoolExecutor(1) as pool:
        results = ahead.in_order([0], lambda _: (None, [pool.submit(os._exit, 1)]), 1, killed)
        with pytest.raises(ValueError if killed else Exception, match='was killed' if killed else 'terminated abrup'):
            next(results)


PARENT = """
import multiprocessing, os, time
from ibnnet_mx.files.parent import end_with_parent

def child(queue):
    end_with_parent()
    queue.put(os.getpid())
    time.sleep(60)

if __name__ == '__main__':
    context = multiprocessing.get_context('spawn')
    queue = context.Queue()
    context.Process(target=child, args=(queue,)).start()
    print(queue.get(), flush=True)
    time.sleep(60)
"""


def test_a_process_ends_with_a_parent_that_was_killed(tmp_path):
    (tmp_path / 'parent.py').write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(tmp_path / 'parent.py')], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        status = Path(f'/proc/{child}/stat')
        if status.exists() and status.read_text().split()[2] == 'Z':
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail('the child lives on')
