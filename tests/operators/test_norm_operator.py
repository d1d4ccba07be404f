"""ibnnet_norm against the formulas in float64: every kind of group, with and without sum and ReLU, in every layout."""

import itertools

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd

from ibnnet_mx import _env, operators

EPS, MOMENTUM = 1e-5, 0.9
HALF = np.dtype([('bfloat16', np.uint16)])  # as mxnet 1.9.1 has it
pytestmark = pytest.mark.skipif(not operators.fused(), reason='ibnnet build operators has not built it')
KINDS = {  # begin, end, groups, parts of a batch of 4 and channels C
    'batch': lambda C: {},
    'parts': lambda C: dict(parts=2),
    'instance': lambda C: dict(begin=0, end=C, groups=C, statistics=0),
    'group': lambda C: dict(begin=0, end=C, groups=C // 4, statistics=0),
    'layer': lambda C: dict(begin=0, end=C, groups=1, statistics=0),
    'ibn': lambda C: dict(begin=0, end=C // 2, groups=C // 2),
    'ibn batch first': lambda C: dict(begin=C // 4, end=C, groups=C - C // 4),
}


def groups(kind, pictures, channels):
    """(pictures, channels) index arrays of the values that share a mean."""
    how = {'begin': 0, 'end': 0, 'groups': 1, 'parts': 1, **KINDS[kind](channels)}
    wide = (how['end'] - how['begin']) // how['groups']
    for n, g in itertools.product(range(pictures), range(how['groups'] if wide else 0)):
        yield np.ix_([n], range(how['begin'] + g * wide, how['begin'] + (g + 1) * wide))
    outside = [c for c in range(channels) if not how['begin'] <= c < how['end']]
    for c, part in itertools.product(outside, range(how['parts'])):
        yield np.ix_(range(part, pictures, how['parts']), [c])


def formulas(kind, arrays, relu, add=True):
    """y, running mean, running variance and the gradients of x, gamma, beta and skip, of what drawn() gives."""
    x, gamma, beta, mean, var, skip, head = (np.asarray(a, np.float64) for a in arrays)
    skip = skip * add
    normal, deviation = np.empty_like(x), np.empty_like(x)
    for at in groups(kind, *x.shape[:2]):
        deviation[at] = np.sqrt(x[at].var() + EPS)
        normal[at] = (x[at] - x[at].mean()) / deviation[at]
    column = (1, -1, 1, 1)
    y = normal * gamma.reshape(column) + beta.reshape(column) + skip
    head = head * (y > 0) if relu else head
    scaled, dx = head * gamma.reshape(column), np.empty_like(x)
    for at in groups(kind, *x.shape[:2]):
        dx[at] = scaled[at] - scaled[at].mean() - normal[at] * (scaled[at] * normal[at]).mean()
    parts = KINDS[kind](x.shape[1]).get('parts', 1)
    own = [np.mean([f(x[i::parts], axis=(0, 2, 3)) for i in range(parts)], axis=0) for f in (np.mean, np.var)]
    how = KINDS[kind](x.shape[1])
    outside = np.r_[0 : how.get('begin', 0), how.get('end', 0) : x.shape[1]]
    moved = [MOMENTUM * old + (1 - MOMENTUM) * new[outside] for old, new in zip((mean, var), own)]
    sums = [(head * normal).sum(axis=(0, 2, 3)), head.sum(axis=(0, 2, 3))]
    return [y * (y > 0) if relu else y, *moved, dx / deviation, *sums, head]


def drawn(kind, channels, size, seed=0):
    """x, gamma, beta, running mean, running variance, skip, upstream gradient."""
    draw = np.random.RandomState(seed)
    shape = (4, channels, *size)
    how = KINDS[kind](channels)
    outside = channels - how.get('end', 0) + how.get('begin', 0)
    vectors = [draw.uniform(0.5, 1.5, channels), draw.normal(size=channels)]
    running = [draw.normal(size=outside), draw.uniform(0.5, 1.5, outside)]
    pictures = [draw.normal(3, 2, shape), draw.normal(size=shape), draw.normal(size=shape)]
    return [a.astype(np.float32) for a in (pictures[0], *vectors, *running, *pictures[1:])]


def computed(kind, arrays, relu, add, blocked, dtype=np.float32):
    """As formulas(), by the operator. blocked: between convolutions, whose layouts it then meets."""
    x, gamma, beta, mean, var, skip, head = (mx.nd.array(a) for a in arrays)
    same = mx.nd.array(np.eye(x.shape[1]).reshape(x.shape[1], -1, 1, 1)).astype('float32')
    learned = [x, gamma, beta, *([skip] if add else [])]
    for array in learned:
        array.attach_grad()

    def lay(array):
        array = mx.nd.amp_cast(array, dtype=dtype)
        if not blocked:
            return array
        weight = mx.nd.amp_cast(same, dtype=dtype)
        return mx.nd.Convolution(array, weight, kernel=(1, 1), num_filter=array.shape[1], no_bias=True)

    how = {**KINDS[kind](x.shape[1]), 'eps': EPS, 'momentum': MOMENTUM, 'relu': int(relu), 'add': int(add)}
    running = [mean, var] if how.get('statistics', 1) else []
    with autograd.record():
        y = mx.nd.ibnnet_norm(lay(x), gamma, beta, *running, *([lay(skip)] if add else []), **how)
        out = mx.nd.amp_cast(lay(y), dtype=np.float32)
    out.backward(head)
    found = [out, mean, var, *(array.grad for array in learned)]
    return [array.asnumpy() for array in found]


def near(found, wanted, tolerance):
    for number, (ours, right) in enumerate(zip(found, wanted)):
        assert ours.shape == right.shape
        if right.size:
            assert np.abs(ours - right).max() <= tolerance * np.abs(right).max(), number


@pytest.mark.parametrize('blocked', [False, True])
@pytest.mark.parametrize(('relu', 'add'), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize('kind', KINDS)
def test_agrees_with_the_formulas(kind, relu, add, blocked):
    arrays = drawn(kind, 32, (9, 7))
    wanted = formulas(kind, arrays, relu, add)
    if not KINDS[kind](32).get('statistics', 1):
        wanted[1:3] = arrays[3:5]
    near(computed(kind, arrays, relu, add, blocked), wanted if add else wanted[:-1], 2e-5)


@pytest.mark.parametrize(('channels', 'size'), [(3, (5, 5)), (8, (1, 1)), (16, (40, 37)), (24, (4, 4)), (64, (1, 3))])
@pytest.mark.parametrize('kind', ['batch', 'instance'])
def test_takes_any_size(kind, channels, size):
    arrays = drawn(kind, channels, size)
    if kind == 'instance' and size == (1, 1):
        arrays[6][:] = 1  # one value in a group: the gradient is 0
    for blocked in (False, True):
        wanted = formulas(kind, arrays, True, False)
        found = computed(kind, arrays, True, False, blocked)
        for i in (0, 3, 4, 5):
            scale = max(np.abs(wanted[i]).max(), 1)
            assert np.abs(found[i] - wanted[i]).max() <= 5e-5 * scale, (i, blocked)


@pytest.mark.parametrize('blocked', [False, True])
@pytest.mark.parametrize('kind', ['batch', 'ibn', 'group'])
def test_bfloat16_rounds_pictures_only(kind, blocked):
    if blocked and _env.bfloat16() == 'no':
        pytest.skip('oneDNN computes no convolution in bfloat16 without AVX-512')
    arrays = drawn(kind, 32, (9, 7))
    for i in (0, 5, 6):  # what bfloat16 can hold
        arrays[i] = (arrays[i].view(np.uint32) & 0xFFFF0000).view(np.float32)
    wanted = formulas(kind, arrays, False)
    found = computed(kind, arrays, False, True, blocked, HALF)
    assert np.abs(found[0] - wanted[0]).max() <= 2**-7 * np.abs(wanted[0]).max()
    if kind == 'batch':
        near(found[1:3], wanted[1:3], 1e-5)
    near(found[3:], wanted[3:], 2**-6)


def test_a_large_mean_costs_little_exactness():
    arrays = drawn('batch', 32, (9, 7))
    arrays[0] += 1000
    wanted = formulas('batch', arrays, False, False)
    near(computed('batch', arrays, False, False, True)[:1], wanted[:1], 2e-4)


def test_the_gradient_can_be_added_to():
    arrays = [mx.nd.array(a) for a in drawn('batch', 32, (5, 5))]
    x, gamma, beta, mean, var, _, head = arrays
    for array in (x, gamma, beta):
        array.attach_grad(grad_req='add')
    found = []
    for _ in range(2):
        with autograd.record():
            y = mx.nd.ibnnet_norm(x, gamma, beta, mean, var)
        y.backward(head)
        found.append([array.grad.asnumpy().copy() for array in (x, gamma, beta)])
    for once, twice in zip(*found):
        np.testing.assert_allclose(twice, 2 * once, rtol=1e-6, atol=1e-6)


def test_what_it_cannot_do_is_said():
    x, c = mx.nd.ones((2, 8)), mx.nd.ones((8,))
    with pytest.raises(mx.base.MXNetError, match='ibnnet_norm is for'):
        mx.nd.ibnnet_norm(x, c, c, c, c).wait_to_read()


def excited(arrays, blocked, relu, add, fused):
    """y and the gradients of x, both weights and what is added."""
    x, first, second, skip, head = (mx.nd.array(a) for a in arrays)
    learned = [x, first, second, *([skip] if add else [])]
    for array in learned:
        array.attach_grad()
    same = mx.nd.array(np.eye(x.shape[1]).reshape(x.shape[1], -1, 1, 1))
    with autograd.record():
        z = mx.nd.Convolution(x, same, kernel=(1, 1), num_filter=x.shape[1], no_bias=True) if blocked else x * 1
        if fused:
            y = mx.nd.ibnnet_excite(z, first, second, *([skip] if add else []), relu=int(relu), add=int(add))
        else:
            hidden = mx.nd.relu(mx.nd.dot(z.mean(axis=(2, 3)), first, transpose_b=True))
            gate = mx.nd.sigmoid(mx.nd.dot(hidden, second, transpose_b=True))
            y = mx.nd.broadcast_mul(z, gate.reshape((0, 0, 1, 1)))
            y = y + skip if add else y
            y = mx.nd.relu(y) if relu else y
    y.backward(head)
    return [array.asnumpy() for array in (y, *(array.grad for array in learned))]


@pytest.mark.parametrize('blocked', [False, True])
@pytest.mark.parametrize(('relu', 'add'), [(False, False), (True, False), (False, True), (True, True)])
def test_squeeze_and_excitation_is_that_of_mxnets_operators(relu, add, blocked):
    draw = np.random.RandomState(0)
    shape = (4, 32, 9, 7)
    arrays = [draw.normal(size=size) for size in (shape, (8, 32), (32, 8), shape, shape)]
    near(*(excited(arrays, blocked, relu, add, fused) for fused in (True, False)), 1e-5)
