"""experiments/two_at_once: one small run of it, from the training to the tables, and what it makes of numbers."""

import json
import shutil
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ibnnet_mx import shift
from ibnnet_mx.recordio.format import RecordFile
from tests.record_sets import png

HERE = Path(__file__).resolve().parents[2] / 'experiments' / 'two_at_once'
SMALL = ['--recipe', 'digits', '--depth', '8', '--epochs', '1', '--batch-size', '16']


@pytest.fixture(scope='module')
def parts():
    """The modules of the experiment."""
    sys.path.insert(0, str(HERE))
    try:
        import distance
        import figures
        import plans
        import run
        import tables
    finally:
        sys.path.remove(str(HERE))
    return SimpleNamespace(distance=distance, figures=figures, plans=plans, run=run, tables=tables)


@pytest.mark.thorough
def test_a_run_trains_evaluates_and_is_made_once(parts, tiny_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(parts.plans.RECIPES, 'cifar10', SMALL)
    monkeypatch.setattr(parts.run, 'SHIFTS', 'noise,zoom_blur,fog,pixelate,hue')
    monkeypatch.setitem(parts.plans.PLAN, 'cifar10', (('v1',), ('bn',), ('v1',), ('in',)))
    words = ['--cifar10', tiny_data, '--parts', 'cifar10', '--seeds', '1', '--jobs', '1', '--dtype', 'float32']
    words += ['--out', tmp_path / 'out', '--results', tmp_path / 'results']
    monkeypatch.setattr(sys, 'argv', ['run.py', *map(str, words)])
    parts.run.main()
    told = capsys.readouterr().out
    assert '2 of 2 runs are to be made: about' in told.splitlines()[0]
    found = json.loads((tmp_path / 'results' / 'cifar10_v1_bn_seed0.json').read_text())
    assert found['shift']['groups'].keys() == {'noise', 'blur', 'weather', 'digital', 'appearance'}
    assert len(found['accuracy']) == 1
    assert found['top1'] == pytest.approx(found['accuracy'][0], abs=1e-4)
    assert (tmp_path / 'results' / 'two_at_once.png').is_file()
    apart = json.loads((tmp_path / 'results' / 'distances' / 'cifar10_v1_bn_seed0.json').read_text())['distance']
    assert set(apart) == {'style', 'contrast', 'gaussian_noise'}
    assert list(apart['style']) == ['stage1_unit1', 'stage2_unit1', 'stage3_unit1']
    row = next(line for line in told.splitlines() if line.startswith('| BN |'))
    assert row.split(' | ')[1] == f'{100 * (1 - found["top1"]):.2f}'
    (tmp_path / 'out').rename(tmp_path / 'gone')
    parts.run.main()  # nothing is trained or evaluated again
    assert 'to be made' not in capsys.readouterr().out
    (tmp_path / 'results' / 'cifar10_v1_in_seed0.json').rename(tmp_path / 'in')
    shutil.copytree(tiny_data, tmp_path / 'other')
    shutil.copyfile(tmp_path / 'other' / 'cifar10_train.rec', tmp_path / 'other' / 'cifar10_val.rec')
    monkeypatch.setattr(sys, 'argv', [*sys.argv, '--cifar10', str(tmp_path / 'other')])
    with pytest.raises(
        SystemExit, match=r'bn_seed0.json was made of other pictures than --cifar10 gives: name another'
    ):
        parts.run.main()
    monkeypatch.setattr(sys, 'argv', [*sys.argv, '--dtype', 'bfloat16'])
    with pytest.raises(SystemExit, match='was made by `.*float32`, not by `.*bfloat16`: name another --results'):
        parts.run.main()
    (tmp_path / 'results' / 'cifar10_v1_bn_seed0.json').write_text('{"part": ')
    with pytest.raises(SystemExit, match='cifar10_v1_bn_seed0.json is damaged'):
        parts.run.main()


@pytest.fixture
def pacs(tmp_path):
    """A tar of four domains of two classes, dark and bright, which the domains colour."""
    draw = np.random.default_rng(0)
    for domain, tint in (('photo', 0), ('art_painting', 20), ('cartoon', 40), ('sketch', 60)):
        for name, value in (('dark', 30), ('bright', 170)):
            for number in range(20):
                picture = np.clip(value + tint + draw.normal(0, 10, (32, 32, 3)), 0, 255).astype(np.uint8)
                place = tmp_path / 'pacs' / domain / name
                place.mkdir(parents=True, exist_ok=True)
                (place / f'{number}.png').write_bytes(png(picture))
    with tarfile.open(tmp_path / 'pacs.tar', 'w') as tar:
        tar.add(tmp_path / 'pacs', 'pacs')
    return tmp_path / 'pacs.tar'


@pytest.mark.filterwarnings('ignore:Data has no positive values')  # nothing is wrong that a curve could show
def test_a_domain_is_left_out_and_a_tenth_of_the_others_held_out(parts, pacs, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(parts.plans.RECIPES, 'pacs', SMALL)
    monkeypatch.setattr(parts.plans, 'runs', lambda *_: [parts.plans.Run('pacs', 'sketch', 'bn', 0)])
    words = ['--pacs', str(pacs), '--jobs', '1', '--dtype', 'float32', '--out', str(tmp_path / 'out')]
    monkeypatch.setattr(sys, 'argv', ['run.py', *words])
    parts.run.main()
    found = json.loads((tmp_path / 'out' / 'results' / 'pacs_sketch_bn_seed0.json').read_text())
    counts = {domain: one['count'] for domain, one in found['domains'].items()}
    assert counts == {'sketch': 40, 'photo': 4, 'art_painting': 4, 'cartoon': 4}
    with RecordFile(tmp_path / 'out' / 'pacs' / 'sketch' / 'cifar10_train.rec') as records:
        assert len(records) == 3 * 36
    with RecordFile(tmp_path / 'out' / 'pacs' / 'sketch' / 'cifar10_val.rec') as records:
        assert len(records) == 3 * 4
    told = json.loads((tmp_path / 'out' / 'results' / 'distances' / 'pacs_sketch_bn_seed0.json').read_text())
    blocks = parts.distance.Blocks(tmp_path / 'out' / 'pacs_sketch_bn_seed0' / 'model', 1)
    held = [tmp_path / 'out' / 'pacs_held' / domain for domain in ('photo', 'art_painting', 'cartoon')]
    expected = parts.distance.of_pacs(blocks, tmp_path / 'pacs' / 'sketch', held)['domain']
    assert told['distance']['domain'] == pytest.approx(expected, rel=1e-3)
    pacs.write_bytes(b'another')
    (tmp_path / 'out' / 'results' / 'pacs_sketch_bn_seed0.json').unlink()
    with pytest.raises(SystemExit, match='holds what was made of other pictures: name another --out'):
        parts.run.main()


@pytest.mark.parametrize(
    ('words', 'told'),
    [
        ([], 'nothing to train: name --cifar10 or --pacs'),
        (['--parts', 'pacs'], '--parts pacs needs --pacs'),
        (['--parts', 'equal', '--pacs', '.'], '--parts equal needs --cifar10'),
        (['--pacs', '{empty}'], 'there is no folder photo in'),
        (['--pacs', 'none.tar'], '--pacs none.tar does not exist'),
        (['--cifar10', 'none.tar'], '--cifar10 none.tar does not exist'),
        (['--pacs', '{file}'], '--pacs .*file cannot be unpacked'),
        (['--pacs', '{empty}', '--jobs', '0'], '--jobs 0 must be at least 1'),
        (['--pacs', '{empty}', '--seeds', '0'], '--seeds 0 must be at least 1'),
        (['--pacs', '{empty}', '--out', '{file}/out'], '--out .*file/out cannot be made'),
        (['--tables'], '--results .* is no folder'),
        (['--tables', '--results', '{empty}'], '--results .*/empty holds no results'),
    ],
)
def test_what_is_lacking_is_named(parts, words, told, tmp_path, monkeypatch):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'file').write_text('no pictures')
    words = [word.format(empty=tmp_path / 'empty', file=tmp_path / 'file') for word in words]
    places = ['--out', str(tmp_path / 'out')]  # the last --out counts
    monkeypatch.setattr(sys, 'argv', ['run.py', *places, *words])
    with pytest.raises(SystemExit, match=told):
        parts.run.main()


def test_every_pair_of_nets_has_the_same_seeds_and_recipe(parts):
    runs = parts.plans.runs(['cifar10', 'pacs'], 3)
    names = [run.name for run in runs]
    assert len(set(names)) == len(names)
    for part, wheres in (('cifar10', ('v1', 'v2')), ('pacs', parts.plans.DOMAINS)):
        for where in wheres:
            for net in ('bn', 'ibn_a', 'ibn_b'):
                own = [run for run in runs if (run.part, run.where, run.net) == (part, where, net)]
                assert [run.seed for run in own] == [0, 1, 2]
    placed = parts.plans.runs(['placement'], 3)
    once = [('v1', net, 0) for net in parts.plans.PLACED]
    assert {run[1:] for run in placed} == {*once, ('v1', 'ibn_a_stages123', 1), ('v1', 'ibn_a_stages123', 2)}
    assert len(placed) == len(parts.plans.PLACED) + 2
    plain = parts.plans.Run('cifar10', 'v1', 'bn', 0).words('float32')
    other = parts.plans.Run('cifar10', 'v1', 'ibn_a', 0).words('float32')
    assert [a for a, b in zip(plain, other) if a != b] == ['resnet']


def made_up(errors, part='cifar10', where='v1', net='bn', seed=0, top1=0.8):
    return dict(
        part=part,
        where=where,
        net=net,
        seed=seed,
        top1=top1,
        accuracy=[0.5, top1],
        shift=dict(
            error={name: {str(level): errors for level in range(1, 6)} for name in shift.NAMES},
            groups=dict.fromkeys(shift.GROUPS, errors),
        ),
    )


@pytest.mark.parametrize(
    'text', ['{}', 'null', '"x"', 'NaN', '{"part": "equal", "where": "v2", "net": "bn", "seed": 0}']
)
def test_a_damaged_file_of_results_is_named(parts, tmp_path, text):
    (tmp_path / 'equal_v2_bn_seed0.json').write_text(text)
    with pytest.raises(SystemExit, match='equal_v2_bn_seed0.json is damaged'):
        parts.run.tell(tmp_path)


def test_tables_that_cannot_be_written_are_named(parts, tmp_path, monkeypatch):
    (tmp_path / 'cifar10_v1_bn_seed0.json').write_text(json.dumps(made_up(0.3)))
    (tmp_path / 'table.md').mkdir()
    monkeypatch.setattr(sys, 'argv', ['run.py', '--tables', '--results', str(tmp_path)])
    with pytest.raises(SystemExit, match='table.md cannot be written: Is a directory'):
        parts.run.main()


def test_a_copy_of_a_result_does_not_count_twice(parts, tmp_path):
    for name in ('cifar10_v1_bn_seed0', 'cifar10_v1_bn_seed0 (1)'):
        (tmp_path / f'{name}.json').write_text(json.dumps(made_up(0.3)))
    with pytest.raises(SystemExit, match=r'seed0 \(1\).json holds the run cifar10_v1_bn_seed0: remove it'):
        parts.run.tell(tmp_path)


def test_differences_have_the_standard_error_of_two_means(parts, tmp_path):
    for seed, (bn, ibn) in enumerate([(0.30, 0.25), (0.32, 0.27), (0.34, 0.26)]):
        for net, value in (('bn', bn), ('ibn_a', ibn)):
            run = made_up(value, net=net, seed=seed)
            (tmp_path / f'cifar10_v1_{net}_seed{seed}.json').write_text(json.dumps(run))
    text = parts.run.tell(tmp_path)
    rows = [line.split(' | ') for line in text.splitlines() if line.startswith('| IBN-a minus BN')]
    assert rows[0][2] == '-6.00 ± 1.29'  # 2 and 1 points of deviation over three seeds each: sqrt(4/3 + 1/3)
    assert '32.00 ± 2.00' in text
    assert '| IBN-b' not in text.split('PACS')[0].split('by severity')[0]
    assert parts.tables.difference([0.1, 0.2, 0.3], [0.1, 0.3]) == '+0.00 ± 11.55'  # sqrt(100 / 3 + 200 / 2)


def test_a_placement_has_a_table_of_its_own_beside_bn_and_ibn_a(parts, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn = {}
    monkeypatch.setattr(Figure, 'savefig', lambda figure, path, **_: drawn.update({Path(path).name: figure}))
    for part, net, value in (
        ('cifar10', 'bn', 0.3),
        ('cifar10', 'ibn_a', 0.2),
        ('placement', 'ibn_a_quarter', 0.25),
    ):
        (tmp_path / f'{part}_v1_{net}_seed0.json').write_text(json.dumps(made_up(value, part, net=net)))
    text = parts.run.tell(tmp_path)
    before, after = text.split('where InstanceNorm is, and how much of it')
    assert 'a quarter' not in before
    rows = dict(line.strip('| ').split(' | ', 1) for line in after.splitlines() if line.startswith('| '))
    assert set(rows) == {'network', '---', 'BN', 'IBN-a', 'IBN-a, a quarter IN'} | {
        f'{name} minus BN' for name in ('IBN-a', 'IBN-a, a quarter IN')
    }
    assert rows['IBN-a, a quarter IN minus BN'].split(' | ')[1] == '-5.00'
    (axes,) = drawn['placements.png'].axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ['BN', 'IBN-a', 'IBN-a, a quarter IN']
    points = [tuple(line.get_xydata()[0].round(6)) for line in axes.lines]  # clean errors, corrupted ones
    assert points == [(20, 30), (20, 20), (20, 25)]


def test_a_domain_that_was_left_out_is_not_among_the_others(parts, tmp_path):
    for where in parts.plans.DOMAINS:
        others = iter((0.6, 0.8, 1.0))  # whose mean counts, not the best
        domains = {name: dict(top1=0.4 if name == where else next(others)) for name in parts.plans.DOMAINS}
        for net in ('bn', 'ibn_a'):
            run = dict(part='pacs', where=where, net=net, seed=0, domains=domains, accuracy=[0.5, 0.8])
            (tmp_path / f'pacs_{where}_{net}_seed0.json').write_text(json.dumps(run))
    summary, row, *_ = (line for line in parts.run.tell(tmp_path).splitlines() if line.startswith('| BN'))
    assert summary == '| BN | 20.00 | 60.00 | 1 |'  # errors on the three known domains and on the new one
    assert row == '| BN | 40.00 | 40.00 | 40.00 | 40.00 | 40.00 | 80.00 | 1 |'


def test_the_distance_is_the_symmetric_divergence_of_gaussians(parts):
    draw = np.random.default_rng(0)
    a, b = draw.normal(0.0, 1.0, (200_000, 1)), draw.normal(1.0, 2.0, (200_000, 1))
    one_way = np.log(2 / 1) + (1 + 1) / (2 * 4) - 0.5
    other_way = np.log(1 / 2) + (4 + 1) / 2 - 0.5
    assert parts.distance.divergence(a, b) == pytest.approx(one_way + other_way, rel=0.02)
    assert parts.distance.divergence(a, a) == 0
    assert parts.distance.divergence(np.ones_like(a), b) is None
    dead = np.concatenate([a, np.zeros_like(a)], axis=1), np.concatenate([b, np.zeros_like(b)], axis=1)
    assert parts.distance.divergence(*dead) == pytest.approx(parts.distance.divergence(a, b))


@pytest.mark.parametrize('name', ['cifar_resnet8', 'cifar_resnet8_v2', 'cifar_resnet8_ibn_b'])
def test_blocks_are_looked_at_behind_their_last_layer(parts, name, tmp_path):
    import mxnet as mx

    import ibnnet_mx
    from ibnnet_mx import data

    net = ibnnet_mx.get_model(name, classes=4)
    net.initialize()
    net.hybridize()
    net(mx.nd.zeros((1, 3, 32, 32)))
    net.export(str(tmp_path / 'net'))
    blocks = parts.distance.Blocks(tmp_path / 'net', 0)
    pictures = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    found = dict(zip(blocks.names, blocks([pictures[:4], pictures[4:]])))
    maps = ibnnet_mx.get_model(name, classes=4, features=('stage1', 'stage2', 'stage3'))
    maps.initialize()
    for key, param in maps.collect_params().items():
        param.set_data(net.collect_params()[key].data())
    source = data.Input(32, net.model.pixels.mean, net.model.pixels.std)
    for stage, result in enumerate(maps(data.normalise(pictures, source)), 1):
        expected = mx.nd.mean(result, axis=(2, 3)).asnumpy()
        assert np.allclose(found[f'stage{stage}_unit1'], expected, atol=1e-5)


def test_the_stored_results_keep_their_records(parts, shared, tmp_path):
    """The results name a fingerprint of the records that they were trained on; today's packer makes the same bytes."""
    sys.path.insert(0, str(HERE))
    try:
        import pictures
    finally:
        sys.path.remove(str(HERE))
    records = pictures.cifar10(str(shared / 'data' / 'cifar10_jpg.tar.gz'), tmp_path)
    stored = json.loads((HERE / 'results' / 'cifar10_v1_bn_seed0.json').read_text())
    assert pictures.fingerprint(records) == stored['pictures']
