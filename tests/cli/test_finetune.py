"""Fine-tuning with train_resnet.py as a user runs it: what a run starts from, what stands still, and going on."""

import json
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from ibnnet_mx import convert, hub, models
from ibnnet_mx.checkpoint import Store
from ibnnet_mx.cli import convert as convert_command
from ibnnet_mx.cli import run_options, start, train, train_options
from ibnnet_mx.distributed import job
from ibnnet_mx.files import atomic, params_file
from ibnnet_mx.training import initial_weights
from tests.cli.test_train import same, saved, warnings
from tests.conftest import ROOT

TINY = ['--data-type', 'cifar10', '--model', 'resnet', '--depth', '8', '--batch-size', '16', '--epochs', '2']
TINY += ['--lr-steps', '', '--frequent', '1', '--threads', '1', '--lr', '0.05']


@pytest.fixture
def run(tmp_path, tiny_data, monkeypatch, capsys):
    """run(options) -> the log of train_resnet.py on the tiny data, with checkpoints net-*; code: how it must end."""
    monkeypatch.chdir(tmp_path)

    def run(*argv, prefix='net', code=0):
        words = [*TINY, '--data-dir', tiny_data, '--model-prefix', prefix, *argv]
        assert train.main([str(word) for word in words]) == code
        return capsys.readouterr().err

    return run


@pytest.fixture
def source(run, tmp_path):
    """The checkpoint base-0001.params that a run starts from, with 4 classes."""
    run('--epochs', '1', '--seed', '5', prefix='base')
    return 'base-0001.params'


def params(tmp_path, epoch=1, prefix='net'):
    return {name.split(':')[1]: array for name, array in saved(tmp_path, epoch, prefix)[0].items()}


def body(arrays):
    return {name: array for name, array in arrays.items() if not name.startswith('fc1_')}


def told(log):
    """The lines about the start, which come before those about the run, without those about classes."""
    lines = [line.partition(' INFO ')[2] for line in log.splitlines() if ' classes have no training ' not in line]
    return lines[: next(i for i, line in enumerate(lines) if line.startswith('data: '))]


def origin(epoch=1, prefix='net'):
    return Store(prefix).facts(epoch).init


def test_the_weights_of_a_checkpoint_are_where_a_run_starts(run, source, tmp_path):
    log = run('--init', source, '--epochs', '1', '--freeze', 'body')
    assert told(log) == [f'--init: starts from {source}']
    assert warnings(log) == []
    assert origin() == {'file': source, 'notes': []}
    assert origin(prefix='base') is None
    before, after = params(tmp_path, prefix='base'), params(tmp_path)
    assert same([body(before)], [body(after)])
    assert not np.array_equal(before['fc1_weight'], after['fc1_weight'])


@pytest.mark.parametrize('ending', ['pth', 'safetensors', 'params'])
def test_files_from_elsewhere_are_taken_too(run, source, tmp_path, ending):
    """Without a .json beside a .params the pixels are unknown, which is one warning; the others are the model's own."""
    net = models.create('cifar_resnet8', 4)
    convert.load(net, source)
    path = f'other.{ending}'
    if ending == 'params':
        atomic.write_file(tmp_path / path, (tmp_path / source).read_bytes())
    elif ending == 'pth':
        convert.to_torch(net, path)
    else:
        pytest.importorskip('safetensors')
        convert.save_safetensors(net, path)
    log = run('--init', path, '--epochs', '1', '--freeze', 'body')
    assert same([body(params(tmp_path, prefix='base'))], [body(params(tmp_path))])
    expected = [
        f'--init {path}: there is no .json beside it that describes it; it is taken for a cifar_resnet8 trained'
    ]
    assert [line[: len(expected[0])] for line in warnings(log)] == (expected if ending == 'params' else [])


@pytest.mark.parametrize(
    ('classes', 'argv', 'line'),
    [
        (4, ['--new-head'], 'a new classifier of 4 classes replaces the one of 4'),
        (6, [], 'a new classifier of 6 classes replaces the one of 4'),
        (6, ['--new-head'], 'a new classifier of 6 classes replaces the one of 4'),
    ],
)
def test_a_new_head_is_the_one_that_the_seed_draws(run, source, tmp_path, classes, argv, line):
    still = ['--num-classes', classes, '--epochs', '1', '--freeze', 'body', '--lr', '1e-9', '--wd', '0']
    log = run('--init', source, *still, *argv)
    assert told(log) == [f'--init: starts from {source}', line]
    assert origin() == {'file': source, 'notes': [line]}
    run(*still, prefix='drawn')
    drawn, found = params(tmp_path, prefix='drawn'), params(tmp_path)
    np.testing.assert_allclose(found['fc1_weight'], drawn['fc1_weight'], atol=1e-6)
    assert same([body(params(tmp_path, prefix='base'))], [body(found)])


def test_an_ibn_network_starts_from_its_plain_one(run, source, tmp_path):
    ibn = ['--init', source, '--model', 'resnet_ibn_a', '--epochs', '1', '--freeze', 'body']
    said = run(*ibn, code=2).splitlines()[-1]
    assert said == f'train_resnet: --init {source} is a cifar_resnet8, not a cifar_resnet8_ibn_a; add --init-from-plain'
    (first, second) = told(run(*ibn, '--init-from-plain'))
    assert first == f'--init: starts from {source}'
    assert 'from the plain network' in second
    plain, found = params(tmp_path, prefix='base'), params(tmp_path)
    gamma = plain['stage1_unit1_bn1_gamma']
    assert np.array_equal(found['stage1_unit1_in1_gamma'], gamma[:8])
    assert np.array_equal(found['stage1_unit1_bn1_gamma'], gamma[8:])
    assert np.array_equal(found['stage1_unit1_bn1_running_var'], plain['stage1_unit1_bn1_running_var'][8:])


def test_another_model_is_refused_and_other_pixels_are_told(run, source, tmp_path):
    said = run('--init', source, '--model', 'resnet_v2', code=2).splitlines()[-1]
    assert said.endswith('is a cifar_resnet8, not a cifar_resnet8_v2; use --model cifar_resnet8 --data-type cifar10')
    said = run('--init', source, '--norm', 'in', code=2).splitlines()[-1]
    assert said == f'train_resnet: --init {source} has norm bn, not in: see --norm'
    facts = json.loads((tmp_path / 'base-0001.json').read_text())
    facts['pixels']['mean'] = [1, 2, 3]
    (tmp_path / 'base-0001.json').write_text(json.dumps(facts))
    (warning,) = warnings(run('--init', source, '--epochs', '1'))
    assert warning.startswith(f"--init {source} was trained on pixels {{'order': 'RGB', 'mean': [1, 2, 3], 'std': [")


def test_the_stages_of_ibn_are_those_of_the_start(run, tmp_path):
    ibn = ['--model', 'resnet_ibn_a', '--epochs', '1', '--num-examples', '16']
    run(*ibn, '--ibn-stages', '1', prefix='base')
    said = run(*ibn, '--init', 'base-0001.params', code=2).splitlines()[-1]
    assert said == 'train_resnet: --init base-0001.params has IBN in other stages: --ibn-stages 1'
    convert.save_safetensors(convert.load_symbol('base', 1), 'base.safetensors')
    said = run(*ibn, '--init', 'base.safetensors', code=2).splitlines()[-1]
    assert 'fits cifar_resnet8_ibn_a: use --model cifar_resnet8_ibn_a --data-type cifar10 and --ibn-stages 1: ' in said
    again = [*ibn, '--retrain', '--epochs', '2']
    said = run(*again, '--ibn-stages', '2', prefix='base', code=2).splitlines()[-1]
    assert said == 'train_resnet: --ibn-stages 2: the checkpoint has 1; leave it out'
    run(*again, prefix='base')
    run(*ibn, '--ibn-stages', '1,2', prefix='usual')  # which cifar_resnet8_ibn_a has anyway
    assert Store('usual').facts(1).recipe['ibn_stages'] is None
    run(*ibn, '--init', 'usual-0001.params')


def test_a_damaged_checkpoint_is_no_start(run, source, tmp_path):
    data = bytearray((tmp_path / source).read_bytes())
    data[-1] ^= 1
    (tmp_path / source).write_bytes(data)
    said = run('--init', source, code=2).splitlines()[-1]
    assert said.startswith(f'train_resnet: --init {source}: {source} is not the file that was saved: its checksum')
    (tmp_path / 'base-0001.json').write_text('{}')
    assert 'base-0001.json is damaged' in run('--init', source, code=2)


def test_a_killed_fine_tuning_goes_on_as_if_nothing_had_been(run, source, tmp_path, tiny_data, command):
    """kill -9 in the second epoch, then --retrain without a word about the start or the parts."""
    common = ['--batch-size', '4', '--epochs', '3', '--no-decay', '', '--wd', '0.1']
    tuned = [*common, '--init', source, '--new-head', '--freeze', 'stem,stage1', '--lr-mult', 'body=0.1,stage3=0.5']
    run(*tuned, prefix='whole')
    words = [*TINY, '--data-dir', str(tiny_data), '--model-prefix', 'net']
    script = [sys.executable, str(ROOT / 'train_resnet.py'), *words, *tuned]
    with subprocess.Popen(script, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if 'Epoch[1] Batch [1]' in line:
                process.send_signal(signal.SIGKILL)
    assert Store(tmp_path / 'net').epochs() == [1]
    done = command('train_resnet.py', *words, *common, '--retrain')
    assert (done.returncode, done.stdout) == (0, '')
    assert 'Epoch[0]' not in done.stderr
    assert ' WARNING ' not in done.stderr
    for kind in ('0003.params', '0003.states'):
        assert (tmp_path / f'net-{kind}').read_bytes() == (tmp_path / f'whole-{kind}').read_bytes()
    assert origin(3) == origin(3, 'whole') == origin(1)
    first, last = params(tmp_path, prefix='base'), params(tmp_path, 3)
    still = {name for name in last if np.array_equal(first[name], last[name])}
    assert still == {name for name in last if name.startswith(('conv0', 'bn0', 'stage1'))}
    assert not any(name.startswith(('conv0', 'bn0', 'stage1')) for name in saved(tmp_path, 3)[1])


def test_a_retrain_can_thaw(run, source, tmp_path):
    run('--init', source, '--freeze', 'body', '--epochs', '1')
    frozen = body(params(tmp_path))
    run('--retrain', '--freeze', '', '--epochs', '2')
    after = body(params(tmp_path, 2))
    assert not any(np.array_equal(after[name], frozen[name]) for name in frozen)
    assert origin(2)['file'] == source


def test_recomputing_and_devices_are_no_other_fine_tuning(run, source, tmp_path):
    tuned = ['--init', source, '--freeze', 'stem,stage2', '--lr-mult', 'head=2', '--num-classes', '5']
    for prefix, words in (('plain', []), ('thrifty', ['--memonger']), ('two', ['--cpus', '2'])):
        run(*tuned, *words, prefix=prefix)
    assert same(saved(tmp_path, prefix='plain'), saved(tmp_path, prefix='thrifty'))
    base, two = params(tmp_path, prefix='base'), params(tmp_path, 2, 'two')
    still = {name for name in two if name in body(base) and np.array_equal(base[name], two[name])}
    assert still == {name for name in two if name.startswith(('conv0', 'bn0', 'stage2'))}
    run(*tuned, '--cpus', '2', '--epochs', '1', prefix='half')
    run('--cpus', '2', '--retrain', '--num-classes', '5', prefix='half')
    assert same(saved(tmp_path, prefix='half'), saved(tmp_path, prefix='two'))


def test_freezing_what_the_seed_drew_is_a_warning(run):
    (warning,) = warnings(run('--freeze', 'stem', '--epochs', '1'))
    assert warning == '--freeze stem without --pretrained or --init: these parts stay as the seed drew them'
    assert warnings(run('--retrain')) == []


@pytest.mark.parametrize(('classes', 'new_head', 'anew'), [(1000, False, False), (1000, True, True), (7, False, True)])
def test_published_weights_are_asked_for_by_name(monkeypatch, classes, new_head, anew):
    """The network is that of --pretrained; its 1000 classes have a head of their own or a new one."""
    asked = []

    def load(net, name, source=True, root=None, new_head=False):
        asked.append((net.model.name, name, new_head))
        return ['a line']

    monkeypatch.setattr(hub, 'load', load)
    args = train_options.make_parser().parse_args(['--pretrained', 'resnet18_ibn_a', '--new-head'][: 2 + new_head])
    start.check_start(args)
    wanted, model = run_options.resolve(args)
    assert (wanted.model, wanted.depth, model.name) == ('resnet_ibn_a', 18, 'resnet18_ibn_a')
    begin = start.open_start(args, model, wanted)
    lines = begin(run_options.create_network(args, wanted, model, classes, job.planned('local')))
    assert asked == [('resnet18_ibn_a', 'resnet18_ibn_a', anew)]
    assert lines == ['`pretrained`: starts from the published resnet18_ibn_a', 'a line']
    assert begin.origin == {'pretrained': 'resnet18_ibn_a', 'notes': ['a line']}
    assert re.fullmatch(r'resnet\d+(_ibn_[ab])?', initial_weights.plain_of(model))


def test_a_dry_run_holds_the_file_against_the_network(run, source, tmp_path):
    run('--init', source, '--dry-run')
    (tmp_path / 'base-0001.json').unlink()
    said = run('--init', source, '--model', 'resnet_v2', '--dry-run', code=2)
    assert f'{source} fits cifar_resnet8: use --model cifar_resnet8 --data-type cifar10: the weights do not fit' in said


def test_an_earlier_run_of_the_same_prefix_is_set_aside(run, source):
    log = run('--epochs', '1', prefix='base')
    assert 'base-0001, the checkpoints of an earlier run, are in base-old-1/ now' in log


def test_weights_that_are_not_finite_are_no_start_and_are_told_by_convert(run, source, tmp_path, capsys):
    arrays = params_file.read_params(tmp_path / source)
    name = next(name for name in arrays if name.endswith('fc1_weight'))
    arrays[name] = np.full_like(arrays[name], np.nan)
    shutil.copy(tmp_path / 'base-symbol.json', tmp_path / 'bad-symbol.json')
    (tmp_path / 'bad-0001.params').write_bytes(params_file.encode_params(arrays))
    last = run('--init', 'bad-0001.params', code=2).splitlines()[-1]
    assert last == ('train_resnet: the first weights hold values that are not finite (fc1_weight): start from others')
    assert convert_command.main(['bad-0001.params', 'out-0001.params']) == 0
    assert 'fc1_weight holds values that are not finite\n' in capsys.readouterr().err


def test_a_key_of_weights_has_no_meaning_for_a_checkpoint(run, source):
    said = run('--init', source, '--weights-key', 'state_dict', code=2)
    assert f'--weights-key state_dict: {source} is a checkpoint, which has one set of weights; leave it out' in said
