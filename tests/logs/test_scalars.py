"""TensorBoard: the scalars of each epoch, one folder a run, and a disk that is full."""

import os
import resource

import pytest

from ibnnet_mx import logs
from ibnnet_mx.logs import scalars

pytest.importorskip('tensorboardX')


def events(folder):
    """(tag, step, value) of the event files of a folder, and (START, step) of resumed runs."""
    from tensorboardX.proto import event_pb2

    read = []
    for path in sorted(folder.glob('events*')):
        data, at = path.read_bytes(), 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 8], 'little')
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + size])
            at += 16 + size
            if event.HasField('session_log'):
                read.append(('START', event.step))
            read += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
    return read


def write(folder, epoch, go_on=None):
    report = logs.Reporter(tensorboard=str(folder), go_on=go_on)
    report.start_epoch(epoch, 1)
    report.batch(epoch, 0, 4, {'accuracy': 3})
    report.train(epoch, 0.5, 2)
    report.validation(epoch, {'accuracy': 0.5}, 1)
    written = events(report._scalars.folder)  # before the file is closed, so that a killed run has them
    report.close()
    return written


def test_each_epoch_gives_its_scalars(tmp_path):
    expected = [('train/accuracy', 0.75), ('train/lr', 0.5), ('train/speed', 2), ('validation/accuracy', 0.5)]
    assert write(tmp_path / 'board', 1) == [(tag, 1, value) for tag, value in expected]


def test_a_second_run_has_its_own_folder_and_a_resumed_one_goes_on(tmp_path, capsys):
    board = tmp_path / 'board'
    first = write(board, 0)
    second = write(board, 0)
    assert f'this run is in {board / "run-2"}, because the folder has an earlier one' in capsys.readouterr().err
    assert events(board) == first == second == events(board / 'run-2')
    resumed = write(board, 1, go_on=1)
    assert ('START', 1) in resumed
    assert [path.name for path in board.glob('run-*')] == ['run-2']
    assert events(board) == first
    assert scalars.folder_of(str(board), False) == board / 'run-3'
    assert scalars.folder_of(str(tmp_path / 'new'), True) == tmp_path / 'new'


def test_a_full_disk_is_one_warning_and_the_run_goes_on(tmp_path):
    """The limit of a file's size stands for the full disk: in a child, because it cannot be raised again."""
    child = os.fork()
    if not child:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (60, 60))
            lines = []
            board = scalars.Scalars(str(tmp_path), lines.append)
            for epoch in range(3):
                board.add(epoch, 'train', {'accuracy': 0.5})
            board.close()
            code = 0 if lines == [f'`tensorboard` {tmp_path} cannot be written: File too large; the run goes on'] else 2
        finally:
            os._exit(code)
    assert os.WEXITSTATUS(os.waitpid(child, 0)[1]) == 0
