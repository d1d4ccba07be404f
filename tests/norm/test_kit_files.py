"""Files of networks of every norm: checkpoints, ONNX, .pth."""

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import convert, norm
from ibnnet_mx.checkpoint import Facts, Store
from ibnnet_mx.cli import convert as cli
from ibnnet_mx.inference import engines, opening
from ibnnet_mx.recipe import saved
from tests.norm.kits import KITS, ROWS, STATEFUL, build, near, pictures, plan_of, train
from tests.tiny_runs import make


@pytest.mark.parametrize('kit', KITS)
def test_checkpoints_hold_the_prediction_and_load_everywhere(tmp_path, kit):
    run = make('cifar_resnet8_ibn_a', plan_of(kit))
    for data, label in pictures(ROWS, ROWS):
        run.step(data, label, 0.01)
    store = Store(tmp_path / 'net')
    store.save(run, 1, Facts('cifar_resnet8_ibn_a', {}, saved.to_dict(plan_of(kit))))
    data = pictures(3)[0][0]
    wanted = run.net(data).asnumpy()
    symbol, args, aux = mx.model.load_checkpoint(str(tmp_path / 'net'), 1)
    assert not [n for n in {**args, **aux} if n.endswith(norm.PROGRESS)]
    block = mx.gluon.SymbolBlock.imports(
        f'{tmp_path}/net-symbol.json', ['data', 'softmax_label'], f'{tmp_path}/net-0001.params'
    )
    near(block(data, mx.nd.zeros(3)).asnumpy(), mx.nd.softmax(mx.nd.array(wanted)).asnumpy(), 1e-4)
    module = mx.mod.Module(symbol)
    module.bind([('data', (3, 3, 32, 32))], [('softmax_label', (3,))], for_training=False)
    module.set_params(args, aux)
    net = convert.load_symbol(tmp_path / 'net', 1)
    near(net(data).asnumpy(), wanted, 1e-4)
    near(opening.open_checkpoint(str(tmp_path / 'net'), 1).predict(data), wanted, 1e-4)  # by the facts alone
    if ',' not in kit:
        assert net.model.name == 'cifar_resnet8_ibn_a'
        assert net.options['norm'] == ('bn' if kit == 'brn' else kit)  # whose predictions are the same


@pytest.mark.parametrize('kit', KITS)
def test_onnx(tmp_path, kit):
    pytest.importorskip('onnxruntime')
    net = build(kit, 'cifar_resnet8_ibn_a')
    for data, label in pictures(ROWS, ROWS):
        train(net, data, label)
    convert.to_onnx(net, tmp_path / 'net.onnx')
    data = pictures(3)[0][0]
    near(engines.OnnxEngine(tmp_path / 'net.onnx')(data.asnumpy()), net(data).asnumpy(), 1e-5)


@pytest.mark.parametrize('kit', ['brn', 'mabn', 'mabn, 2'])
def test_pth_and_back(tmp_path, kit):
    """All of it, the counters and moments too."""
    net = build(kit)
    for data, label in pictures(ROWS, ROWS):
        train(net, data, label)
    convert.to_torch(net, f'{tmp_path}/net.pth')
    other = build(kit, seed=9)
    assert convert.load_torch(other, f'{tmp_path}/net.pth') == []
    for name, param in net.collect_params().items():
        assert np.array_equal(other.collect_params()[name].data().asnumpy(), param.data().asnumpy())
    kept = {k: a for k, a in convert.read_weights(f'{tmp_path}/net.pth').items() if not k.endswith(norm.PROGRESS)}
    (note,) = convert.load_torch(build(kit, seed=9), kept)
    assert note.endswith('counters and moments that only training needs start anew')
    del kept['layer1.0.bn2.running_var']
    with pytest.raises(ValueError, match='stage1_unit1_bn2_running_var is missing'):
        convert.load_torch(build(kit, seed=9), kept)


@pytest.mark.parametrize('kit', STATEFUL)
def test_save_parameters_holds_the_state(tmp_path, kit):
    """As Gluon's own users save a block."""
    net, other = build(kit), build(kit, seed=8)
    for data, label in pictures(ROWS, ROWS):
        train(net, data, label)
    net.save_parameters(f'{tmp_path}/net.params')
    other.load_parameters(f'{tmp_path}/net.params')
    data, label = pictures(ROWS)[0]
    assert np.array_equal(train(net, data, label)[0], train(other, data, label)[0])
    for name, param in net.collect_params().items():
        assert np.array_equal(other.collect_params()[name].data().asnumpy(), param.data().asnumpy()), name


@pytest.mark.parametrize(
    ('kit', 'told'), [('gn', '--norm gn'), ('ln', '--norm ln'), ('mabn', ''), ('mabn, 2', ''), ('brn', '')]
)
def test_the_command_converts_both_ways(tmp_path, capsys, kit, told):
    """A .pth does not tell in, ln and gn from each other, so that one of gn or ln is named where it is read."""
    net = build(kit)
    train(net, *pictures(ROWS)[0])
    Store(tmp_path / 'net').write(net, Facts('cifar_resnet8_ibn_a', {}, {}))
    source, middle, back = (f'{tmp_path}/{name}' for name in ('net-0000.params', 'net.pth', 'back-0000.params'))
    assert cli.main([source, middle, '--check']) == 0
    assert (f'does not say its norm; add {told} wherever you read it' in capsys.readouterr().err) == bool(told)
    assert cli.main([middle, back, '--check', *told.split()]) == 0
    data = pictures(3)[0][0]
    near(convert.load_symbol(tmp_path / 'back')(data).asnumpy(), net(data).asnumpy(), 1e-4)
