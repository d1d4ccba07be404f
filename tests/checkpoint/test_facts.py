"""The .json of a checkpoint: what is not of the kind that it should be is named, whatever the bytes."""

import json
import warnings
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibnnet_mx import Predictor, checkpoint, get_model
from ibnnet_mx.checkpoint.facts import KINDS, OPTIONAL, Facts, parse_facts
from ibnnet_mx.cli import predict
from ibnnet_mx.inference import opening, predictor
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
    'computed': {'threads': '2'},
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
    ('computed', {'threads': 2}),
]


def parsed(values):
    return parse_facts(json.dumps(values).encode(), Path('a.json'))


def test_what_is_right_is_read():
    assert parsed(FACTS) == Facts(**FACTS)


def test_what_is_written_is_read_again():
    facts = Facts(**FACTS).at(checkpoint.Inside(3, 150), steps=200)
    again = parse_facts(facts.to_json(), Path('a.json'))
    assert again == facts
    assert again.place == checkpoint.Inside(3, 150)
    assert facts.at(4).place == 4


def test_facts_of_a_later_version_are_ignored():
    assert parsed({**FACTS, 'colour': 'blue'}) == parsed(FACTS)


@pytest.mark.parametrize(('key', 'value'), WRONG)
def test_what_is_wrong_is_named(key, value):
    with pytest.raises(ValueError, match=f'a.json is damaged: its {key} cannot be'):
        parsed({**FACTS, key: value})


@pytest.mark.parametrize(
    'text', ['[' * 100000, '{"a":' * 3000, json.dumps({**FACTS, 'x': [[]]}).replace('[]', '[' * 90)]
)
def test_deep_nesting_is_no_description(text):
    text = text + ']' * 90 + '}' if text.startswith('{"model') else text
    with pytest.raises(ValueError, match='is damaged: not the description'):
        parse_facts(text.encode(), Path('a.json'))


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(key=st.sampled_from(sorted(KINDS)), value=VALUE)
def test_any_value_is_read_or_refused(key, value):
    value = json.loads(json.dumps(value))
    if value is None and key in OPTIONAL or KINDS[key](value):
        assert hasattr(parsed({**FACTS, key: value}), key)
    else:
        with pytest.raises(ValueError, match=f'its {key} cannot be'):
            parsed({**FACTS, key: value})


@pytest.fixture
def saved(tmp_path):
    """A function that writes a network's checkpoint net-0000, as a save of a run does."""

    def save(net, epoch=0, **facts):
        net.initialize()
        net(mx.nd.zeros((1, 3, 32, 32)))
        written = {'network': net.norm_options, **facts}
        checkpoint.Store(tmp_path / 'net').write(net, Facts(**{**FACTS, **written}).at(epoch))

    (tmp_path / 'a.png').write_bytes(png(scene(0, 40, 40)))
    return save


def told(folder, capsys, epoch=0):
    words = ('--img', folder / 'a.png', '--prefix', folder / 'net', '--epoch', epoch)
    code = predict.main(list(map(str, words)))
    return code, capsys.readouterr().err


def test_the_facts_name_the_network_whatever_the_symbol_beside_it_computes(saved, tmp_path, capsys):
    """A later save under the prefix, or damage, may have changed the symbol; the network is built from the facts."""
    net = get_model('cifar_resnet8_ibn_a', 3)
    saved(net)
    assert told(tmp_path, capsys) == (0, '')
    expected = Predictor.open(str(tmp_path / 'net'))([str(tmp_path / 'a.png')])[0].top
    other = mx.sym.SoftmaxOutput(-2 * net(mx.sym.var('data')), name='softmax')
    (tmp_path / 'net-symbol.json').write_text(other.tojson())
    assert Predictor.open(str(tmp_path / 'net'))([str(tmp_path / 'a.png')])[0].top == expected


def test_facts_that_name_another_network_than_the_arrays_are_refused(saved, tmp_path, capsys):
    saved(get_model('cifar_resnet8', 3))
    code, text = told(tmp_path, capsys)
    assert code == 2
    assert f'{tmp_path / "net"}-0000.params does not fit the network: ' in text


def test_an_epoch_stays_readable_where_a_later_one_has_another_momentum(saved, tmp_path, capsys):
    saved(get_model('cifar_resnet8_ibn_a', 3))
    saved(get_model('cifar_resnet8_ibn_a', 3, bn_mom=0.5), 1)
    assert [told(tmp_path, capsys, epoch) for epoch in (0, 1)] == [(0, '')] * 2


def test_an_epoch_of_another_norm_under_the_same_prefix_keeps_its_own(saved, tmp_path):
    """The arrays of 'in' and 'gn' have the same names and shapes: the facts alone tell them apart."""
    tops = []
    for epoch, kit in enumerate(('in', 'gn')):
        net = get_model('cifar_resnet8_ibn_a', 3, norm=kit)
        saved(net, epoch, norm=kit)
        x = mx.nd.random.uniform(shape=(2, 3, 32, 32))
        opened = opening.open_checkpoint(str(tmp_path / 'net'), epoch)
        tops.append(np.abs(opened.predict(x) - net(x).asnumpy()).max())
    assert max(tops) < 1e-4


def test_infinite_logits_make_no_noise():
    logits = np.array([[np.inf, 0, 1], [-np.inf, np.inf, 2]])
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        classification.scores(logits, np.array([0, 1]))
        classification.average_crops(logits, 2)
        predictor.probabilities(logits)
