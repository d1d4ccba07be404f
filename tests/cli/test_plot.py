"""plot_curve: what is drawn, where it is written, and each mistake in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

from ibnnet_mx import logs
from ibnnet_mx.cli import plot
from ibnnet_mx.report import curves

pytest.importorskip('matplotlib')
CHECKOUT = Path(__file__).resolve().parents[2]


def write_log(path, validation=(0.5, 0.75), train=(0.25, 0.5)):
    path.parent.mkdir(exist_ok=True)
    with open(path, 'w') as file:
        for epoch, value in enumerate(train):
            print(logs.TRAIN.write(epoch=epoch, metric='accuracy', value=value), file=file)
            print(logs.RATE.write(epoch=epoch, value=0.1**epoch), file=file)
        for epoch, value in enumerate(validation):
            print(logs.VALIDATION.write(epoch=epoch, metric='accuracy', value=value), file=file)
            print(logs.VALIDATION.write(epoch=epoch, metric='cross-entropy', value=2 - value), file=file)
    return path


@pytest.fixture
def log(tmp_path):
    return write_log(tmp_path / 'small.log')


def axes_of(paths, metric='accuracy', title=''):
    runs = [logs.read_log(path) for path in paths]
    pairs = [curves.curves_of(run, metric) for run in runs]
    figure = curves.draw_curves(
        [(name, *pair) for name, pair in zip(curves.names_of(paths, runs), pairs)], metric, title
    )
    return figure.axes[0]


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def refused(capsys, *argv):
    """The one line on stderr of a command that ends with 2."""
    try:
        code = plot.main([str(arg) for arg in argv])
    except SystemExit as stop:  # argparse leaves this way
        code = stop.code
    out, err = capsys.readouterr()
    assert (code, out, err.count('\n')) == (2, '', 1)
    return err.rstrip('\n')


def test_an_empty_name_is_none(log, capsys):
    assert '--out : the name must end in' in refused(capsys, '--logs', str(log), '--out', '')


def test_accuracy_is_drawn_as_error_training_dashed_in_the_run_s_colour(log):
    axes = axes_of([log], title='digits')
    train, validation = axes.lines
    assert (list(train.get_xdata()), list(train.get_ydata())) == ([0, 1], [75, 50])
    assert list(validation.get_ydata()) == [50, 25]
    assert (train.get_linestyle(), validation.get_linestyle()) == ('--', '-')
    assert train.get_color() == validation.get_color()
    assert legend(axes)[0] == 'small: 25.00 % in epoch 1'
    assert axes.get_ylabel() == 'top-1 error, %'
    assert axes.get_title() == 'digits'


def test_runs_have_their_own_colours_and_same_names_their_folders(tmp_path):
    axes = axes_of([write_log(tmp_path / folder / 'a.log') for folder in 'xy'])
    assert legend(axes)[:2] == ['x/a: 25.00 % in epoch 1', 'y/a: 25.00 % in epoch 1']
    assert axes.lines[0].get_color() != axes.lines[2].get_color()


def test_the_best_value_is_the_lowest_finite_one(tmp_path):
    path = write_log(tmp_path / 'a.log', validation=(0.5, 0.9, 0.8, float('nan')))
    assert legend(axes_of([path]))[0] == 'a: 10.00 % in epoch 1'
    assert legend(axes_of([path], 'ce'))[0] == 'a: 1.1000 in epoch 1'
    assert legend(axes_of([write_log(path, validation=[float('nan')])]))[0] == 'a'
    assert legend(axes_of([write_log(path, validation=())]))[0] == 'a'


def test_both_axes_fit_the_data(tmp_path):
    path = write_log(tmp_path / 'a.log', validation=[0.9] * 40, train=[0.8] * 40)
    axes = axes_of([path])
    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    assert -2 < left < 0 < 39 < right < 41
    assert 9 < low < 10 < 20 < high < 21


def test_few_epochs_are_marked_and_many_are_not(tmp_path):
    markers = {}
    for epochs in (1, curves.FEW, curves.FEW + 1):
        path = write_log(tmp_path / 'a.log', validation=[0.5] * epochs, train=[0.4] * epochs)
        markers[epochs] = {line.get_marker() for line in axes_of([path]).lines}
    assert markers == {1: {'o'}, curves.FEW: {'o'}, curves.FEW + 1: {''}}


def test_a_single_epoch_stands_at_its_number(tmp_path):
    axes = axes_of([write_log(tmp_path / 'a.log', validation=[0.5], train=[0.4])])
    assert axes.get_xlim() == (-0.5, 0.5)
    assert [tick for tick in axes.get_xticks() if -0.5 <= tick <= 0.5] == [0]


def test_the_rate_has_one_solid_curve_and_a_log_axis_where_it_spans_decades(tmp_path):
    axes = axes_of([write_log(tmp_path / 'a.log', train=(0.1, 0.2, 0.3))], 'lr')
    assert [line.get_linestyle() for line in axes.lines if len(line.get_xdata())] == ['-']
    assert list(axes.lines[0].get_ydata()) == pytest.approx([1, 0.1, 0.01])
    assert (axes.get_yscale(), legend(axes)) == ('log', ['a'])
    assert axes_of([write_log(tmp_path / 'b.log')], 'lr').get_yscale() == 'linear'


@pytest.mark.parametrize(
    ('metric', 'name'), [('accuracy', 'small.png'), ('ce', 'small-ce.png'), ('lr', 'small-lr.png')]
)
def test_out_unset_is_beside_the_first_log(log, capsys, metric, name):
    other = write_log(log.parent / 'elsewhere' / 'other.log')
    assert plot.main(['--logs', f'{log},{other}', '--metric', metric]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (f'{log.parent / name}\n', '')
    assert (log.parent / name).read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize(('suffix', 'start'), [('.png', b'\x89PNG'), ('.svg', b'<?xml'), ('.PDF', b'%PDF')])
def test_out_says_the_format_and_its_folder_is_made(log, tmp_path, suffix, start):
    out = tmp_path / 'new' / 'deep' / f'curve{suffix}'
    assert plot.main(['--logs', str(log), str(log), '--out', str(out), '--title', 'A & B']) == 0
    assert out.read_bytes().startswith(start)


def test_mistakes_are_one_line(log, tmp_path, capsys):
    missing = tmp_path / 'missing.log'
    assert refused(capsys) == 'plot_curve: the following arguments are required: --logs'
    assert refused(capsys, '--logs', ',') == 'plot_curve: --logs names no file: give logs separated by commas'
    assert refused(capsys, '--logs', missing) == (
        f'plot_curve: {missing} cannot be read as a log: No such file or directory'
    )
    assert refused(capsys, '--logs', log, '--out', 'curve.gif') == (
        'plot_curve: --out curve.gif: the name must end in .png, .svg or .pdf'
    )
    assert refused(capsys, '--logs', log, '--metric', 'top5') == (
        'plot_curve: --metric top5 is not in the log of small, which has accuracy, ce, lr'
    )
    assert refused(capsys, '--logs', log, '--metric', 'loss').endswith(
        'is not in the log of small, which has accuracy, ce, lr'
    )
    assert "--run: 'first' must be" in refused(capsys, '--logs', log, '--run', 'first')
    assert refused(capsys, '--logs', log, '--run', '2') == (
        'plot_curve: --run 2 is not in the log of small, which has runs 1 to 1'
    )
    assert refused(capsys, '--logs', log, '--node', '0') == (
        'plot_curve: --node 0 is not in the log of small, which has no numbers of workers'
    )
    assert refused(capsys, '--logs', log, '--tit', 'x') == 'plot_curve: --tit is not an option: did you mean --title?'
    assert refused(capsys, '--logs', log, '--out', log / 'curve.png').startswith(
        f'plot_curve: --out {log / "curve.png"} cannot be written: '
    )


def test_matplotlib_missing_is_said_with_the_way_out(log, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    assert refused(capsys, '--logs', log) == (
        'plot_curve: drawing needs matplotlib, which is missing: pip install matplotlib'
    )


def test_the_script_runs_in_its_folder_and_without_mxnet(log):
    # -I leaves out PYTHONPATH and the folder of the script; an mxnet that is None cannot be imported.
    start = "import sys, runpy; sys.modules['mxnet'] = None; runpy.run_path('plot_curve.py', run_name='__main__')"
    command = [sys.executable, '-I', '-c', start, f'--logs={log}']
    done = subprocess.run(command, cwd=CHECKOUT / 'log', capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f'{log.with_suffix(".png")}\n', '')


def two_by_two(folder):
    """A log of two runs of two workers, whose names are Node[0] and Node[1]."""
    lines = [
        f'Node[{node}] Epoch[{epoch}] {side}-{metric}={0.1 * run + 0.01 * node}\n'
        for run in (1, 2)
        for epoch in range(2)
        for side, metric in (('Train', 'accuracy'), ('Train', 'Odd/loss'), ('Validation', 'accuracy'))
        for node in range(2)
    ]
    (folder / 'several.log').write_text(''.join(lines))
    return folder / 'several.log'


def drawn(monkeypatch, capsys, *argv):
    """The names in the legend, the curves of training, and stderr."""
    figures = []
    draw = curves.draw_curves
    monkeypatch.setattr(curves, 'draw_curves', lambda *args: figures.append(args) or draw(*args))
    assert plot.main([str(word) for word in argv]) == 0
    ((named, metric, _),) = figures
    return [name for name, *_ in named], [train for _, train, _ in named], capsys.readouterr().err


def test_several_runs_and_workers_are_a_curve_each_or_the_wanted_one(tmp_path, monkeypatch, capsys):
    log = two_by_two(tmp_path)
    names, training, err = drawn(monkeypatch, capsys, '--logs', log)
    assert names == [f'several, worker {worker}, run {run}' for worker in (0, 1) for run in (1, 2)]
    assert [train[0] for train in training] == pytest.approx([90, 80, 89, 79])
    assert err == (f'plot_curve: {log}: 4 curves, one for each run of each worker; --run N, --node K draw one\n')
    monkeypatch.undo()
    names, training, err = drawn(monkeypatch, capsys, '--logs', log, '--node', '1', '--run', 'last')
    assert (names, err) == (['several'], '')
    assert training[0] == pytest.approx({0: 79, 1: 79})
    monkeypatch.undo()
    assert drawn(monkeypatch, capsys, '--logs', log, '--run', '1')[0] == ['several, worker 0', 'several, worker 1']


def test_any_metric_of_a_log_is_drawn_under_its_name(tmp_path, monkeypatch, capsys):
    log = two_by_two(tmp_path)
    _, training, _ = drawn(monkeypatch, capsys, '--logs', log, '--metric', 'Odd/loss', '--node', '0', '--run', '2')
    assert training == [pytest.approx({0: 0.2, 1: 0.2})]
    assert (tmp_path / 'several-Odd_loss.png').exists()
    assert curves.best('Odd/loss', {0: 0.5, 1: 0.25}) == ': 0.25 in epoch 1'
    assert curves.best('mIoU', {0: 0.5, 1: 0.25}) == ': 0.5 in epoch 0'
    assert curves.best('something', {0: 0.5}) == ''
    assert refused(capsys, '--logs', log, '--metric', 'ce').endswith('which has accuracy, Odd/loss')


def test_runs_without_the_metric_are_left_out_and_said(tmp_path, monkeypatch, capsys):
    log = two_by_two(tmp_path)
    log.write_text(log.read_text() + 'Node[1] Epoch[0] A run begins\nNode[1] Epoch[0] Train-other=1\n')
    names, _, err = drawn(monkeypatch, capsys, '--logs', log, '--node', '1')
    assert names == ['several, run 1', 'several, run 2']
    assert err.endswith('draw one; 1 more have no accuracy\n')
