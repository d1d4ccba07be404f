"""--image-size in every command: pack, train, go on, evaluate, predict and convert pictures that are not square."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from ibnnet_mx import data
from ibnnet_mx.checkpoint import Store
from ibnnet_mx.cli import convert, evaluate, picture_sizes, predict, run_options, train, train_options
from ibnnet_mx.files import params_file
from ibnnet_mx.recordio.format import RecordFile
from ibnnet_mx.recordio.pixels.pictures import decode
from ibnnet_mx.size import Size
from tests.picture_sets import class_folders, contents, run, tree
from tests.record_sets import jpeg, photograph, png, scene, write

TINY = ['--depth', '8', '--batch-size', '6', '--epochs', '2', '--lr-steps', '1', '--threads', '1', '--frequent', '1']


def trained(folder, source, *options, code=0):
    words = ['--data-dir', source, '--model-prefix', folder / 'net', '--log-file', folder / 'net.log', *TINY, *options]
    assert train.main([str(word) for word in words]) == code


def shapes(path):
    with RecordFile(path) as records:
        payloads = [records.read(i).payload for i in range(len(records))]
    return {decode(payload).shape[:2] for payload in payloads}, {payload[:2] for payload in payloads}


@pytest.fixture(scope='module')
def people(tmp_path_factory):
    """A folder of upright pictures, and its records of 40x24 pixels."""
    folder = tmp_path_factory.mktemp('people')
    tree(folder / 'in', class_folders(('train/', 'val/'), size=(90, 50)))
    assert run(folder / 'in', folder / 'data', '--image-size', '40x24') == 0
    return folder


@pytest.fixture(scope='module')
def model(people, tmp_path_factory):
    """The prefix of a run on the records of 40x24 pixels, and its folder."""
    folder = tmp_path_factory.mktemp('model')
    trained(folder, people / 'data', '--image-size', '40x24', '--aug-level', 'cifar')
    return folder / 'net'


def test_records_have_the_size_and_say_it(people):
    assert {path.name for path in (people / 'data').glob('*.rec')} == {'train_40x24.rec', 'val_40x24.rec'}
    assert shapes(people / 'data' / 'train_40x24.rec') == ({(40, 24)}, {b'\x89P'})
    packed = json.loads((people / 'data' / 'packed.json').read_text())
    assert {name: entry['size'] for name, entry in packed.items()} == {'train_40x24': '40x24', 'val_40x24': '40x24'}


def test_small_records_for_a_large_network_are_told_with_the_way_out(tmp_path, capsys):
    source = tree(tmp_path / 'in', class_folders(size=(32, 32)))
    assert run(source, tmp_path / 'data') == 0
    words = ['--data-dir', str(tmp_path / 'data'), '--depth', '18', '--dry-run', '--batch-size', '2']
    assert train.main(words) == 0
    said = capsys.readouterr().err
    assert 'they are enlarged to 224x224, which the network sees; --image-size 32 takes them as they are' in said


def test_a_run_keeps_its_size_and_goes_on_to_the_same_bits(people, model, tmp_path, capsys):
    facts = Store(model).facts(2)
    assert (facts.size, facts.model) == ([40, 24], 'cifar_resnet8_v2')
    trained(tmp_path, people / 'data', '--image-size', '40x24', '--aug-level', 'cifar', '--epochs', '1')
    trained(tmp_path, people / 'data', '--retrain', '--epochs', '2')
    whole, resumed = (params_file.read_params(Store(prefix).path(2, 'params')) for prefix in (model, tmp_path / 'net'))
    assert whole.keys() == resumed.keys()
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)
    capsys.readouterr()
    trained(tmp_path, people / 'data', '--retrain', '--image-size', '24x40', code=2)
    assert '--image-size 24x40: the checkpoint was trained with 40x24; leave it out' in capsys.readouterr().err


def test_evaluate_and_predict_take_the_size_of_the_checkpoint(people, model, tmp_path, capsys):
    where = ['--prefix', str(model), '--epoch', '2', '--json']
    reports = []
    for source in (people / 'data', people / 'in' / 'val'):
        assert evaluate.main([str(source), *where]) == 0
        reports.append(json.loads(capsys.readouterr().out))
        assert reports[-1]['crop_size'] == [40, 24]
    assert reports[0]['cross_entropy'] == pytest.approx(reports[1]['cross_entropy'], rel=1e-5)  # the same pixels
    facts = Store(model).facts(2)
    assert reports[0]['cross_entropy'] == pytest.approx(facts.metrics['validation']['cross-entropy'], rel=1e-5)
    sheet, heat = tmp_path / 'sheet.png', tmp_path / 'heat.png'
    assert (
        evaluate.main([str(people / 'data'), *where, '--crops', '10', '--shift', 'fog:1', '--sheet', str(sheet)]) == 2
    )
    assert evaluate.main([str(people / 'data'), *where, '--crops', '10', '--sheet', str(sheet)]) == 0
    assert evaluate.main([str(people / 'data'), *where, '--shift', 'fog:1,elastic_transform:2']) == 0
    picture = next((people / 'in' / 'val' / 'cat').iterdir())
    capsys.readouterr()
    assert predict.main(['--img', str(picture), *where, '--explain', str(heat)]) == 0
    assert len(json.loads(capsys.readouterr().out)['top']) == 3
    assert min(cv2.imread(str(sheet)).shape[:2]) > 100
    assert heat.is_file()


def test_an_onnx_file_keeps_the_size(people, model, tmp_path, capsys):
    pytest.importorskip('onnxruntime')
    path = tmp_path / 'net.onnx'
    assert convert.main([f'{model}-0002.params', str(path), '--check']) == 0
    answers = []
    picture = str(next((people / 'in' / 'val' / 'cat').iterdir()))
    for where in (['--onnx', str(path)], ['--prefix', str(model), '--epoch', '2']):
        capsys.readouterr()
        assert predict.main(['--img', picture, '--json', *where]) == 0
        answers.append(json.loads(capsys.readouterr().out)['top'])
    for one, other in zip(*answers):
        assert one['label'] == other['label']
        assert one['probability'] == pytest.approx(other['probability'], abs=1e-5)
    assert predict.main(['--img', picture, '--onnx', str(path), '--image-size', '24']) == 2
    assert 'takes only pictures of 40x24' in capsys.readouterr().err


def test_the_map_of_an_explanation_has_the_shape_of_the_maps(model):
    import mxnet as mx

    from ibnnet_mx.inference.opening import open_checkpoint
    from ibnnet_mx.inference.predictor import Predictor

    predictor = Predictor(open_checkpoint(str(model), 2))
    predictor.explain()
    crops = np.stack([predictor.load(scene(0, 90, 50))])
    (result,) = predictor.look(['a'], crops, 1, explained=1)
    assert (result.crop.shape, result.heat.shape) == ((40, 24, 3), (10, 6))
    assert predictor.network.predict(mx.nd.zeros((1, 3, 40, 24))).shape == (1, 3)


def test_weights_of_one_size_start_a_run_of_another(people, model, tmp_path):
    trained(tmp_path, people / 'data', '--image-size', '48', '--init', f'{model}-0002.params', '--epochs', '1')
    assert Store(tmp_path / 'net').facts(1).size == 48


def test_small_pictures_are_not_enlarged(tmp_path, capsys):
    source = tree(tmp_path / 'in', class_folders(size=(96, 120)))
    assert run(source, tmp_path / 'usual') == 0
    said = capsys.readouterr().err
    assert 'about 96x120 pixels, and the records enlarge them to a short side of 480: --image-size 96 keeps' in said
    assert run(source, tmp_path / 'out', '--image-size', 96) == 0
    assert 'enlarge' not in capsys.readouterr().err
    assert shapes(tmp_path / 'out' / 'train_96.rec') == ({(96, 120)}, {b'\xff\xd8'})
    assert run(source, tmp_path / 'less', '--image-size', 80) == 0
    assert shapes(tmp_path / 'less' / 'val_80.rec')[0] == {(80, 100)}
    assert run(source, tmp_path / 'more', '--image-size', '100x70') == 0
    assert shapes(tmp_path / 'more' / 'val_100x70.rec')[0] == {(100, 70)}
    assert run(source, tmp_path / 'small', '--image-size', 48) == 0
    assert shapes(tmp_path / 'small' / 'val_48.rec') == ({(48, 48)}, {b'\x89P'})


def test_the_same_pictures_are_packed_once(people, capsys):
    before = contents(people / 'data')
    assert run(people / 'in', people / 'data', '--image-size', '40x24') == 0
    assert capsys.readouterr().out.count('(finished before)') == 2
    assert contents(people / 'data') == before


@pytest.mark.parametrize('option', [('--resize', 300), ('--data-type', 'cifar10')])
def test_what_contradicts_the_size_of_records_is_refused(tmp_path, option, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path, tmp_path / 'out', '--image-size', 96, *option)
    assert f'{option[0]} {option[1]} contradicts --image-size 96: leave one of them out' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('names', 'size', 'wanted'),
    [
        (['train_96.rec', 'train_480_q90.rec'], 96, 'train_96.rec'),
        (['train_96.rec', 'train_480_q90.rec'], 224, 'train_480_q90.rec'),
        (['train_96.rec', 'train_480_q90.rec'], None, 'train_480_q90.rec'),
        (['train_96.rec', 'train_128.rec', 'train_256x128.rec'], 100, 'train_128.rec'),
        (['train_96.rec', 'train_128.rec', 'train_256x128.rec'], (256, 128), 'train_256x128.rec'),
        (['train_96.rec', 'train_128.rec'], 224, 'train_128.rec'),
        (['train_0.rec', 'train_99999.rec', 'train.rec'], 96, 'train.rec'),
        (['train_0.rec', 'train_99999.rec'], 96, None),
    ],
)
def test_the_records_that_fit_are_found(tmp_path, names, size, wanted):
    for name in names:
        (tmp_path / name).write_bytes(b'')
    path = data.find_records(tmp_path, 'imagenet', 'train', size)
    assert (path and path.name) == wanted


def test_records_for_crops_are_those_of_the_usual_size(tmp_path):
    for name in ('train_480_q90.rec', 'train_256_q90.rec', 'train_96.rec'):
        (tmp_path / name).write_bytes(b'')
    paths = {size: data.find_records(tmp_path, 'imagenet', 'crop', size) for size in (96, 224, 300)}
    assert {size: path and path.name for size, path in paths.items()} == {96: None, 224: 'train_256_q90.rec', 300: None}


@pytest.mark.parametrize(
    ('words', 'name', 'line'),
    [
        ('', 'resnet50_v2', None),
        ('--image-size 32 --depth 20', 'cifar_resnet20_v2', 'cifar_resnet20_v2 is taken'),
        ('--image-size 64 --model resnet18', 'resnet18', 'the stem of resnet18 shrinks pictures to a quarter at once'),
        ('--image-size 96', 'resnet50_v2', None),
        ('--image-size 256x128 --model cifar_resnet20', 'cifar_resnet20', 'is made for up to 64 pixels'),
        ('--image-size 48 --data-type cifar10 --depth 20', 'cifar_resnet20_v2', None),
        ('--image-size 96 --data-type cifar10 --depth 18', 'resnet18_v2', 'resnet18_v2 is taken'),
    ],
)
def test_the_network_fits_the_size(words, name, line):
    args = train_options.make_parser().parse_args(words.split())
    wanted, model = run_options.resolve(args)
    assert model.name == name
    assert Size.of(model.size) == Size.of(args.image_size or 224)
    lines = picture_sizes.remarks(args, wanted, model)
    assert [line in said for said in lines] == ([True] if line else [])


def test_pictures_that_a_network_pools_away_are_refused(tmp_path, capsys):
    words = ['--model', 'densenet121', '--dry-run', '--num-classes', '3', '--image-size']
    assert train.main([*words, '16x200']) == 2
    assert (
        '--image-size 16x200: densenet121 needs pictures of at least 29 pixels on each side' in capsys.readouterr().err
    )
    assert train.main([*words, '32x200']) == 0
    assert 'input 3x32x200' in capsys.readouterr().out
    for wrong in ('10000000', '0', '96x'):
        with pytest.raises(SystemExit):
            train.main([*words, wrong])
        assert f"'{wrong}' must be a side, or height x width, of 1 to 16000 pixels" in capsys.readouterr().err


def far_set(folder, side):
    """Records of photographs with a short side of `side` pixels, and the same pictures as files."""
    pictures = [photograph(i, side, side + 40) for i in range(6)]
    for i, picture in enumerate(pictures):
        (folder / 'files' / 'abc'[i % 3]).mkdir(parents=True, exist_ok=True)
        (folder / 'files' / 'abc'[i % 3] / f'{i}.png').write_bytes(png(picture))
    order = sorted(range(6), key=lambda i: i % 3)
    return write(folder / 'a.rec', [jpeg(pictures[i], quality=100) for i in order], [i % 3 for i in order])


@pytest.mark.parametrize(('side', 'said'), [(256, True), (90, True), (60, False)])
def test_records_that_are_far_larger_are_brought_to_size_as_files_are(model, tmp_path, capsys, side, said):
    rec, where = far_set(tmp_path, side), ['--prefix', str(model), '--epoch', '2', '--json']
    reports, lines = [], []
    for source in (rec, tmp_path / 'files'):
        assert evaluate.main([str(source), *where]) == 0
        out, err = capsys.readouterr()
        reports.append(json.loads(out))
        lines.append(err)
    message = f'its pictures have about {side}x{side + 40} pixels: they are brought whole to 40x24'
    assert (message in lines[0]) == said
    if said:
        assert reports[0]['cross_entropy'] == pytest.approx(reports[1]['cross_entropy'], rel=0.02)
