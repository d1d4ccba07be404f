"""Options as TOML files: a written file starts the same run again, and a mistake is told with its line."""

import pytest

from ibnnet_mx.cli import config, picture_sizes, run_options, train
from ibnnet_mx.cli.train_options import make_parser
from ibnnet_mx.recipe import RECIPES

MORE = [
    [],
    ['--norm', 'mabn', '--norm-args', 'B=2,real_B=32', '--zero-gamma', '--no-decay', 'gamma,beta'],
    ['--lr-mult', 'body=0.1,head=2', '--freeze', 'stem', '--memonger', '900', '--warmup-epochs', '0.5', '--keep', '3'],
    ['--image-size', '32', '--depth', '20', '--data-dir', 'a "b"\\c\n', '--accumulate', 'auto', '--early-stop', '3'],
    ['--memonger', '--ibn-stages', '1,2', '--model', 'resnet_ibn_a', '--frequent', '7', '--no-memory-check'],
    ['--norm', 'gn', '--model', 'resnet'],
]


@pytest.mark.parametrize('more', MORE, ids=' '.join)
@pytest.mark.parametrize('name', RECIPES)
def test_a_written_config_is_read_back_as_the_same_run(name, more, tmp_path):
    parser, path = make_parser(), str(tmp_path / 'a.toml')
    args = parser.parse_args(['--recipe', name, *more])
    wanted, model = run_options.resolve(args)
    config.write(path, config.options_of(parser, args, wanted, model))
    again = parser.parse_args(config.expanded(parser, ['--config', path]))
    other, same = run_options.resolve(again)
    assert same == model
    if args.image_size is None:
        assert other == wanted
    assert (again.data_dir, again.accumulate if more[-3:-2] == ['auto'] else 1) == (
        args.data_dir,
        'auto' if more[-3:-2] == ['auto'] else 1,
    )
    assert (again.keep, again.frequent, again.no_memory_check) == (args.keep, args.frequent, args.no_memory_check)
    assert (again.bn_mom is None) == (args.bn_mom is None)
    assert picture_sizes.chosen(again, None) == picture_sizes.chosen(args, None)


def test_the_command_line_wins(tmp_path):
    (tmp_path / 'a.toml').write_text(
        'lr = 0.3\nlr_steps = [1, 2.5]\nzero-gamma = true\nnorm-args = {B = 2}\nw-d = false\n'
    )
    parser = make_parser()
    args = parser.parse_args(config.expanded(parser, [f'--config={tmp_path}/a.toml', '--lr', '0.1']))
    assert (args.lr, args.lr_steps, args.zero_gamma, args.norm_args) == (0.1, (1.0, 2.5), True, (('B', 2),))
    assert args.w_d is None
    assert config.expanded(parser, ['--lr', '0.1', '--', '--config', 'x']) == ['--lr', '0.1', '--', '--config', 'x']


@pytest.mark.parametrize(
    ('text', 'line'),
    [
        ('lr = 0.1\n\nepoch = 3\n', ', line 3: epoch is not an option: did you mean epochs'),
        ('lr = "much"', ', line 1: lr = "much": '),
        ('norm = "xn"', ', line 1: norm = "xn": use one of bn, in, '),
        ('zero-gamma = 3', ', line 1: zero-gamma = 3: must be true or false'),
        ('lr = true', ', line 1: lr = true: is no value of this option'),
        ('config = "b.toml"', ', line 1: config is not an option'),
        ('[network]\nlr = 1', ', line 1: network is not an option'),
        ('lr = ', ' is no TOML: '),
        (b'\xff = 1', ' is no TOML: '),
        (None, ': No such file or directory'),
    ],
)
def test_a_mistake_in_a_config_is_one_line(text, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / 'a.toml').write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SystemExit) as stop:
        train.main(['--config', 'a.toml', '--dry-run'])
    captured = capsys.readouterr()
    assert (stop.value.code, captured.out, captured.err.count('\n')) == (2, '', 1)
    assert captured.err.startswith(f'train_resnet: --config a.toml{line}')
