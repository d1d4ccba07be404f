"""logs.read_log: the logs of 2016 and of resumed runs tell what they told; what is no log is named."""

import gzip
from pathlib import Path

import pytest

from ibnnet_mx import logs

OLD = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'logs'

EXCERPT = """nohup: ignoring input
INFO:root:Namespace(batch_size=256, bn_mom=0.9, depth=18, frequent=100, lr=0.1, model_load_epoch=0, wd=0.0001)
[17:26:11] src/io/iter_image_recordio.cc:221: ImageRecordIOParser: train.rec, use 4 threads for decoding..
WARNING:root:\x1b[91m[Deprecation Warning] mxnet.model.FeedForward has been deprecated.\x1b[0m
INFO:root:Start training with [gpu(2), gpu(3)]
INFO:root:Epoch[0] Batch [100]\tSpeed: 200.00 samples/sec\tTrain-accuracy=0.250000
INFO:root:Epoch[0] Batch [100]\tSpeed: 200.00 samples/sec\tTrain-top_k_accuracy_5=0.500000
INFO:root:Update[151]: Change learning rate to 1.00000e-02
INFO:root:Epoch[0] Batch [200]\tSpeed: 600.00 samples/sec\tTrain-accuracy=0.750000
INFO:root:Epoch[0] Batch [200]\tSpeed: 600.00 samples/sec\tTrain-top_k_accuracy_5=0.875000
INFO:root:Epoch[0] Resetting Data Iterator
INFO:root:Epoch[0] Time cost=72.598
INFO:root:Saved checkpoint to "model/resnet-18-0001.params"
INFO:root:Epoch[0] Validation-accuracy=0.502670
INFO:root:Epoch[0] Validation-top_k_accuracy_5=0.702670
INFO:root:Epoch[1] Batch [100]\tSpeed: 400.00 samples/sec\tTrain-accuracy=0.800000
INFO:root:Epoch[1] Batch [200]\tSpeed: 400.00 samples/sec\tTrain-accuracy=0.850000
INFO:root:Epoch[1] Time cost=70.000
INFO:root:Epoch[1] Validation-accuracy=0.600000
"""
RESUMED = """INFO:root:Namespace(batch_size=256, lr=0.001, model_load_epoch=1, retrain=True)
INFO:root:Epoch[1] Batch [100]\tSpeed: 500.00 samples/sec\tTrain-accuracy=0.900000
"""


def write(path, text):
    path.write_text(text)
    return path


def test_a_log_of_2016(tmp_path):
    run = logs.read_log(write(tmp_path / 'resnet-18.log', EXCERPT))
    assert run.name == 'resnet-18'
    assert run.train == {'accuracy': {0: 0.5, 1: pytest.approx(0.825)}, 'top5': {0: 0.6875}}
    assert run.validation == {'accuracy': {0: 0.50267, 1: 0.6}, 'top5': {0: 0.70267}}
    assert run.speed == {0: pytest.approx(300), 1: pytest.approx(400)}  # as many pictures at 200 as at 600 per second
    assert run.lr == {0: 0.1, 1: 0.01}  # the change came within epoch 0


@pytest.mark.parametrize('batch', [100, 500])  # 500: the resumed run writes its lines less often
def test_an_epoch_begun_again_replaces_the_earlier_try(tmp_path, batch):
    run = logs.read_log(write(tmp_path / 'a.log', EXCERPT + RESUMED.replace('[100]', f'[{batch}]')))
    assert run.train['accuracy'] == {0: 0.5, 1: 0.9}
    assert run.validation['accuracy'] == {0: 0.50267}  # epoch 1 is not validated in its new form yet
    assert run.speed[1] == pytest.approx(500)
    assert run.lr == {0: 0.1, 1: 0.001}


def test_an_epoch_killed_midway_and_begun_again(tmp_path):
    first = ''.join(EXCERPT.splitlines(keepends=True)[:-3])  # epoch 1 ends after batch 100 and 200
    run = logs.read_log(write(tmp_path / 'a.log', first + RESUMED))
    assert run.train['accuracy'][1] == 0.9


def test_totals_written_again_replace_the_earlier_ones(tmp_path):
    again = [f'Epoch[0] Train-accuracy={a}\nEpoch[0] Validation-accuracy={a}\n' for a in (0.25, 0.75)]
    run = logs.read_log(write(tmp_path / 'a.log', ''.join(again)))
    assert run.train == run.validation == {'accuracy': {0: 0.75}}
    run = logs.read_log(write(tmp_path / 'a.log', again[0] + 'Epoch[0] Train-accuracy=0.5\n'))
    assert (run.train, run.validation) == ({'accuracy': {0: 0.5}}, {})


def test_a_written_total_goes_before_the_batch_lines(tmp_path):
    lines = 'Epoch[0] Batch [50]\tSpeed: 9.00 samples/sec\tTrain-accuracy=0.1\nEpoch[0] Train-accuracy=0.2\n'
    run = logs.read_log(write(tmp_path / 'a.log', lines + 'Epoch[0] Speed: 7.00 samples/sec\n'))
    assert (run.train, run.speed) == ({'accuracy': {0: 0.2}}, {0: 7})


def test_colours_within_a_line_and_a_torn_progress_bar(tmp_path):
    text = 'Epoch 0: 50%|##  | 1/2\r\x1b[1mEpoch[0]\x1b[0m \x1b[32mValidation-\x1b[91maccuracy=\x1b[0m0.5\x1b[K\r\n'
    assert logs.read_log(write(tmp_path / 'a.log', text)).validation == {'accuracy': {0: 0.5}}


def test_gzip_is_known_by_its_bytes(tmp_path):
    for name in ('resnet-18.log.gz', 'resnet-18.log'):
        (tmp_path / name).write_bytes(gzip.compress(EXCERPT.encode()))
        assert logs.read_log(tmp_path / name) == logs.read_log(write(tmp_path / 'resnet-18.txt', EXCERPT))


@pytest.mark.parametrize(
    ('name', 'stem'),
    [('resnet-50.log.gz', 'resnet-50'), ('v1.2.log', 'v1.2'), ('log', 'log'), ('a.gz', 'a'), ('.log', '.log')],
)
def test_a_run_is_named_after_its_file(name, stem):
    assert logs.stem_of(Path('folder.d') / name) == stem


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, 'cannot be read as a log: No such file or directory'),
        (b'', 'is no training log: no line has Epoch\\[0\\] Train-'),
        (b'\x89PNG\r\n\x1a\n\x00\xff', 'is no training log'),
        (b'Epoch[0] Time cost=1.0\nEpoch[0] Learning-rate=0.1\n', 'is no training log'),
        (gzip.compress(EXCERPT.encode(), mtime=0)[:-20], 'cannot be read as a log: .*end'),
        (b'\x1f\x8b' + EXCERPT.encode(), 'cannot be read as a log: .*compress'),
        (gzip.compress(b'', mtime=0)[:10] + b'\xff' * 50, 'cannot be read as a log: .*invalid'),
    ],
)
def test_what_is_no_log_is_named(tmp_path, content, message):
    path = tmp_path / 'bad.log'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=f'{path} {message}'):
        logs.read_log(path)


@pytest.mark.skipif(not OLD.is_dir(), reason='the logs of 2016 are not on this machine')
@pytest.mark.parametrize(
    ('name', 'epochs', 'last', 'top5', 'rates'),
    [
        ('resnet-18', 120, 0.692602, 0.890665, {0: 0.1, 29: 0.1, 30: 0.01, 60: 0.001, 90: 0.0001, 98: 0.001}),
        ('resnet-50', 126, 0.755620, 0.926857, {0: 0.1, 29: 0.1, 30: 0.01, 60: 0.001, 95: 0.0001}),
        ('resnet-164', 300, 0.952927, None, {0: 0.1, 219: 0.1, 220: 0.01, 260: 0.001, 280: 0.0001}),
    ],
)
def test_the_real_logs_of_2016(name, epochs, last, top5, rates):
    run = logs.read_log(OLD / f'{name}.log.gz')
    for curve in (run.train['accuracy'], run.validation['accuracy'], run.speed, run.lr):
        assert list(curve) == list(range(epochs))
    assert run.validation['accuracy'][epochs - 1] == last
    assert run.validation.get('top5', {}).get(epochs - 1) == top5
    assert {epoch: run.lr[epoch] for epoch in rates} == rates
    if name == 'resnet-18':  # trained twice, the second time with top-5
        assert (run.validation['accuracy'][98], run.validation['top5'][98]) == (0.690310, 0.888413)
        assert run.speed[0] == pytest.approx(1281167 / 3298.575, rel=0.001)  # what its Time cost line says


def test_half_a_value_is_none(tmp_path):
    """Two processes wrote at once."""
    lines = 'Epoch[0] Train-accuracy=0.5\nEpoch[1] Train-accuracy=0.7222026-11-27 11:29:42 INFO\n'
    assert logs.read_log(write(tmp_path / 'a.log', lines)).train == {'accuracy': {0: 0.5}}


@pytest.mark.parametrize(
    ('unit', 'times', 'text'),
    [
        (b'Namespace(', 100_000, 'is no training log'),
        (b'x' * 1000, 200_000, 'more than 128 MB of text'),
        (b'Epoch[%d] Train-accuracy=0.5\n', 100_002, '100000 epochs'),
    ],
)
def test_a_few_packed_bytes_take_neither_time_nor_memory(tmp_path, unit, times, text):
    data = b''.join(unit % number for number in range(times)) if b'%d' in unit else unit * times
    (tmp_path / 'a.log').write_bytes(gzip.compress(data, 1))
    with pytest.raises(ValueError, match=text):
        logs.read_log(tmp_path / 'a.log')


def test_tabs_as_syslog_writes_them(tmp_path):
    line = 'INFO:root:Epoch[0] Batch [{}-{}]#011Speed: 500.00 samples/sec#011accuracy={}\n'
    text = line.format(0, 100, 0.25) + line.format(100, 200, 0.75)
    log = logs.read_log(write(tmp_path / 'a.log', text + 'INFO:root:Epoch[0] Validation-accuracy=0.358000\n'))
    assert (log.train['accuracy'], log.speed) == ({0: 0.5}, {0: 500})


@pytest.mark.parametrize('lost', range(1, 8))
def test_a_number_that_the_end_of_the_file_cuts_is_no_number(tmp_path, lost):
    text = 'Epoch[0] Validation-accuracy=0.412345\nEpoch[1] Validation-accuracy=0.512345'
    log = logs.read_log(write(tmp_path / 'a.log', text[:-lost]))
    assert log.validation['accuracy'] == {0: 0.412345}
    whole = logs.read_log(write(tmp_path / 'b.log', text))
    assert whole.validation['accuracy'] == {0: 0.412345, 1: 0.512345}
