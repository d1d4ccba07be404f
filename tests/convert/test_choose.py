"""Checkpoints as training code leaves them: averaged weights beside raw ones, heads outside of the body, counters."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ibnnet_mx import convert, get_model
from ibnnet_mx.convert import identify
from ibnnet_mx.inference.opening import open_weights
from tests.conftest import thorough
from tests.convert.networks import arrays_of, official
from tests.refusals import refused

MODEL = 'cifar_resnet8_ibn_a'
AVERAGED = ['state_dict_ema', 'model_ema', 'ema', 'teacher', 'module_ema', 'ema_state_dict', 'swa_state_dict']


@pytest.fixture(scope='module')
def good():
    return official(MODEL)


@pytest.fixture(scope='module')
def raw(good):
    return {key: array + 1 for key, array in good.items()}


def under(prefix, arrays):
    return {prefix + key: array for key, array in arrays.items()}


def loaded(source, **options):
    """The arrays of a network that was filled with source, and the lines about it."""
    net = get_model(MODEL)
    notes = convert.load(net, source, **options)
    return arrays_of(net), notes


def is_good(arrays, good, head=True):
    net = get_model(MODEL)
    convert.load(net, good)
    wanted = arrays_of(net)
    names = [name for name in wanted if head or not name.startswith('fc1')]
    return all(np.array_equal(arrays[name], wanted[name]) for name in names)


@pytest.mark.parametrize('name', [AVERAGED[0], *thorough(*AVERAGED[1:])])
@pytest.mark.parametrize('beside', ['state_dict', 'model'])
@pytest.mark.parametrize('wrap', [False, True])
def test_averaged_weights_are_taken_and_told(read, encode, tmp_path, good, raw, name, beside, wrap):
    averaged = {'n_averaged': np.array(9), **under('module.', good)} if wrap else good
    for content in ({beside: raw, name: averaged, 'epoch': 3}, {name: averaged, 'epoch': 3, beside: raw}):
        (tmp_path / 'a.pth').write_bytes(encode(content))
        weights = convert.read_weights(tmp_path / 'a.pth')
        arrays, notes = loaded(weights)
        assert is_good(arrays, good)
        assert f'takes the averaged weights {name}; the file also has {beside}: `weights_key` chooses' in notes
        arrays, notes = loaded(convert.read_weights(tmp_path / 'a.pth', beside))
        assert is_good(arrays, raw)
        assert not any('takes' in note for note in notes)


def test_averaged_weights_alone_need_no_word(encode, tmp_path, good):
    (tmp_path / 'a.pth').write_bytes(encode({'state_dict_ema': good}))
    assert convert.read_weights(tmp_path / 'a.pth').notes == []


def test_any_wrapper_is_looked_into_and_told(encode, tmp_path, good, raw):
    momentum = {'state': {'buffers': raw}}
    (tmp_path / 'a.pth').write_bytes(encode({'algorithm': {'online': {'net': good}}, 'optimizer': momentum}))
    weights = convert.read_weights(tmp_path / 'a.pth')
    assert weights.notes == ['takes the weights algorithm.online.net']
    assert is_good(loaded(weights)[0], good)
    with refused('--weights-key nobody is none of the names in the file: algorithm.online.net, '):
        convert.read_weights(tmp_path / 'a.pth', 'nobody')


def test_prefixes_in_one_table_are_chosen_alike(encode, tmp_path, good, raw):
    content = {**under('student.', raw), **under('teacher.backbone.', good)}
    (tmp_path / 'a.pth').write_bytes(encode({'state_dict': content}))
    arrays, notes = loaded(convert.read_weights(tmp_path / 'a.pth'))
    assert is_good(arrays, good)
    assert notes == ['takes the averaged weights teacher.backbone.*; the file also has student.: `weights_key` chooses']
    assert is_good(loaded(convert.read_weights(tmp_path / 'a.pth', 'student'))[0], raw)


def test_two_copies_without_a_sign_are_refused(good, raw):
    with pytest.raises(ValueError, match='has no place in the network'):
        loaded({**under('encoder_q.', raw), **under('encoder_k.', good)})


def body_of(arrays):
    return {key: array for key, array in arrays.items() if not key.startswith('fc.')}


def neck(name, width=64):
    return {f'{name}.{key}': np.ones(width, np.float32) for key in ('weight', 'bias', 'running_mean', 'running_var')}


def heads_of(good):
    head = good['fc.weight']
    return {
        'strong baseline': {**under('base.', body_of(good)), **neck('bottleneck'), 'classifier.weight': head},
        'fast-reid': {
            **under('backbone.', body_of(good)),
            'pixel_mean': np.ones((1, 3, 1, 1), np.float32),
            'pixel_std': np.ones((1, 3, 1, 1), np.float32),
            **neck('heads.bottleneck.0'),
            'heads.weight': head,
        },
        'no prefix': {**body_of(good), **neck('bottleneck'), 'classifier.weight': head},
        'mmpretrain': {
            **under('backbone.', body_of(good)),
            'head.fc.weight': head,
            'head.fc.bias': good['fc.bias'],
        },
    }


@pytest.mark.parametrize('kind', ['strong baseline', 'fast-reid', 'no prefix', 'mmpretrain'])
def test_heads_outside_of_the_body_go_with_a_new_head_or_without_a_classifier(good, kind):
    source = heads_of(good)[kind]
    arrays, notes = loaded(source, new_head=True)
    assert is_good(arrays, good, head=False)
    if kind != 'mmpretrain':
        assert any(re.match(r'\d arrays outside of the body are left out: ', note) for note in notes)
        with pytest.raises(ValueError, match=r'weight has no place in the network \(`new_head` leaves it out\)'):
            loaded(source)
    net = get_model(MODEL, features=True)
    convert.load(net, source)
    assert is_good({**arrays_of(net), 'fc1_weight': 0, 'fc1_bias': 0}, good, head=False)


def test_a_whole_classifier_under_another_prefix_is_used(good):
    source = heads_of(good)['mmpretrain']
    arrays, notes = loaded(source)
    assert is_good(arrays, good)
    assert notes == ['the classifier is head.fc.weight']
    assert identify.model_of(source)[0].name == MODEL
    del source['head.fc.bias']
    with pytest.raises(ValueError, match='fc1_bias is missing'):
        loaded(source)
    source = {**heads_of(good)['mmpretrain'], 'head.fc.weight': np.ones((7, 64), 'f'), 'head.fc.bias': np.ones(7, 'f')}
    with pytest.raises(ValueError, match=r'7 classes, not 10: `new_head` starts a new classifier'):
        loaded(source)


def test_counters_and_constants_of_tools_are_ignored_and_told_once(good, tmp_path, encode):
    counters = {f'{key[:-7]}.total_ops': np.zeros(1) for key in good if key.endswith('.weight')}
    arrays, notes = loaded({**good, **counters, 'total_params': np.zeros(1)})
    assert is_good(arrays, good)
    assert notes == ['counters and constants of tools are ignored: total_ops, total_params']
    (tmp_path / 'a.pth').write_bytes(encode({**good, **counters}))
    assert open_weights(str(tmp_path / 'a.pth')).model == MODEL


def test_a_part_of_the_body_without_a_place_is_still_a_fault(good):
    with pytest.raises(ValueError, match=r'layer4.0.conv1.weight has no place'):
        loaded({**good, 'layer4.0.conv1.weight': np.ones(3, 'f')}, new_head=True)
