"""Logs of several workers and of several runs: each is a curve of its own, and no curve is a mixture."""

import pytest

from ibnnet_mx import logs


def read(tmp_path, text, name='a.log'):
    (tmp_path / name).write_text(text)
    return logs.read_runs(tmp_path / name)


def epoch_of(number, train, validation=None, before='', batches=()):
    """The lines of an epoch; before: the beginning of each."""
    lines = [
        logs.BATCH.write(epoch=number, batch=batch, speed=9, metric='accuracy', value=value) for batch, value in batches
    ]
    lines.append(logs.TRAIN.write(epoch=number, metric='accuracy', value=train))
    if validation is not None:
        lines.append(logs.VALIDATION.write(epoch=number, metric='accuracy', value=validation))
    return ''.join(f'{before}{line}\n' for line in lines)


MARKS = [
    '2016-09-01 10:00:01,000 Node[{}] ',
    '[worker {}] 2026-11-30 10:00:01 INFO ',
    '[1,{}]<stderr>:',
    '[{}]<stdout>: ',
]


@pytest.mark.parametrize('mark', MARKS)
def test_each_worker_has_its_own_curves(tmp_path, mark):
    """Worker 1 ends each epoch after worker 0 has validated."""
    text = ''
    for epoch, (first, second, validation) in enumerate([(0.3, 0.2, 0.35), (0.5, 0.4, 0.52), (0.6, 0.55, 0.61)]):
        text += epoch_of(epoch, first, validation, mark.format(0), [(20, first)])
        text += epoch_of(epoch, second, None, mark.format(1), [(20, second)])
    runs = read(tmp_path, text)
    assert [(run.worker, run.number) for run in runs] == [(0, 1), (1, 1)]
    assert runs[0].validation == {'accuracy': {0: 0.35, 1: 0.52, 2: 0.61}}
    assert runs[0].train == {'accuracy': {0: 0.3, 1: 0.5, 2: 0.6}}
    assert (runs[1].train, runs[1].validation) == ({'accuracy': {0: 0.2, 1: 0.4, 2: 0.55}}, {})
    assert logs.read_log(tmp_path / 'a.log') == runs[0]


def test_two_processes_that_nothing_tells_apart_are_refused(tmp_path):
    text = ''.join(
        epoch_of(epoch, 0.3, None, batches=[(20, 0.1), (20, 0.2), (40, 0.3), (40, 0.4)]) for epoch in range(3)
    )
    with pytest.raises(ValueError, match='several processes that nothing tells apart'):
        read(tmp_path, text)


def test_lines_that_were_logged_twice_count_once(tmp_path):
    text = epoch_of(0, 0.3, 0.5, batches=[(20, 0.1), (40, 0.3)]) + epoch_of(1, 0.4, 0.6, batches=[(20, 0.3), (40, 0.5)])
    without_totals = ''.join(line for line in text.splitlines(keepends=True) if ' Train-' not in line)
    for lines in (text, without_totals):
        twice = ''.join(line * 2 for line in lines.splitlines(keepends=True))
        assert read(tmp_path, twice) == read(tmp_path, lines)


@pytest.mark.parametrize(
    'between',
    [
        '',
        'INFO:root:start with arguments Namespace(lr=0.01, retrain=False)\n',
        "2026-11-30 10:00:00 INFO cifar_resnet20: {'name': 'cifar10'}\n",
        '2026-11-30 10:00:00 INFO Epoch[0] A run begins\n',
    ],
)
def test_a_second_run_is_no_part_of_the_first(tmp_path, between):
    first = ''.join(epoch_of(epoch, epoch / 10, epoch / 10 + 0.01) for epoch in range(6))
    second = ''.join(epoch_of(epoch, 0.25 + epoch / 10, 0.26) for epoch in range(2))
    runs = read(tmp_path, first + between + second)
    assert [run.number for run in runs] == [1, 2]
    assert list(runs[0].train['accuracy']) == list(range(6))
    assert runs[0].train['accuracy'][1] == 0.1
    assert runs[1].train['accuracy'] == {0: 0.25, 1: pytest.approx(0.35)}
    assert runs[1].validation == {'accuracy': {0: 0.26, 1: 0.26}}


def test_a_run_of_another_line_distance_is_no_part_of_the_one_killed_before(tmp_path):
    first = logs.BEGIN.write(epoch=0) + '\n' + epoch_of(0, 0.1, batches=[(20, 0.1), (40, 0.2)]).rpartition('Epoch')[0]
    second = (
        logs.BEGIN.write(epoch=0) + '\n' + logs.BATCH.write(epoch=0, batch=50, speed=9, metric='accuracy', value=0.9)
    )
    runs = read(tmp_path, first + '\n' + second + '\n')
    assert [run.train['accuracy'][0] for run in runs] == [pytest.approx(0.15), 0.9]


def test_a_resumed_run_is_one_curve(tmp_path):
    first = ''.join(epoch_of(epoch, 0.1 * epoch, 0.5) for epoch in range(4))
    again = logs.GO_ON.write(epoch=2, batch=0) + '\n' + epoch_of(2, 0.9, 0.8)
    (run,) = read(tmp_path, logs.BEGIN.write(epoch=0) + '\n' + first + again)
    assert run.train['accuracy'] == {0: 0, 1: pytest.approx(0.1), 2: 0.9}  # epoch 3 belongs to what was given up
    assert run.validation['accuracy'] == {0: 0.5, 1: 0.5, 2: 0.8}


def test_a_run_resumed_within_epoch_0_goes_on(tmp_path):
    def batch(number, value):
        return logs.BATCH.write(epoch=0, batch=number, speed=9, metric='accuracy', value=value) + '\n'

    begun = logs.BEGIN.write(epoch=0) + '\n' + batch(20, 0.1) + batch(40, 0.2) + batch(60, 0.9)
    for again in (
        logs.GO_ON.write(epoch=0, batch=40),
        'epoch 0, batch 61 is not finite: back to batch 40 of epoch 0, ...',
    ):
        (run,) = read(tmp_path, begun + again + '\n' + batch(60, 0.3))
        assert run.train['accuracy'] == {0: pytest.approx(0.2)}


def test_a_run_that_validates_first_keeps_the_epoch_that_it_had_trained(tmp_path):
    options = "resnet: {'name': 'cifar10'}\n"
    text = options + epoch_of(0, 0.1, 0.2) + epoch_of(1, 0.3) + options + 'Epoch[1] Validation-accuracy=0.4\n'
    (run,) = read(tmp_path, text + epoch_of(2, 0.5))
    assert (run.train['accuracy'], run.validation['accuracy']) == ({0: 0.1, 1: 0.3, 2: 0.5}, {0: 0.2, 1: 0.4})


def test_an_earlier_run_that_goes_on_is_not_joined_to_a_later_one(tmp_path):
    first = ''.join(epoch_of(epoch, 0.1) for epoch in range(5))
    second = logs.BEGIN.write(epoch=0) + '\n' + epoch_of(0, 0.7)
    third = logs.GO_ON.write(epoch=5, batch=0) + '\n' + epoch_of(5, 0.2)
    runs = read(tmp_path, first + second + third)
    assert [run.train['accuracy'] for run in runs] == [dict.fromkeys(range(5), 0.1), {0: 0.7}, {5: 0.2}]


def test_all_metrics_of_a_line_and_the_forms_of_mxnet_1x(tmp_path):
    text = ''
    for epoch in range(2):
        for first, last, value in ((0, 20, 0.2), (20, 40, 0.4)):
            text += f'Epoch[{epoch}] Batch [{first}-{last}]\tSpeed: 9.00 samples/sec\taccuracy={value}\tLoss=2.5\n'
    assert read(tmp_path, text)[0].train == {
        'accuracy': {0: pytest.approx(0.3), 1: pytest.approx(0.3)},
        'Loss': {0: 2.5, 1: 2.5},
    }
    running = text.replace('[20-40]', '[0-40]')  # each line tells of all batches so far
    assert read(tmp_path, running)[0].train['accuracy'] == {0: 0.4, 1: 0.4}
    capital = 'Epoch[0] Train-Accuracy=0.25\nEpoch[0] Validation-FCNLogLoss=1.5,\t\n'
    (run,) = read(tmp_path, capital)
    assert (run.train, run.validation) == ({'accuracy': {0: 0.25}}, {'FCNLogLoss': {0: 1.5}})


def test_a_decimal_comma_is_no_zero(tmp_path):
    (run,) = read(tmp_path, 'Epoch[0] Train-accuracy=0,500000\nEpoch[0] Validation-accuracy=0,4\n')
    assert (run.train, run.validation) == ({'accuracy': {0: 0.5}}, {'accuracy': {0: 0.4}})


def test_logs_of_gluoncv_and_of_powershell(tmp_path):
    text = (
        'INFO:root:Epoch[0] Batch [49]\tSpeed: 600.1 samples/sec\taccuracy=0.10\tlr=0.100000\n'
        'INFO:root:[Epoch 0] training: accuracy=0.20\n'
        'INFO:root:[Epoch 0] speed: 600 samples/sec\ttime cost: 10.0\n'
        'INFO:root:[Epoch 0] validation: err-top1=0.75 err-top5=0.5\n'
    )
    (run,) = read(tmp_path, text)
    assert run[1:5] == ({'accuracy': {0: 0.2}}, {'accuracy': {0: 0.25}, 'top5': {0: 0.5}}, {0: 600.0}, {0: 0.1})
    (tmp_path / 'a.log').write_bytes(text.encode('utf-16'))
    assert logs.read_runs(tmp_path / 'a.log') == [run]


def test_many_lines_of_an_epoch_take_a_moment(tmp_path):
    """A search of the lines before, for each line, would take minutes."""
    line = 'Epoch[0] Batch [{}]\tSpeed: 9.00 samples/sec\tTrain-accuracy=0.5\n'
    (run,) = read(tmp_path, ''.join(line.format(batch) for batch in range(1, 60_001)))
    assert run.train == {'accuracy': {0: 0.5}}
