"""logs: every line is read back, the sums are exact, a run does not depend on where its lines go."""

import io
import logging
import sys

import pytest

from ibnnet_mx import logs
from ibnnet_mx.logs import reporter as reporting


@pytest.fixture
def reporter(tmp_path, monkeypatch):
    """Makes Reporters on a clock that stands until it is moved: reporter.now."""

    def make(**options):
        made.append(logs.Reporter(log_file=str(tmp_path / 'run.log'), **options))
        return made[-1]

    made = []
    make.now = 0.0
    monkeypatch.setattr(reporting.time, 'perf_counter', lambda: make.now)
    yield make
    for report in made:
        report.close()


def told(path):
    """The lines of the log file without date, time and level."""
    return [line.split(' ', 3)[3] for line in (path / 'run.log').read_text().splitlines()]


@pytest.mark.parametrize(
    ('line', 'fields'),
    [
        (logs.BATCH, {'epoch': 3, 'batch': 50, 'speed': 734.86, 'metric': 'accuracy', 'value': 0.963125}),
        (logs.TRAIN, {'epoch': 3, 'metric': 'top_k_accuracy_5', 'value': 0.5}),
        (logs.SPEED, {'epoch': 3, 'value': 734.86}),
        (logs.RATE, {'epoch': 3, 'value': 1e-05}),
        (logs.TIME, {'epoch': 3, 'value': 12.345}),
        (logs.VALIDATION, {'epoch': 3, 'metric': 'cross-entropy', 'value': float('inf')}),
        (logs.VALIDATION_TIME, {'epoch': 3, 'value': 0.25}),
    ],
)
@pytest.mark.parametrize('prefix', ['', 'INFO:root:', '2024-05-17 10:00:00 INFO ', '\x1b[92m'])
def test_a_written_line_is_read_back_by_its_own_kind_alone(line, fields, prefix):
    text = prefix + line.write(**fields) + '\x1b[0m'
    assert {key: type(fields[key])(value) for key, value in line.read(text).items()} == fields
    every = (logs.BATCH, logs.TRAIN, logs.SPEED, logs.RATE, logs.TIME, logs.VALIDATION, logs.VALIDATION_TIME)
    assert [kind for kind in every if kind.read(text)] == [line]


def test_a_batch_line_is_the_original_one():
    line = logs.BATCH.write(epoch=3, batch=50, speed=734.856, metric='accuracy', value=0.963125)
    assert line == 'Epoch[3] Batch [50]\tSpeed: 734.86 samples/sec\tTrain-accuracy=0.963125'


def test_windows_and_totals_are_exact(reporter, tmp_path):
    report = reporter(frequent=2)
    report.start_epoch(3, 5)
    for batch, (samples, correct, nats) in enumerate(
        [(8, 4, 16.0), (8, 2, 8.0), (8, 8, 4.0), (8, 6, 4.0), (4, 1, 10.0)]
    ):
        reporter.now += batch + 1  # 3 s for the first two batches, 7 s for the next two
        report.batch(3, batch, samples, {'accuracy': correct, 'cross-entropy': nats})
    report.train(3, 0.05, 18.0)
    report.validation(3, {'accuracy': 0.25}, 1.5)
    assert told(tmp_path) == [
        'Epoch[3] Batch [2]\tSpeed: 5.33 samples/sec\tTrain-accuracy=0.375000',
        'Epoch[3] Batch [2]\tSpeed: 5.33 samples/sec\tTrain-cross-entropy=1.500000',
        'Epoch[3] Batch [4]\tSpeed: 2.29 samples/sec\tTrain-accuracy=0.875000',
        'Epoch[3] Batch [4]\tSpeed: 2.29 samples/sec\tTrain-cross-entropy=0.500000',
        'Epoch[3] Train-accuracy=0.583333',
        'Epoch[3] Train-cross-entropy=1.166667',
        'Epoch[3] Speed: 2.00 samples/sec',
        'Epoch[3] Learning-rate=0.05',
        'Epoch[3] Time cost=18.000',
        'Epoch[3] Validation-accuracy=0.250000',
        'Epoch[3] Validation time=1.500',
    ]
    assert report.epoch_metrics == {'accuracy': 21 / 36, 'cross-entropy': 42 / 36}


def test_an_epoch_starts_its_sums_and_its_clock_anew(reporter, tmp_path):
    report = reporter(frequent=2)
    for epoch in range(2):
        report.start_epoch(epoch, 3)
        reporter.now += 4
        for batch in range(3):  # the third is left over in the window
            report.batch(epoch, batch, 10, {'accuracy': 10 * epoch})
        reporter.now += 100  # validation
    assert told(tmp_path) == [
        'Epoch[0] Batch [2]\tSpeed: 5.00 samples/sec\tTrain-accuracy=0.000000',
        'Epoch[1] Batch [2]\tSpeed: 5.00 samples/sec\tTrain-accuracy=1.000000',
    ]
    assert report.epoch_metrics == {'accuracy': 1.0}


def test_what_a_reporter_writes_is_a_run(reporter, tmp_path):
    report = reporter()
    report.info('resnet at 50 %: lr=7, Epoch[0] Train')
    for epoch in range(2):
        report.start_epoch(epoch, 1)
        report.batch(epoch, 0, 4, {'accuracy': epoch + 1, 'top_k_accuracy_5': 3, 'cross-entropy': 10})
        report.train(epoch, 0.1 / 10**epoch, 2)
        report.validation(epoch, {'accuracy': 0.5, 'top_k_accuracy_5': 1, 'cross-entropy': float('nan')}, 1)
    run = logs.read_log(tmp_path / 'run.log')
    assert run.name == 'run'
    assert run.train == {'accuracy': {0: 0.25, 1: 0.5}, 'top5': {0: 0.75, 1: 0.75}, 'ce': {0: 2.5, 1: 2.5}}
    assert run.validation['accuracy'] == {0: 0.5, 1: 0.5}
    assert all(value != value for value in run.validation['ce'].values())
    assert (run.speed, run.lr) == ({0: 2, 1: 2}, {0: 0.1, 1: 0.01})


def test_lines_go_to_stderr_and_are_appended_to_the_file(reporter, tmp_path, capsys):
    (tmp_path / 'run.log').write_text('2024-05-17 10:00:00 INFO the run before\n')
    handler = logging.StreamHandler(sys.stderr)  # as mxnet's logging.info() leaves one
    logging.getLogger().addHandler(handler)
    report = reporter()
    report.warn('careful')
    report.close()
    logging.getLogger().removeHandler(handler)
    out, err = capsys.readouterr()
    assert out == ''
    assert err.endswith(' WARNING careful\n')
    assert err.count('careful') == 1
    assert told(tmp_path) == ['the run before', 'careful']


class Terminal(io.StringIO):
    def isatty(self):
        return True


def one_epoch(report):
    report.start_epoch(7, 4, first_step=2)
    report.batch(7, 2, 1, {'top_k_accuracy_5': 1})
    report.batch(7, 3, 1, {'top_k_accuracy_5': 0})
    report.train(7, 0.1, 1)


def test_no_bar_without_a_terminal(reporter, capsys):
    one_epoch(reporter())
    err = capsys.readouterr().err
    assert 'Train-top_k_accuracy_5=0.5' in err
    assert '%|' not in err
    assert '\r' not in err


def test_a_bar_on_a_terminal_leaves_whole_lines(reporter, monkeypatch):
    monkeypatch.setattr(sys, 'stderr', Terminal())
    one_epoch(reporter(frequent=1))
    text = sys.stderr.getvalue()
    assert 'Epoch 7:  50%|' in text
    assert 'Epoch 7:   0%|' not in text  # two of the four were done already
    assert 'top5=0.5' in text
    lines = [line.split('\r')[-1] for line in text.split('\n')]
    assert sum('Epoch[7] Batch [' in line and line.endswith(('=1.000000', '=0.000000')) for line in lines) == 2


def test_a_closed_stderr_does_not_end_the_run(reporter, tmp_path, monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, 'stderr', Closed())
    reporter().info('still here')
    assert told(tmp_path) == ['still here']


def test_close_leaves_the_logger_as_it_was(tmp_path, monkeypatch):
    logger = logging.getLogger('ibnnet_mx')
    monkeypatch.setattr(logger, 'level', logging.ERROR)
    before = logger.level, logger.propagate, list(logger.handlers)
    report = logs.Reporter(log_file=str(tmp_path / 'deep' / 'run.log'))
    file = logger.handlers[-1]
    assert (logger.level, logger.propagate) == (logging.INFO, False)
    report.close()
    report.close()
    assert (logger.level, logger.propagate, logger.handlers) == before
    assert (tmp_path / 'deep' / 'run.log').exists()
    assert file.stream is None  # closed


def test_bad_options_are_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match='frequent=0: .*1 or more'):
        logs.Reporter(frequent=0)
    file = tmp_path / 'file'
    file.touch()
    for path, why in ((file / 'run.log', '(File exists|Not a directory)'), (tmp_path, 'Is a directory')):
        with pytest.raises(ValueError, match=f'^log_file={str(path)!r} cannot be written: {why}$'):
            logs.Reporter(log_file=str(path))
    monkeypatch.setitem(sys.modules, 'tensorboardX', None)
    with pytest.raises(ValueError, match='^tensorboard needs tensorboardX, .*: pip install tensorboardX$'):
        logs.Reporter(tensorboard=str(tmp_path / 'board'))
    assert logging.getLogger('ibnnet_mx').handlers == []


def test_workers_after_the_first_tell_warnings_and_write_a_file_of_their_own(tmp_path, capsys):
    report = logs.Reporter(50, str(tmp_path / 'a' / 'run.log'), str(tmp_path / 'board'), rank=2)
    report.info('all is well')
    report.warn('it is not')
    report.validation(0, {'accuracy': 0.5}, 1.0)
    report.close()
    assert [line.split()[-3:] for line in capsys.readouterr().err.splitlines()] == [['it', 'is', 'not']]
    assert [path.name for path in (tmp_path / 'a').iterdir()] == ['run-2.log']
    assert 'all is well' in (tmp_path / 'a' / 'run-2.log').read_text()
    assert not (tmp_path / 'board').exists()
