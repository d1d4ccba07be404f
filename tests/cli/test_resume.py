"""train_resnet.py --retrain with other options or other data: what goes on, what is told and what is refused."""

from __future__ import annotations

import re

import pytest

from ibnnet_mx.checkpoint import Store
from ibnnet_mx.cli import train

TINY = ['--data-type', 'cifar10', '--model', 'resnet_v2', '--depth', '8', '--batch-size', '16', '--threads', '1']


@pytest.fixture
def run(tmp_path, tiny_data, monkeypatch, capsys):
    """run(options) -> the log of train_resnet.py on the tiny data, with checkpoints net-*."""
    monkeypatch.chdir(tmp_path)

    def run(*argv, data=tiny_data, code=0):
        words = [*TINY, '--data-dir', data, '--model-prefix', 'net', *argv]
        assert train.main([str(word) for word in words]) == code
        return capsys.readouterr().err

    return run


def warnings(log):
    return [line.split(' WARNING ')[1] for line in log.splitlines() if ' WARNING ' in line]


def rates(log):
    return [float(rate) for rate in re.findall(r'Learning-rate=(\S+)', log)]


def test_more_epochs_than_planned_move_the_rate_and_that_is_told(run):
    run('--epochs', '2', '--schedule', 'linear', '--lr', '0.08')
    log = run('--retrain', '--epochs', '4')
    line = 'changed --epochs set the rate of epoch 2 to 0.04; the checkpoint was to go on with 0'
    assert warnings(log) == [line]
    assert rates(log)[0] < 0.04
    assert warnings(run('--retrain')) == ['--epochs 4 are finished already: there is nothing to train']


def test_steps_after_the_place_where_a_run_goes_on_need_no_word(run):
    run('--epochs', '1', '--lr-steps', '3', '--lr', '0.05')
    log = run('--retrain', '--epochs', '3', '--lr-steps', '2')
    assert warnings(log) == []
    assert rates(log) == [0.05, 0.005]


def test_the_count_of_classes_is_an_option_of_the_checkpoint_too(run, tmp_path):
    log = run('--epochs', '1', '--num-classes', '6', '--lr-steps', '0')
    assert ' INFO 2 of 6 classes have no training picture: 4, 5' in log
    run('--retrain', '--epochs', '2')
    assert Store(tmp_path / 'net').facts(2).classes == 6
    refused = run('--retrain', '--epochs', '3', '--num-classes', '4', code=2)
    assert 'train_resnet: --retrain: the checkpoint has 6 classes, the data in' in refused
    assert 'begin a new run by --init FILE.params' in refused


def test_classes_in_another_order_are_refused_and_other_names_told(run, own_data):
    run('--epochs', '1', '--lr-steps', '0', data=own_data)
    synset = own_data / 'synset.txt'
    synset.write_text('falling\ndots\nlying\nstanding\n')
    refused = run('--retrain', '--epochs', '2', data=own_data, code=2)
    assert "orders the classes differently: label 0 is 'falling', for the checkpoint 'dots'" in refused
    synset.write_text('points\nfalling\nlying\nstanding\n')
    log = run('--retrain', '--epochs', '2', data=own_data)
    assert warnings(log) == [
        f"{own_data} calls label 0 'points', the checkpoint 'dots': labels are taken as equal",
    ]


def test_a_batch_of_more_than_all_pictures_is_told(run):
    log = run('--epochs', '1', '--batch-size', '50', '--lr-steps', '0')
    assert warnings(log) == ['--batch-size 50 is more than the 48 training pictures: an epoch is one step']


def test_a_classifier_of_the_same_classes_in_another_order_is_told(run, own_data):
    run('--epochs', '1', '--lr-steps', '0', data=own_data)
    (own_data / 'synset.txt').write_text('falling\ndots\nlying\nstanding\n')
    again = ['--epochs', '1', '--lr-steps', '0', '--init', 'net-0001.params', '--model-prefix', 'other']
    (line,) = warnings(run(*again, data=own_data))
    assert line.startswith('--init net-0001.params: its classifier has the classes in another order, label 0 is ')
    assert line.endswith("'dots' there and 'falling' here: --new-head starts a new one")
    assert warnings(run(*again, '--new-head', data=own_data)) == []
