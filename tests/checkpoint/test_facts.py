"""The .json of a checkpoint: what is not of the kind that it should be is named, whatever the bytes."""

import json
import re
import warnings

import mxnet as mx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ibnnet_mx import checkpoint, get_model, sidecar
from ibnnet_mx.cli import predict
from ibnnet_mx.inference import predictor
from ibnnet_mx.metrics import classification
from tests.record_sets import png, scene

FACTS = {
    'model': 'cifar_resnet8_ibn_a',
    'norm': 'bn',
    'classes': 3,
    'class_names': ['a', 'b', 'c'],
    'size': 32,
    'pixels': {'order': 'RGB', 'mean': [1.0, 2, 3], 'std': [1.0, 2, 3]},
    'recipe': {},
    'metrics': {'validation': {'accuracy': 0.5}},
    'left_out': [[0, 3]],
    'shares': [{'samples': 8.0, 'accuracy': 3.0}, {'samples': 8.0, 'accuracy': 2.0}],
    'workers': 2,
    'files': {},
}
WRONG = [
    ('size', '32'),
    ('size', 10**6),
    ('size', True),
    ('pixels', {'mean': [1, 2, 3]}),
    ('pixels', {'mean': [1, 2, 3], 'std': [1, 0, 1]}),
    ('pixels', {'mean': [1, 2, float('nan')], 'std': [1, 1, 1]}),
    ('class_names', [1, 2, 3]),
    ('classes', 0),
    ('metrics', {'validation': 3}),
    ('left_out', [[0]]),
    ('files', {'net-0000.params': []}),
    ('steps', -1),
    ('shares', {}),
    ('shares', []),
    ('shares', [{'samples': float('nan')}]),
    ('shares', [{'accuracy': 3.0}]),
    ('shares', [{'samples': 3.0}, {'samples': '3'}]),
    ('workers', 0),
]


def test_what_is_right_is_read(tmp_path):
    (tmp_path / 'a.json').write_text(json.dumps(FACTS))
    assert sidecar.read(tmp_path / 'a.json') == FACTS


@pytest.mark.parametrize(('key', 'value'), WRONG)
def test_what_is_wrong_is_named(tmp_path, key, value):
    (tmp_path / 'a.json').write_text(json.dumps({**FACTS, key: value}))
    with pytest.raises(ValueError, match=f'a.json is damaged: its {key} cannot be'):
        sidecar.read(tmp_path / 'a.json')


@pytest.mark.parametrize(
    'text', ['[' * 100000, '{"a":' * 3000, json.dumps({**FACTS, 'x': [[]]}).replace('[]', '[' * 90)]
)
def test_deep_nesting_is_no_description(tmp_path, text):
    (tmp_path / 'a.json').write_text(text + ']' * 90 + '}' if text.startswith('{"model') else text)
    with pytest.raises(ValueError, match='is damaged: not the description'):
        sidecar.read(tmp_path / 'a.json')


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(sorted(sidecar.KINDS)), value=VALUE)
def test_any_value_is_read_or_refused(tmp_path, key, value):
    (tmp_path / 'a.json').write_text(json.dumps({**FACTS, key: value}))
    if sidecar.KINDS[key](json.loads(json.dumps(value))):
        assert key in sidecar.read(tmp_path / 'a.json')
    else:
        with pytest.raises(ValueError, match=f'its {key} cannot be'):
            sidecar.read(tmp_path / 'a.json')


@pytest.fixture
def saved(tmp_path):
    """A function that writes a network's checkpoint net-0000, as a save of a run does."""

    def save(net, epoch=0, **facts):
        net.initialize()
        net(mx.nd.zeros((1, 3, 32, 32)))
        checkpoint.Store(tmp_path / 'net').write(net, epoch, {**FACTS, **facts})

    (tmp_path / 'a.png').write_bytes(png(scene(0, 40, 40)))
    return save


def told(folder, capsys, epoch=0):
    words = ('--img', folder / 'a.png', '--prefix', folder / 'net', '--epoch', epoch)
    code = predict.main(list(map(str, words)))
    return code, capsys.readouterr().err


def test_a_symbol_that_computes_something_else_is_refused(saved, tmp_path, capsys):
    net = get_model('cifar_resnet8_ibn_a', 3)
    saved(net)
    assert told(tmp_path, capsys) == (0, '')
    other = mx.sym.SoftmaxOutput(-2 * net(mx.sym.var('data')), name='softmax')
    (tmp_path / 'net-symbol.json').write_text(other.tojson())
    code, text = told(tmp_path, capsys)
    assert code == 2
    assert re.search(r'net-symbol.json has \d+ bytes of \d+$', text.strip())


def test_an_epoch_stays_readable_where_a_later_one_has_another_momentum(saved, tmp_path, capsys):
    saved(get_model('cifar_resnet8_ibn_a', 3))
    saved(get_model('cifar_resnet8_ibn_a', 3, bn_mom=0.5), 1)
    assert [told(tmp_path, capsys, epoch) for epoch in (0, 1)] == [(0, '')] * 2


def test_an_epoch_of_another_norm_under_the_same_prefix_is_refused(saved, tmp_path, capsys):
    """The arrays of 'in' and 'gn' have the same names and shapes."""
    saved(get_model('cifar_resnet8_ibn_a', 3, norm='in'), norm='in')
    saved(get_model('cifar_resnet8_ibn_a', 3, norm='gn'), 1, norm='gn')
    assert told(tmp_path, capsys, 1)[0] == 0
    code, text = told(tmp_path, capsys, 0)
    assert (code, 'net-symbol.json has' in text) == (2, True)


def test_infinite_logits_make_no_noise():
    logits = np.array([[np.inf, 0, 1], [-np.inf, np.inf, 2]])
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        classification.scores(logits, np.array([0, 1]))
        classification.over_crops(logits, 2)
        predictor.probabilities(logits)
