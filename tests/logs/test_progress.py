"""The progress of a run on a terminal: the pace, the bar within its columns, and the table of epochs."""

import io
import sys

import pytest

from ibnnet_mx import logs
from ibnnet_mx.logs import bar, handlers
from ibnnet_mx.logs.pace import Pace, clock, in_words
from ibnnet_mx.logs.table import Table
from ibnnet_mx.metrics.improvement import score_of


@pytest.mark.parametrize(
    ('seconds', 'words', 'shown'),
    [
        (0.2, '1 s', '0:00'),
        (59.6, '1 min 0 s', '1:00'),
        (100, '1 min 40 s', '1:40'),
        (3600, '1 h 0 min', '1:00:00'),
        (11100, '3 h 5 min', '3:05:00'),
        (86399, '23 h 60 min', '23:59:59'),
        (187200, '2 d 4 h', '2 d 4 h'),
    ],
)
def test_durations(seconds, words, shown):
    assert in_words(seconds) == words.replace('23 h 60 min', '1 d 0 h')
    assert clock(seconds) == shown


def steps(pace, epoch, count, begin, seconds, first=0):
    """Do the steps of an epoch of 10. Return the time."""
    pace.start(epoch, 10, first, begin)
    for i in range(count):
        pace.step(begin + (i + 1) * seconds)
    return begin + count * seconds


def test_the_pace_leaves_out_the_first_step_and_counts_validations():
    pace = Pace(epochs=3, share=0.5)
    pace.start(0, 10, 0, 100.0)
    pace.step(150.0)  # compiles
    assert pace.epoch_left() is None
    for i in range(1, 5):
        assert not pace.is_due(150.0) or i > 1
        pace.step(150.0 + 2 * i)
    assert pace.epoch_seconds == 20 + 10
    assert pace.epoch_left() == 5 * 2
    assert pace.run_left() == 3 * 30 - 5 * 2
    assert pace.line(158.0) == 'an epoch takes about 30 s, the run 2 min 18 s'
    pace.validated(0, 4.0)
    assert (pace.epoch_seconds, pace.run_left()) == (24, 48)


def test_an_estimate_is_due_after_five_counted_steps_or_ten_seconds():
    quick, slow = Pace(2), Pace(2)
    assert not quick.is_due(steps(quick, 0, 5, 0.0, 1.0))
    assert quick.is_due(steps(quick, 1, 5, 5.0, 1.0))
    slow.start(0, 10, 0, 0.0)
    slow.step(30.0)
    assert not slow.is_due(30.0)
    slow.step(45.0)
    assert slow.is_due(45.0)


def test_a_resumed_epoch_counts_only_its_own_steps():
    pace = Pace(4)
    steps(pace, 2, 3, 0.0, 2.0, first=6)
    assert pace.epoch_left() == 2.0
    assert pace.run_left() == 2 * 20 - 9 * 2


MEANS = {'accuracy': 0.75, 'top_k_accuracy_5': 0.9, 'cross-entropy': 1.2345}


@pytest.mark.parametrize('columns', [20, 40, 60, 79, 120, 200])
def test_a_bar_fits_its_columns_and_is_never_small(columns):
    pace = Pace(120)
    pace.start(11, 1251, 0, 0.0)
    for i in range(123):
        pace.step(30.0 * i)
    text = bar.layout(columns, 'Epoch 12', (123, 1251), MEANS, pace).replace('{bar}', '')
    assert text.startswith('Epoch 12:')
    assert len(text) + bar.LEAST <= max(columns, 22)
    if columns >= 79:
        assert all(part in text for part in ('123/1251', 'ce=1.2345', 'accuracy=0.7500', ' 9:24:00', ', run 4'))
    assert ('top5=0.9000' in text) == (columns >= 120)


def test_a_metric_with_braces_is_shown_as_it_is():
    assert bar.layout(99, 'a', (1, 2), {'{x}': 1.0}, None).format(bar='==') == 'a:  50%|==| 1/2 {x}=1.0000'


def test_the_table_is_narrow_and_marks_the_best():
    table = Table(120, score_of({'accuracy': 0.6}))
    train = {'accuracy': 0.5, 'cross-entropy': 1.5}
    lines = table.lines(99, 0.1, (train, {'accuracy': 0.59}), 83.0, 7200.0)
    lines += table.lines(100, 0.01, (train, {'accuracy': 1.0}), 100.0, 187200.0)
    lines += table.lines(101, None, ({}, {'accuracy': float('nan')}), 1.0, None)
    assert [line.split() for line in lines] == [
        ['epoch', 'rate', 'train', 'loss', 'validation', 'best', 'time', 'left'],
        ['99/120', '0.1', '50.00', '%', '1.5000', '59.00', '%', '60.00', '%', '1:23', '2:00:00'],
        ['100/120', '0.01', '50.00', '%', '1.5000', '100.00', '%', '*', '100.00', '%', '1:40', '2', 'd', '4', 'h'],
        ['101/120', '-', '-', '-', 'nan', '%', '100.00', '%', '0:01', '-'],
    ]
    assert len({len(line) for line in lines}) == 1
    assert len(lines[0]) <= 79


def test_a_task_without_an_accuracy_has_its_loss_in_the_table():
    head, line = Table(2).lines(1, 0.1, ({'loss': 2.0}, {'loss': 1.0}), 1.0, 1.0)
    assert line.split() == ['1/2', '0.1', '2.0000', '2.0000', '1.0000', '*', '1.0000', '0:01', '0:01']


class Terminal(io.StringIO):
    def isatty(self):
        return True


def one_epoch(report):
    """An epoch of a planned run, with all kinds of lines."""
    report.plan(2)
    report.record('the settings')
    report.info('data: D')
    report.mark('Epoch[0] A run begins')
    report.start_epoch(0, 3)
    for batch in range(3):
        report.batch(0, batch, 10, {'accuracy': 5})
    report.train(0, 0.1, 3.0)
    report.validation(0, {'accuracy': 0.5}, 1.0)
    report.warn('careful, `lr`')
    report.close()


def shown(stream):
    """The lines that stay on a terminal."""
    parts = [line.split('\r')[-1] for line in stream.getvalue().replace('\x1b[A', '').split('\n')]
    return [part for part in parts if part.strip()]


@pytest.mark.parametrize(('style', 'terminal'), [('epoch', False), ('auto', True)])
def test_a_terminal_gets_the_table_and_the_file_gets_the_numbers(tmp_path, monkeypatch, style, terminal):
    monkeypatch.setattr(sys, 'stderr', Terminal() if terminal else io.StringIO())
    one_epoch(logs.Reporter(50, str(tmp_path / 'a.log'), style=style))
    data, pace, head, row, last = shown(sys.stderr)
    assert (data, last) == ('data: D', 'warning: careful, lr')
    assert pace.startswith('an epoch takes about ')
    assert head.split()[0] == 'epoch'
    assert row.split()[:4] == ['1/2', '0.1', '50.00', '%']
    file = [line.split(' ', 3)[3] for line in (tmp_path / 'a.log').read_text().splitlines()]
    assert file[:3] == ['the settings', 'data: D', 'Epoch[0] A run begins']
    assert file.pop(7) == pace
    assert file[3:-1] == [
        'Epoch[0] Train-accuracy=0.500000',
        'Epoch[0] Speed: 10.00 samples/sec',
        'Epoch[0] Learning-rate=0.1',
        'Epoch[0] Time cost=3.000',
        'Epoch[0] Validation-accuracy=0.500000',
        'Epoch[0] Validation time=1.000',
    ]


@pytest.mark.parametrize('style', ['lines', 'auto'])
def test_off_a_terminal_stderr_has_the_lines_of_the_file_but_the_settings(tmp_path, monkeypatch, style):
    monkeypatch.setattr(sys, 'stderr', io.StringIO())
    one_epoch(logs.Reporter(50, str(tmp_path / 'a.log'), style=style))
    settings, *rest = (tmp_path / 'a.log').read_text().splitlines()
    assert settings.endswith('INFO the settings')
    assert sys.stderr.getvalue().splitlines() == rest


def test_the_bar_and_the_lines_of_one_style_count_epochs_alike(tmp_path, monkeypatch):
    for style, label in (('epoch', 'Epoch 1:'), ('lines', 'Epoch 0:')):
        monkeypatch.setattr(sys, 'stderr', Terminal())
        one_epoch(logs.Reporter(1, style=style))
        assert label in sys.stderr.getvalue()


def test_an_unknown_style_is_refused():
    with pytest.raises(ValueError, match="^log_style='wide': use one of auto, epoch, lines$"):
        logs.Reporter(style='wide')
    assert handlers.style_of('lines') == 'lines'
