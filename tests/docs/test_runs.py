"""Commands of the README are run as they are written, with tiny pictures; trainings of the pages as --dry-run."""

import pytest

from ibnnet_mx.cli import main
from tests.docs import pages
from tests.picture_sets import class_folders, encoded, tree

README = pages.REPOSITORY / 'README.md'
UNTRIED = {  # an option: why a training with it is not tried as --dry-run
    '--gpus': 'there is no GPU',
    '--kv-store': 'there are no servers',
    '--pretrained': 'it downloads weights',
    '--init': 'the weights are not there; the own pictures below have them',
    '--retrain': 'there is no checkpoint',
    '--dtype': 'bfloat16 needs AVX-512',
}
TRAININGS = {
    tuple(each.words)
    for each in pages.commands()
    if each.words[:2] == ['ibnnet', 'train'] and not set(UNTRIED) & set(each.words)
}


def four_commands():
    """Return the README's commands for own pictures."""
    (block,) = (block for block in pages.blocks(README, 'bash') if 'model/mine' in block)
    return list(pages.lines(block))


@pytest.mark.parametrize('words', sorted(TRAININGS), ids=' '.join)
def test_a_training_of_the_pages_can_be_planned(words, capsys, tmp_path, monkeypatch):
    """Without --data-dir, because the pictures of DATA are not there."""
    monkeypatch.chdir(tmp_path)
    place = words.index('--data-dir')
    assert main.main([*words[1:place], *words[place + 2 :], '--dry-run']) in (None, 0)
    assert 'parameters, input' in capsys.readouterr().out


def test_own_pictures_in_four_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pack, train, evaluate, predict = (words[1:] for words in four_commands())
    tree(tmp_path / 'PICTURES', class_folders(count=5))
    (tmp_path / 'PICTURE.jpg').write_bytes(encoded(1))
    assert not main.main([*pack, '--jobs', '1'])
    assert not main.main([*train, '--epochs', '1', '--batch-size', '4', '--threads', '1'])
    assert not main.main(evaluate)
    assert not main.main(predict)
    answer = capsys.readouterr().out
    assert 'Top1 result is: ' in answer
    assert (tmp_path / 'why.png').stat().st_size > 1000
    assert not main.main(['records', 'DATA/train_32.rec', '--sheet', 'sheet.png', '--augment', 'cifar'])
    assert (tmp_path / 'confusion.png').is_file()
    assert not main.main(['plot', '--logs', 'log/mine.log', '--out', 'curve.png'])
    assert not main.main(['convert', 'model/mine-0001.params', 'net.safetensors', '--check'])


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    """The block asks for a checkpoint and a picture, which stand-ins are."""
    import ibnnet_mx

    class Answer:
        top = [('cat', 'cat', 1.0)]

    class Stand:
        @staticmethod
        def open(prefix, epoch):
            return lambda files, top: [Answer()] * len(files)

    (block,) = pages.blocks(README, 'python')
    monkeypatch.setattr(ibnnet_mx, 'Predictor', Stand, raising=False)
    scope = {}
    exec(block.replace('resnet50', 'resnet18'), scope)
    assert scope['probability'] == 1.0
