"""train_resnet.py without training: what the options resolve to, and each mistake in one line."""

import json

import pytest

from ibnnet_mx.cli import train
from tests.record_sets import png, scene, write

TINY = ['--data-type', 'cifar10', '--model', 'resnet_v2', '--depth', '8', '--batch-size', '16', '--epochs', '2']
TINY += ['--lr-steps', '1', '--frequent', '1', '--threads', '1']


def words(value):
    return ' '.join(value) if isinstance(value, list) else ''


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """run(options) -> (exit code, stdout, stderr) of train_resnet.py in an empty folder."""
    folder = tmp_path / 'run'
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*argv):
        try:
            code = train.main([str(word) for word in argv])
        except SystemExit as stop:  # argparse leaves this way
            code = stop.code
        return (code, *capsys.readouterr())

    return run


def test_a_mistake_is_one_line_whatever_is_in_it(run):
    assert run('--model', 'a\nb', '--dry-run')[2].count('\n') == 1
    assert run('a\n\nb')[2] == 'train_resnet: unrecognized arguments: a b\n'


def test_two_dashes_are_no_value(run):
    assert run('--batch-size=--', '--dry-run')[2] == 'train_resnet: argument --batch-size: expected one argument\n'


def refused(run, *argv):
    """The one line of a command that ends with 2 before the first batch."""
    code, out, err = run(*argv)
    assert (code, out) == (2, '')
    lines = [line for line in err.splitlines() if ' INFO ' not in line]
    assert len(lines) == 1, err
    assert lines[0].startswith('train_resnet: ')
    assert not any(word in err for word in ('Traceback', 'usage', 'Epoch['))
    return lines[0]


def dry(run, *argv):
    """(recipe, last line) of --dry-run."""
    code, out, err = run('--dry-run', *argv)
    assert (code, err) == (0, '')
    recipe, lines = out.rstrip().split('\n}\n')
    assert lines.startswith('data: none was read, because ./data does not exist and --data-dir is not given\n')
    return json.loads(recipe + '}'), lines.splitlines()[-1]


PUBLISHED = 'resnet50_ibn_a'

BEFORE_DATA = [
    (['--depth', '51'], '--depth 51 is not a depth of resnet_v2: use one of 18, 34'),
    (['--depth', '21', '--data-type', 'cifar10'], '--depth 21 is not a cifar10 depth: use 6n+2'),
    (['--depth', 'x'], "--depth: invalid int value: 'x'"),
    (['--model', 'resnet_v3'], '--model resnet_v3 is not known: did you mean resnet_v2'),
    (['--model', 'resnet18', '--depth', '34'], '--depth 34 contradicts --model resnet18: give one of them'),
    (['--model', 'cifar_resnet20_v2'], '--model cifar_resnet20_v2 is a CIFAR network: use it with --data-type cifar10'),
    (['--norm', 'xn'], "--norm: invalid choice: 'xn'"),
    (['--norm-args', 'B'], "--norm-args: 'B' must be names and values, such as B=2,real_B=32"),
    (['--recipe', 'mnist'], "--recipe: invalid choice: 'mnist'"),
    (['--aug-level', '4'], "--aug-level: '4' is not a level: use one of 1, 2, 3, rrc"),
    (['--lr', '0'], '--lr 0.0 must be above 0'),
    (['--lr-steps', '30,x'], "--lr-steps: '30,x' must be numbers with commas"),
    (['--lr-steps', '60,30'], '--lr-steps 60,30 must rise'),
    (['--schedule', 'cosine', '--lr-steps', '3'], '--lr-steps 3: the schedule is cosine; add --schedule step'),
    (['--epochs', '0'], '--epochs 0 must be above 0'),
    (['--batch-size', '-1'], '--batch-size -1 must be above 0'),
    (['--mom', '1'], '--mom 1.0 must be at least 0 and below 1'),
    (['--seed', '-3'], '--seed -3 must not be below 0'),
    (['--no-decay', 'gama'], '--no-decay gama: names of parameters end in'),
    (['--no-aug-epochs', '2', '--aug-level', '1'], '--no-aug-epochs 2: augmentation 1 only crops'),
    (['--optimizer', 'adam'], "--optimizer: invalid choice: 'adam'"),
    (['--model-load-epoch', '3'], '--model-load-epoch 3 needs --retrain'),
    (['--retrain'], '--retrain: there is no undamaged checkpoint model/resnet50_v2-NNNN.params with its .json'),
    (['--retrain', '--model-load-epoch', '3'], '--model-load-epoch 3: model/resnet50_v2-0003.json cannot be read: No'),
    (['--keep', '0'], '--keep 0 must be at least 1'),
    (['--frequent', '0'], '--frequent 0: the batches from one log line to the next'),
    (['--log-file', '/proc/none/a.log'], '--log-file /proc/none/a.log cannot be written: '),
    (
        ['--kv-store', 'dist_async'],
        '--kv-store dist_async is not available: workers that do not wait for each other diverge; use one of local, ',
    ),
    (['--gpus', '0,0'], '--gpus 0,0: '),
    (['--gpus', 'a'], '--gpus a must be numbers with commas'),
    (['--gpus', '99'], '--gpus 99: '),
    (['--gpus', '0', '--cpus', '2'], '--cpus 2 contradicts --gpus 0: give one of them'),
    (['--cpus', '0'], '--cpus 0 must be at least 1'),
    (['--data-dir', 'none', '--depth', '50'], 'pack your pictures first with ibnnet pack PICTURES none'),
    (['--data-dri', 'x'], '--data-dri is not an option: did you mean --data-dir?'),
    (['--data', 'x'], '--data is not an option: did you mean --data-dir?'),
    (['--dry-run', '--num-classes', '0'], '--num-classes 0: a network needs at least one class'),
    (['--pretrained', 'resnet50'], '--pretrained resnet50: published weights are resnet18_ibn_a, resnet34_ibn_a, '),
    (['--pretrained', PUBLISHED, '--depth', '101'], f'--pretrained {PUBLISHED} contradicts --model and --depth'),
    (['--pretrained', PUBLISHED, '--model', 'resnet_v2'], 'which name resnet50_v2'),
    (['--pretrained', PUBLISHED, '--data-type', 'cifar10'], 'is for ImageNet sizes: leave --data-type cifar10 out'),
    (['--pretrained', PUBLISHED, '--init', 'a.pth'], f'--pretrained {PUBLISHED} contradicts --init a.pth'),
    (['--pretrained', PUBLISHED, '--init-from-plain'], f'--init-from-plain: {PUBLISHED} is an IBN network itself'),
    (['--retrain', '--pretrained', PUBLISHED], '--pretrained sets the first weights, and --retrain has its weights'),
    (['--retrain', '--init', 'a.pth'], '--init sets the first weights, and --retrain has its weights already: leave'),
    (['--retrain', '--new-head'], '--new-head sets the first weights, and --retrain has its weights already: leave'),
    (['--retrain', '--init-from-plain'], '--init-from-plain sets the first weights, and --retrain has its weights'),
    (['--new-head'], '--new-head needs weights to start from: add --pretrained NAME or --init FILE'),
    (['--zero-gamma', '--init', 'a.pth'], '--zero-gamma: the weights of --init would replace its zeros; leave one'),
    (['--init', 'none.pth'], '--init none.pth is not a file'),
    (
        ['--init', __file__, '--init-from-plain'],
        '--init-from-plain: resnet50_v2 is not an IBN network; leave this option out',
    ),
    (['--lr-mult', 'body'], "--lr-mult: 'body' must be parts and factors, such as body=0.1,head=1"),
    (['--lr-mult', 'body=-1'], '--lr-mult body=-1 must not be below 0'),
    (['--dry-run', '--freeze', 'stage9'], '--freeze stage9: the parts with weights are stem, stage1, stage2, stage3,'),
    (['--dry-run', '--freeze', 'stem', '--lr-mult', 'stem=2'], '--lr-mult stem=2: --freeze stops stem from learning'),
    (['--dry-run', '--freeze', 'body,head'], '--freeze body,head leaves no part that learns: freeze fewer parts'),
    (['--dry-run', '--norm', 'gn', '--norm-args', 'B=2'], '--norm-args B=2: --norm gn has no such argument'),
    (['--dry-run', '--norm', 'gn', '--norm-batch-size', '2'], '--norm-batch-size 2 cannot be used with --norm gn'),
    (['--dry-run', '--norm-batch-size', '3'], '--norm-batch-size 3 must divide the 256 pictures of a device'),
    (['--dry-run', '--norm-batch-size', '512'], '--norm-batch-size 512 must divide the 256 pictures of a device'),
    (['--profile', 'a.txt'], '--profile a.txt: the name must end in .json or .png'),
    (['--profile', '/proc/a.json'], '--profile /proc/a.json cannot be written: '),
    (['--accumulate', '0'], '--accumulate 0 must be at least 1'),
    (['--lr-batch', '0'], '--lr-batch 0 must be above 0'),
    (
        ['--dry-run', '--accumulate', '3'],
        '--accumulate 3 must divide the 256 pictures of a device: use 2 or 4, or --batch-size 258',
    ),
    (
        ['--dry-run', '--accumulate', '300', '--cpus', '2'],
        '--accumulate 300 must divide the 128 pictures of a device: use 128, or --batch-size 600',
    ),
    (
        ['--dry-run', '--accumulate', '2', '--cpus', '3'],
        "--accumulate 2 must divide a device's share of a batch: --batch-size 258",
    ),
    (
        ['--dry-run', '--accumulate', '4', '--norm-batch-size', '3'],
        '--norm-batch-size 3 must divide the 64 pictures of a chunk, with --accumulate 4',
    ),
    (['--dry-run', '--norm', 'syncbn'], '--norm syncbn is for several GPUs: add --gpus 0,1; on the CPU'),
    (
        ['--dry-run', '--model', 'resnet', '--norm', 'mabn', '--bn-mom', '0.5'],
        '--bn-mom 0.5: resnet50 with --norm mabn has no BatchNorm; use --norm-args momentum=',
    ),
    (
        ['--dry-run', '--model', 'resnet', '--norm', 'gn', '--bn-mom', '0.5'],
        '--bn-mom 0.5: resnet50 with --norm gn has no BatchNorm, leave it out',
    ),
    (['--dry-run', '--zero-gamma'], '--zero-gamma needs a norm at the end of each unit'),
]


@pytest.mark.parametrize(('argv', 'text'), BEFORE_DATA, ids=words)
def test_mistakes_that_need_no_data(run, argv, text):
    assert text in refused(run, *argv)


WITH_DATA = [
    (['--num-classes', '3'], '--num-classes 3: the records hold label 3, use at least 4'),
    (['--num-examples', '49'], '--num-examples 49: '),
    (['--num-examples', '0'], '--num-examples 0: '),
    (['--threads', '0'], '--threads 0 must be at least 1'),
    (['--max-bad-records', '-1'], '--max-bad-records -1 must be at least 0'),
    (['--list-dir', 'none'], '--list-dir none holds no .lst file of the records in '),
    (['--model-prefix', 'model/'], '--model-prefix model/ must end in a name, such as model/resnet'),
    (['--model-prefix', '/proc/none/net'], '--model-prefix /proc/none/net: '),
    (['--zero-gamma'], '--zero-gamma needs a norm at the end of each unit'),
    (['--tensorboard', '/proc/none'], '--tensorboard /proc/none cannot be written: '),
]


@pytest.mark.parametrize(('argv', 'text'), WITH_DATA, ids=words)
def test_mistakes_that_are_found_beside_the_data(run, tiny_data, argv, text):
    if '--tensorboard' in argv:
        pytest.importorskip('tensorboardX')
    assert text in refused(run, *TINY, '--data-dir', tiny_data, *argv)


@pytest.mark.parametrize(
    ('name', 'how', 'text'),
    [
        ('train', 'missing', 'holds no cifar10_train.rec: pack your pictures first'),
        ('val', 'missing', 'holds no cifar10_val.rec: pack your pictures first'),
        ('train', 'empty', 'cifar10_train.rec is empty: pack it again'),
        ('train', 'cut', 'the file is truncated'),
        ('val', 'cut', 'the file is truncated'),
        ('train', 'zeros', 'record 0 at byte 0: has 0x00000000 where the magic number'),
    ],
)
def test_records_that_are_missing_or_damaged(run, own_data, name, how, text):
    path = own_data / f'cifar10_{name}.rec'
    data = path.read_bytes()
    path.unlink()
    if how != 'missing':
        path.write_bytes({'empty': b'', 'cut': data[:-1000], 'zeros': bytes(40) + data[40:]}[how])
    said = refused(run, *TINY, '--data-dir', own_data)
    assert text in said
    assert str(own_data) in said


@pytest.mark.parametrize(('label', 'text'), [(-1, 'label -1'), (0.5, 'label 0.5'), (float('nan'), 'label nan')])
def test_labels_that_are_no_classes(run, own_data, label, text):
    write(own_data / 'cifar10_train.rec', [png(scene(i, 32, 32)) for i in range(3)], [0, label, 1])
    said = refused(run, *TINY, '--data-dir', own_data)
    assert text in said
    assert 'record 1' in said


def test_lists_that_contradict_the_records(run, own_data, tmp_path):
    lines = [f'{i}\t{i % 4}\ta/{i}.png\n' for i in range(48)]
    lists = tmp_path / 'lists'
    lists.mkdir()
    command = [*TINY, '--data-dir', own_data, '--list-dir', lists]
    for changed, text in (
        (lines[:-1], 'lists 47 pictures'),
        ([*lines[:-1], '47\t0\ta/47.png\n'], 'gives id 47 label 0'),
        ([*lines[:-1], '99\t3\ta/47.png\n'], 'gives id 99 label 3'),
    ):
        (lists / 'cifar10_train.lst').write_text(''.join(changed))
        said = refused(run, *command)
        assert said.startswith(f'train_resnet: --list-dir {lists}: {lists}/cifar10_train.lst {text}')


ACTS = [
    (['--lr', '0.3'], dict(lr=0.3)),
    (['--mom', '0.5', '--bn-mom', '0.8', '--wd', '0'], dict(mom=0.5, bn_mom=0.8, wd=0.0)),
    (['--batch-size', '64', '--epochs', '95'], dict(batch_size=64, epochs=95)),
    (['--lr-steps', '10,20.5'], dict(lr_steps=[10, 20.5])),
    (['--schedule', 'cosine', '--warmup-epochs', '5'], dict(schedule='cosine', warmup_epochs=5)),
    (['--aug-level', '3', '--no-aug-epochs', '2'], dict(aug_level=3, no_aug_epochs=2)),
    (['--aug-level', 'rrc', '--optimizer', 'sgd'], dict(aug_level='rrc', optimizer='sgd')),
    (['--label-smoothing', '0.1', '--mixup', '0.2'], dict(label_smoothing=0.1, mixup=0.2)),
    (['--clip-gradient', '5', '--no-decay', 'gamma,beta'], dict(clip_gradient=5, no_decay=['gamma', 'beta'])),
    (['--model', 'resnet', '--zero-gamma', '--norm', 'in'], dict(model='resnet', zero_gamma=True, norm='in')),
    (
        ['--norm', 'mabn', '--norm-args', 'B=2,momentum=0.9,variant=cls', '--norm-batch-size', '2'],
        dict(norm='mabn', norm_args=[['B', 2], ['momentum', 0.9], ['variant', 'cls']], norm_batch_size=2),
    ),
    (['--seed', '7'], dict(seed=7)),
    (['--accumulate', '4', '--lr-batch', '64'], dict(accumulate=4, lr_batch=64)),
    (['--freeze', 'stem,stage1', '--lr-mult', 'head=2'], dict(freeze=['stem', 'stage1'], lr_mult=[['head', 2.0]])),
    (['--recipe', 'ibn'], dict(name='ibn', model='resnet_ibn_a', aug_level='rrc', epochs=100)),
    (['--data-type', 'cifar10'], dict(name='cifar10', depth=164, aug_level='cifar')),
]


@pytest.mark.parametrize(('argv', 'fields'), ACTS, ids=words)
def test_options_reach_the_recipe_and_nothing_else_does(run, argv, fields):
    base, _ = dry(run, *(argv if argv[0] in ('--recipe', '--data-type') else []))
    found, _ = dry(run, *argv)
    assert {name: found[name] for name in fields} == fields
    assert {name for name in found if found[name] != base[name]} <= set(fields)


def test_defaults_are_the_seeds(run):
    recipe, last = dry(run)
    assert (recipe['name'], recipe['model'], recipe['depth']) == ('imagenet', 'resnet_v2', 50)
    assert (recipe['batch_size'], recipe['epochs'], recipe['lr_steps']) == (256, 120, [30, 60, 90])
    assert last.startswith('resnet50_v2: 1000 classes, 25,5')
    assert last.endswith(' parameters, input 3x224x224')


@pytest.mark.parametrize(
    ('argv', 'start'),
    [
        (['--model', 'resnet_ibn_a', '--depth', '18'], 'resnet18_ibn_a: 1000 classes, 11,689,512 parameters'),
        (['--model', 'resnet18_ibn_a'], 'resnet18_ibn_a: 1000 classes, 11,689,512 parameters'),
        (['--model', 'resnet18', '--num-classes', '7'], 'resnet18: 7 classes'),
        (['--data-type', 'cifar10', '--depth', '20'], 'cifar_resnet20_v2: 10 classes'),
        (['--recipe', 'digits'], 'cifar_resnet20_ibn_a: 10 classes'),
        (['--pretrained', 'resnet18_ibn_b'], 'resnet18_ibn_b: 1000 classes'),
        (['--pretrained', 'resnet18_ibn_a', '--model', 'resnet_ibn_a'], 'resnet18_ibn_a: 1000 classes'),
    ],
)
def test_names_of_networks(run, argv, start):
    assert dry(run, *argv)[1].startswith(start)


def test_a_dry_run_tells_the_start_and_what_learns(run):
    _, last = dry(run, '--pretrained', 'resnet18_ibn_a', '--freeze', 'body')
    assert last.endswith(", 513,000 of them learning, start: {'pretrained': 'resnet18_ibn_a'}")


def test_a_dry_run_writes_nothing(run, tmp_path):
    dry(run)
    assert list((tmp_path / 'run').iterdir()) == []
