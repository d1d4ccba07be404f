"""A run that ends early, and the log file that a run goes on in."""

import os

import pytest

from ibnnet_mx import logs
from ibnnet_mx.checkpoint import Facts, Store
from ibnnet_mx.cli import log_files, story
from ibnnet_mx.training.trainer import Trainer
from tests.cli import test_train

run = test_train.run
ACCURACIES = [0.3, 0.5, 0.4, 0.5, 0.2, 0.1, 0.9]


@pytest.fixture
def scripted(monkeypatch):
    """Validation gives ACCURACIES, whatever the network."""
    evaluate = Trainer.evaluate

    def scripted(self, val, between=None):
        evaluate(self, val, between)
        return {'accuracy': ACCURACIES[self.epoch - 1], 'cross-entropy': 1.0}

    monkeypatch.setattr(Trainer, 'evaluate', scripted)


def test_a_run_ends_after_epochs_without_a_better_validation_also_if_it_was_interrupted(
    run, scripted, tmp_path, monkeypatch
):
    words = ['--epochs', '7', '--early-stop', '3', '--lr-steps', '3']
    log = run(*words, prefix='whole')
    line = '--early-stop 3: the run ends after epoch 5 of 7, because 3 epochs brought no better validation than epoch 2'
    assert log.count(f' INFO {line}\n') == 1
    assert 'best: epoch 4 of 5, validation accuracy 50.00 %; the last, epoch 5: 20.00 %' in log
    assert Store(tmp_path / 'whole').epochs() == [1, 2, 3, 4, 5]

    def killed(self, where, saved):
        if 'epoch 2' in where:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr('ibnnet_mx.training.saver.Saver._stop', killed)
        run(*words, code=130)
    monkeypatch.setattr(test_train, 'TINY', ['--frequent', '1', '--threads', '1'])
    assert line in run('--retrain')
    assert test_train.same(test_train.saved(tmp_path, 5), test_train.saved(tmp_path, 5, 'whole'))
    again = run('--retrain')
    assert line in again
    assert 'best: epoch 4 of 5' in again
    assert 'Epoch[6] Train-' in run('--retrain', '--early-stop', '0')


def test_the_best_epoch_of_an_older_checkpoint_is_found_by_its_results(tmp_path):
    store = Store(tmp_path / 'a')
    for epoch, accuracy in enumerate((0.3, 0.5, 0.4, 0.5), 1):
        facts = Facts('m', {}, {}, metrics={'validation': {'accuracy': accuracy}}, epoch=epoch)
        store.path(epoch, 'json').write_bytes(facts.to_json())
    assert story.best_before(store, facts) == {'epoch': 2, 'value': 0.5}
    assert story.best_before(store, facts.at(1)) == {'epoch': 1, 'value': 0.3}
    assert story.best_before(store, None) is None


def test_a_negative_patience_is_refused(run):
    assert run('--early-stop', '-1', code=2) == 'train_resnet: --early-stop -1 must not be below 0\n'


def test_a_run_goes_on_in_its_own_log_wherever_it_is_moved_to(run, tmp_path, monkeypatch):
    run('--epochs', '1', '--log-file', 'a/x.log', prefix='a/net')
    os.rename(tmp_path / 'a', tmp_path / 'b')
    run('--retrain', prefix='b/net')
    assert not (tmp_path / 'log').exists()
    assert sorted(logs.read_log(tmp_path / 'b' / 'x.log').validation['accuracy']) == [0, 1]
    run('--retrain', '--epochs', '3', '--log-file', 'c.log', prefix='b/net')
    assert Store(tmp_path / 'b' / 'net').facts(3).log == '../c.log'


def test_only_a_log_of_this_project_is_gone_on_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    facts = Facts('m', {}, {}, log='../precious.txt')
    (tmp_path / 'precious.txt').write_text('a diary\n')
    assert log_files.chosen(None, 'model/net', facts) == 'log/net.log'
    (tmp_path / 'precious.txt').write_text('2026-11-30 10:00:00 INFO Epoch[0] A run begins\n')
    assert log_files.chosen(None, 'model/net', facts) == 'precious.txt'
    assert log_files.chosen('given.log', 'model/net', facts) == 'given.log'
    assert log_files.chosen(None, 'model/net', None) == 'log/net.log'


def test_a_log_elsewhere_keeps_its_absolute_path(tmp_path):
    assert log_files.as_fact('/var/log/a.log', str(tmp_path / 'net')) == '/var/log/a.log'
    assert log_files.as_fact(str(tmp_path / 'log' / 'a.log'), str(tmp_path / 'net')) == 'log/a.log'
