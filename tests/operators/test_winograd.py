"""ibnnet_winograd against convolutions in float64, and graphs that have it against those that have not."""

import json
import os
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd
from mxnet.base import MXNetError

from ibnnet_mx import get_model, graph, operators
from tests.conftest import thorough
from tests.norm.test_kits import train

pytestmark = pytest.mark.skipif(
    not operators.winograd(), reason='ibnnet build operators has not built it, or it is not fast here'
)
SHAPES = [  # pictures, channels of input and output, height, width
    (2, 32, 64, 8, 8),
    (3, 64, 32, 7, 9),  # tiles over the edge on both sides
    (1, 32, 32, 1, 1),
    (5, 32, 96, 2, 5),
    (2, 96, 32, 14, 14),
    (2, 512, 288, 7, 7),  # weights in several slices, the last smaller
    (9, 32, 32, 33, 31),  # more tiles than fit into the scratch memory
]


def drawn(pictures, channels, filters, height, width):
    """x, weight, upstream gradient."""
    draw = np.random.RandomState(channels)
    shapes = (pictures, channels, height, width), (filters, channels, 3, 3), (pictures, filters, height, width)
    x, weight, head = (draw.normal(size=shape) for shape in shapes)
    return [a.astype(np.float32) for a in (np.maximum(x, 0), weight / (3 * channels**0.5), head)]


def formulas(x, weight, head):
    """y and the gradients of x and weight."""
    height, width = x.shape[2:]
    x, head = (np.pad(a.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1))) for a in (x, head))
    y, dx, dw = 0.0, 0.0, np.zeros(weight.shape)
    for i, j in np.ndindex(3, 3):
        here = np.s_[:, :, i : i + height, j : j + width]
        back = np.s_[:, :, 2 - i : 2 - i + height, 2 - j : 2 - j + width]
        y = y + np.einsum('nchw,oc->nohw', x[here], weight[:, :, i, j], optimize=True)
        dx = dx + np.einsum('nohw,oc->nchw', head[back], weight[:, :, i, j], optimize=True)
        dw[:, :, i, j] = np.einsum('nchw,nohw->oc', x[here], head[:, :, 1:-1, 1:-1], optimize=True)
    return y, dx, dw


def computed(x, weight, head, request='write'):
    x, weight = mx.nd.array(x), mx.nd.array(weight)
    x.attach_grad(request)
    weight.attach_grad(request)
    for _ in range(2):
        with autograd.record():
            y = mx.nd.ibnnet_winograd(x, weight)
        y.backward(mx.nd.array(head))
    return [a.asnumpy() for a in (y, x.grad, weight.grad)]


def near(found, wanted, tolerance=3e-6):
    """Relative to the largest."""
    for one, other in zip(found, wanted):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * np.abs(other).max())


@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_result_and_gradients(shape):
    arrays = drawn(*shape)
    near(computed(*arrays), formulas(*arrays))


def test_gradients_are_added_where_that_is_asked_for():
    """grad_req='add' of a recorded call goes through the graph's sum, which must not lose the first."""
    x, weight, head = (mx.nd.array(a) for a in drawn(*SHAPES[1]))
    y = mx.sym.ibnnet_winograd(mx.sym.var('x'), mx.sym.var('weight'))
    grads = {'x': mx.nd.ones(x.shape), 'weight': mx.nd.ones(weight.shape)}
    bound = y.bind(mx.cpu(), {'x': x, 'weight': weight}, args_grad=grads, grad_req='add')
    for _ in range(2):
        bound.forward(is_train=True)
        bound.backward([head])
    _, dx, dw = formulas(*(a.asnumpy() for a in (x, weight, head)))
    near([grads['x'].asnumpy(), grads['weight'].asnumpy()], [1 + 2 * dx, 1 + 2 * dw])


def test_a_gradient_that_nobody_wants_is_left_alone():
    x, weight, head = drawn(*SHAPES[0])
    weight = mx.nd.array(weight)
    weight.attach_grad()
    with autograd.record():
        y = mx.nd.ibnnet_winograd(mx.nd.array(x), weight)
    y.backward(mx.nd.array(head))
    near([weight.grad.asnumpy()], [formulas(x, weight.asnumpy(), head)[2]])


def test_between_convolutions_it_meets_their_layouts():
    x, weight, head = (mx.nd.array(a) for a in drawn(2, 64, 64, 9, 7))
    same = mx.nd.array(np.eye(64).reshape(64, 64, 1, 1))

    def identity(x):
        return mx.nd.Convolution(x, same, kernel=(1, 1), num_filter=64, no_bias=True)

    x.attach_grad()
    weight.attach_grad()
    with autograd.record():
        y = identity(mx.nd.ibnnet_winograd(identity(x), weight))
    y.backward(head)
    near([a.asnumpy() for a in (y, x.grad, weight.grad)], formulas(x.asnumpy(), weight.asnumpy(), head.asnumpy()))


@pytest.mark.parametrize(
    ('shapes', 'told'),
    [
        ([(1, 32, 4, 4), (32, 32, 1, 1)], r'is for \(N, C, H, W\) and \(O, C, 3, 3\), not \[1,32,4,4\] and'),
        ([(1, 32, 4, 4), (32, 64, 3, 3)], r'is for \(N, C, H, W\) and \(O, C, 3, 3\), not \[1,32,4,4\] and'),
        ([(1, 16, 4, 4), (32, 16, 3, 3)], r'is for multiples of 32 channels, not for weights \[32,16,3,3\]'),
    ],
)
def test_what_it_cannot_do_it_names(shapes, told):
    with pytest.raises(MXNetError, match=told):
        mx.nd.ibnnet_winograd(*(mx.nd.zeros(shape) for shape in shapes)).wait_to_read()


def test_it_is_for_float32():
    with pytest.raises(MXNetError, match='ibnnet_winograd is for float32'):
        mx.nd.ibnnet_winograd(*(mx.nd.zeros((32, 32, 3, 3), dtype='float64') for _ in range(2))).wait_to_read()


SCRIPT = """
import sys
from ibnnet_mx import operators
from tests.operators import test_winograd as tests
import numpy as np
operators.loaded()
arrays = tests.drawn(*tests.SHAPES[int(sys.argv[1])])
found = tests.computed(*arrays)
tests.near(found, tests.formulas(*arrays))
print(*(a.tobytes().hex() for a in found))
"""


def elsewhere(shape, **variables):
    """The bytes of the results, in a process with other environment variables."""
    words = [sys.executable, '-c', SCRIPT, str(shape)]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **variables}, check=True)
    return done.stdout


@pytest.mark.parametrize('shape', [5, *thorough(4, 6)])
def test_no_result_depends_on_the_number_of_threads(shape):
    assert elsewhere(shape, OMP_NUM_THREADS='1') == elsewhere(shape, OMP_NUM_THREADS='3')


@pytest.mark.parametrize('shape', [1, 5])
def test_the_narrower_instruction_set(shape):
    """oneDNN's own limit holds for it too; the results are within the same distance of the formulas."""
    assert elsewhere(shape, DNNL_MAX_CPU_ISA='AVX2')


def counted(symbol):
    return sum(node['op'] == 'ibnnet_winograd' for node in json.loads(symbol.tojson())['nodes'])


@pytest.mark.parametrize(
    ('model', 'options', 'tiled'),
    [
        ('resnet50_ibn_a', {}, 13),  # of 16, three have a stride
        ('resnet18', {}, 13),
        ('densenet121_ibn_a', {}, 58),
        ('resnext50_32x4d_ibn_a', {}, 0),  # grouped
        ('cifar_resnet20', {}, 10),  # of 18: six with 16 channels, two with a stride
        ('cifar_resnet20', {'norm': 'mabn'}, 10),
        ('cifar_resnet20', {'dtype': 'bfloat16'}, 0),
    ],
)
def test_which_convolutions_become_it(model, options, tiled, monkeypatch):
    net = get_model(model, **options)
    assert counted(net.trace(2, mx.cpu())[0]) == tiled
    assert counted(net.trace()[0]) == counted(net.symbol()) == 0  # of a prediction: whatever the batch, it is oneDNN's
    monkeypatch.setenv('IBNNET_MX_WINOGRAD', '0')
    assert counted(net.trace(2, mx.cpu())[0]) == 0


@pytest.mark.parametrize(
    'changed',
    [dict(kernel=(1, 1), pad=(0, 0)), dict(pad=(0, 0)), dict(dilate=(2, 2), pad=(2, 2)), dict(num_group=2)]
    + [dict(stride=(2, 2)), dict(no_bias=False), dict(num_filter=48)],
)
def test_other_convolutions_stay(changed):
    how = {'kernel': (3, 3), 'pad': (1, 1), 'num_filter': 64, 'no_bias': True}

    def made(**how):
        side, inputs = how['kernel'][0], 64 // how.get('num_group', 1)
        weight = mx.sym.var('weight', shape=(how['num_filter'], inputs, side, side))
        return graph.tiled(mx.sym.Convolution(mx.sym.var('data'), weight, **how))

    assert counted(made(**how)) == 1
    assert counted(made(**{**how, **changed})) == 0


@pytest.mark.parametrize('model', ['cifar_resnet20_ibn_a', 'cifar_resnet20_v2', 'densenet121_ibn_a'])
def test_it_changes_no_step(model, monkeypatch):
    """A step of a whole network, with and without: the logits differ as by the order of sums, gradients too."""
    draw, side = np.random.RandomState(0), 32 if model.startswith('cifar') else 64
    data, label = mx.nd.array(draw.normal(size=(8, 3, side, side))), mx.nd.arange(8) % 5
    both = []
    for wanted in ('1', '0'):
        monkeypatch.setenv('IBNNET_MX_WINOGRAD', wanted)
        mx.random.seed(1)
        net = get_model(model, classes=5)
        net.initialize()
        net.hybridize(static_alloc=True, static_shape=True)
        both.append(train(net, data, label))
    (logits, grads), (other, others) = both
    assert not np.array_equal(logits, other)  # it has been used
    near([logits], [other], 2e-5)
    for name, grad in grads.items():  # as vectors: a ReLU whose input is nearly 0 decides some values alone
        assert np.linalg.norm(grad - others[name]) <= 5e-2 * np.linalg.norm(others[name]) + 1e-6, name
