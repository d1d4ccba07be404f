"""evaluate.py on shifted pictures and on several domains: its text, its drawings and its mistakes."""

from __future__ import annotations

import errno
import json

import cv2
import numpy as np
import pytest

from ibnnet_mx.cli import evaluate
from ibnnet_mx.files import atomic
from tests.graded_pictures import CLASSES, picture, write_graded
from tests.record_sets import png


@pytest.fixture(scope='module')
def records(tmp_path_factory):
    return write_graded(tmp_path_factory.mktemp('shifted'))


def test_numbers_are_told_before_a_drawing_fails(checkpoint, records, tmp_path, capsys, monkeypatch):
    """The disk is full when the drawing is written, after the measurement."""

    def full(*_, **__):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(atomic, 'write_file', full)
    for option, name in (('--confusion', 'c.png'), ('--sheet', 's.png')):
        code, (out, err) = run(checkpoint, capsys, records, option, tmp_path / name)
        assert code == 2
        assert 'top-1' in out
        assert f'{option} {tmp_path}/{name} cannot be written' in err


@pytest.fixture(scope='module')
def checkpoint(records, tmp_path_factory):
    from ibnnet_mx.cli import train

    path = tmp_path_factory.mktemp('shifts')
    (path / 'data').mkdir()
    for name in ('cifar10_val', 'cifar10_train'):
        for end in ('.rec', '.idx'):
            if (records / f'cifar10_val{end}').is_file():
                (path / 'data' / f'{name}{end}').write_bytes((records / f'cifar10_val{end}').read_bytes())
    words = ['--recipe', 'digits', '--depth', '8', '--epochs', '1', '--batch-size', '10', '--warmup-epochs', '0']
    place = ['--data-dir', str(path / 'data'), '--model-prefix', str(path / 'net'), '--log-file', str(path / 'log')]
    assert train.main([*words, *place]) == 0
    return path / 'net'


def exported(prefix, classes, value=None):
    """The prefix of a network without a .json, at epoch 1; value: of all weights."""
    import mxnet as mx

    import ibnnet_mx

    net = ibnnet_mx.get_model('cifar_resnet8', classes=classes)
    net.initialize()
    if value is not None:
        net.collect_params()['fc1_weight'].set_data(mx.nd.full((classes, 64), value))
    net.hybridize()
    net(mx.nd.zeros((1, 3, 32, 32)))
    net.export(str(prefix), 1)
    return prefix


def run(checkpoint, capsys, *words):
    code = evaluate.main(['--prefix', str(checkpoint), '--epoch', '1', '--threads', '1', *map(str, words)])
    return code, capsys.readouterr()


def test_the_command_tells_all_of_it(checkpoint, records, tmp_path, capsys):
    drawn = ['--sheet', tmp_path / 's.png', '--confusion', tmp_path / 'c.png']
    asked = ['--shift', 'noise:5,hue:1', '--baseline', checkpoint]
    code, (out, err) = run(checkpoint, capsys, records, '--json', *asked, *drawn)
    assert code == 0, err
    report = json.loads(out)
    assert list(report['shift']['error']) == ['gaussian_noise', 'shot_noise', 'impulse_noise', 'hue']
    assert report['shift']['clean'] == pytest.approx(1 - report['top1'])
    assert report['shift']['mCE'] == 1
    assert cv2.imread(str(tmp_path / 's.png')) is not None
    assert cv2.imread(str(tmp_path / 'c.png')) is not None
    code, (out, _) = run(checkpoint, capsys, records, *asked)
    assert code == 0
    assert 'mean of the shifts' in out
    for domains_of in (
        ['--domains', f'a={records}', f'b={records}'],
        [f'--domains=a={records}', f'--domains=b={records}'],
    ):
        code, (out, _) = run(checkpoint, capsys, *domains_of, '--baseline', checkpoint)
        assert code == 0
        assert [row.split()[0] for row in out.splitlines()[3:6]] == ['a', 'b', 'mean']


def test_a_baseline_of_other_classes_is_refused(checkpoint, records, tmp_path, capsys):
    """In another order too where both see one stream of labels, and not where each has them matched by its names."""
    for name, classes in (('ours', 'abcd'), ('moved', 'acbd'), ('others', 'abce')):
        for end in ('symbol.json', '0001.params', '0001.states', '0001.json'):
            content = checkpoint.with_name(f'net-{end}').read_bytes()
            if end == '0001.json':
                content = json.dumps(dict(json.loads(content), class_names=list(classes))).encode()
            (tmp_path / f'{name}-{end}').write_bytes(content)
    domain = ['--domains', f'a={records}']
    for other, words in (('moved', [records, '--shift', 'fog:1']), ('others', domain)):
        code, (out, err) = run(tmp_path / 'ours', capsys, *words, '--baseline', tmp_path / other)
        assert (code, out) == (2, '')
        assert f'--baseline {tmp_path / other}: its classes differ, such as ' in err
    assert run(tmp_path / 'ours', capsys, *domain, '--baseline', tmp_path / 'moved')[0] == 0


def test_a_remark_says_whose_it_is(checkpoint, records, tmp_path, capsys):
    damaged = exported(tmp_path / 'nan', CLASSES, np.nan)
    words = ['--domains', f'a={records}', '--crop-size', 32, '--baseline']
    remarks = {}
    for network, baseline in ((damaged, checkpoint), (checkpoint, damaged)):
        code, (_, err) = run(network, capsys, *words, baseline)
        assert code == 0
        (remarks[network],) = (line for line in err.splitlines() if 'hold NaN' in line)
    assert remarks[damaged].startswith('evaluate: a: ')
    assert remarks[checkpoint].startswith('evaluate: the baseline on a: ')


def test_the_seed_is_that_of_what_is_drawn(checkpoint, records, capsys):
    told = [
        json.loads(run(checkpoint, capsys, records, '--json', '--shift', 'appearance', '--seed', seed)[1].out)['shift']
        for seed in (0, 0, 1)
    ]
    assert told[0] == told[1]
    assert told[0]['calibration_error'] != told[2]['calibration_error']


def test_a_drawing_replaces_no_picture(checkpoint, records, tmp_path, capsys):
    (tmp_path / 'in' / '0').mkdir(parents=True)
    path = tmp_path / 'in' / '0' / 'a.png'
    path.write_bytes(png(picture(0)))
    for option in ('--sheet', '--confusion'):
        code, (out, err) = run(checkpoint, capsys, tmp_path / 'in', option, path)
        assert (code, out) == (2, '')
        assert f'{option} {path} would replace what is read from {tmp_path}/in: name another file' in err
    assert path.read_bytes() == png(picture(0))
    for _ in range(2):  # beside class folders, or among records, a drawing may be drawn again
        assert run(checkpoint, capsys, tmp_path / 'in', '--sheet', tmp_path / 'in' / 's.png')[0] == 0


def test_a_network_of_no_numbers_gives_valid_json(records, tmp_path, capsys):
    code, (out, _) = run(
        exported(tmp_path / 'nan', CLASSES, np.nan), capsys, records, '--crop-size', 32, '--shift', 'fog:1', '--json'
    )
    assert code == 0
    found = json.loads(out, parse_constant=lambda word: pytest.fail(f'{word} is no JSON'))
    assert found['shift']['calibration_error'] is None
    assert found['shift']['mean'] == 1
    code, (out, _) = run(tmp_path / 'nan', capsys, records, '--crop-size', 32, '--shift', 'fog:1')
    assert 'calibration error of shifted pictures not finite' in out


def test_a_drawing_that_cannot_be_written_is_told_before_the_work(checkpoint, records, tmp_path, capsys):
    (tmp_path / 'file').write_text('no folder')
    for option, name in (('--confusion', 'c.png'), ('--sheet', 's.png')):
        code, (out, err) = run(checkpoint, capsys, records, option, tmp_path / 'file' / name)
        assert (code, out) == (2, '')
        assert f'{option} {tmp_path}/file/{name} cannot be written: {tmp_path}/file is no folder; name another' in err
    code, (out, err) = run(checkpoint, capsys, records, '--sheet', '/proc/none/s.png')
    assert (code, out) == (2, '')
    assert '--sheet /proc/none/s.png cannot be written: No such file or directory; name another file' in err


def test_a_part_of_the_corruptions_is_no_whole_mce(checkpoint, records, capsys):
    words = ['--shift', 'fog:3', '--shift', 'noise:1,hue:1', '--baseline', checkpoint]
    text = run(checkpoint, capsys, records, *words)[1].out
    assert '  mCE of these shifts only 100.00 %' in text
    found = json.loads(run(checkpoint, capsys, records, '--json', *words)[1].out)['shift']
    assert found['whole'] is False
    assert set(found['error']) == {'fog', 'gaussian_noise', 'shot_noise', 'impulse_noise', 'hue'}
    rows = [line for line in text.splitlines() if line.startswith(('    fog', '    all of noise', '    not shifted'))]
    assert len({len(row) for row in rows}) == 1  # columns stand below each other


def test_mistakes_are_one_line(checkpoint, records, tmp_path, capsys):
    (tmp_path / 'dir.png').mkdir()
    other = exported(tmp_path / 'other', 5)
    for words, text in (
        ([records, '--shift', 'mist'], "--shift mist: there is no 'mist'"),
        ([records, '--shift', 'fog:9'], "severity '9' of fog must be 1, 2, 3, 4 or 5"),
        ([records, '--shift', 'fog', '--crops', '10'], '--crops 10: --shift uses the centre only'),
        ([records, '--baseline', checkpoint], 'needs --shift or --domains'),
        ([records, '--baseline-epoch', '3'], '--baseline-epoch 3 needs --baseline: add --baseline PREFIX'),
        ([records, '--shift', 'fog', '--baseline', tmp_path / 'no'], f'--baseline {tmp_path}/no --baseline-epoch 1'),
        ([records, '--shift', 'fog', '--baseline', checkpoint, '--baseline-epoch', '7'], 'by --baseline-epoch'),
        ([records, '--sheet', 'a.txt'], '--sheet a.txt: the name must end in .png'),
        ([records, '--confusion', 'a.jpg'], '--confusion a.jpg: the name must end in .png, .svg, .pdf'),
        ([records, '--sheet', tmp_path / 'dir.png'], 'dir.png is a folder: name a file'),
        ([records, '--confusion', tmp_path / 'dir.png'], 'dir.png is a folder: name a file'),
        ([records, '--sheet', 'a.png', '--confusion', './a.png'], 'is the file of --confusion too: name another'),
        (
            [records, '--shift', 'fog', '--crop-size', '7'],
            '--shift fog: pictures need at least 8 pixels to be shifted; these have 7',
        ),
        ([records, '--threads', '5000'], '--threads 5000 must be at most 1024'),
        ([records, '--seed', '3'], '--seed 3 is the seed of --shift'),
        ([records, '--shift', 'fog', '--baseline', other], 'the networks are for 4 classes of 32 pixels and 5 classes'),
        (['--domains', f'a={records}', '--per-class'], '--per-class is for one DATA'),
        (['--domains', f'mean={records}'], 'the last row is called mean'),
        (['--domains', f'a={records}', f'--domains=a={records}'], 'a is given twice'),
        (
            ['--domains', f'a={records}', '--baseline', other],
            'the networks are for 4 classes of 32 pixels and 5 classes',
        ),
        ([records, '--shift', 'fog', '--seed', '-1'], '--seed -1 must be at least 0'),
        ([records, '--every', '0'], '--every 0 must be at least 1'),
        ([records, '--domains', f'a={records}'], f'DATA: name one place of pictures; {records} and --domains given'),
        (['--domains', 'a'], '--domains a: write NAME=DATA'),
        (['--domains', f'a={records}', '--shift', 'fog'], '--shift is for one DATA'),
        (['--domains', f'a={tmp_path}'], str(tmp_path)),
    ):
        code, (out, err) = run(checkpoint, capsys, *words)
        assert code == 2, words
        assert not out
        assert text in err
        assert len(err.strip().splitlines()) == 1, err
