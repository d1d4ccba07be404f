"""One sentence in two styles: as Python names options, and as a command does."""

from __future__ import annotations

import pytest

from ibnnet_mx import errors
from ibnnet_mx.cli.options import named, option_name
from ibnnet_mx.errors import OptionError


@pytest.mark.parametrize(
    ('error', 'python', 'command'),
    [
        (OptionError('lr', 0.0, 'must be above 0'), 'lr=0.0 must be above 0', '--lr 0.0 must be above 0'),
        (
            OptionError('lr_steps', (6.0, 3.5), 'must rise'),
            'lr_steps=(6.0, 3.5) must rise',
            '--lr-steps 6,3.5 must rise',
        ),
        (
            OptionError('lr_mult', {'head': -1.0}, 'must not be below 0'),
            "lr_mult={'head': -1.0} must not be below 0",
            '--lr-mult head=-1 must not be below 0',
        ),
        (
            OptionError('data_dir', 'a b', ': use `data_type` cifar10'),
            "data_dir='a b': use `data_type` cifar10",
            '--data-dir a b: use --data-type cifar10',
        ),
        (OptionError('tensorboard', None, 'needs x'), 'tensorboard needs x', '--tensorboard needs x'),
        (OptionError('zero_gamma', True, ', but no'), 'zero_gamma=True, but no', '--zero-gamma, but no'),
        (OptionError(None, None, 'try fewer `jobs`'), 'try fewer `jobs`', 'try fewer --jobs'),
        (OptionError('SHEET', 'a.png', 'is a folder'), "SHEET='a.png' is a folder", 'SHEET a.png is a folder'),
    ],
)
def test_python_and_a_command_say_the_same(error, python, command):
    assert isinstance(error, ValueError)
    assert str(error) == python
    assert error.told(option_name) == command


def test_a_command_may_call_an_option_otherwise():
    name_of = named({'gpus': '--gpu', 'max_bad': '--max-bad-records'})
    assert OptionError('gpus', '3', ': leave `gpus` out').told(name_of) == '--gpu 3: leave --gpu out'
    assert errors.dashed('`max_bad` 0 allowed, `threads` 2', name_of) == '--max-bad-records 0 allowed, --threads 2'


def test_a_text_without_backticks_stays():
    assert errors.dashed("a 'b' --c `D` `e f`", option_name) == "a 'b' --c `D` `e f`"


def test_errors_of_rooms_are_option_errors_too():
    from ibnnet_mx.recordio.format import RecordError
    from ibnnet_mx.recordio.packing.pack import PackError
    from ibnnet_mx.recordio.reading.reader import BadRecordsError

    error = BadRecordsError(None, None, 'a.rec: 2 such records, `max_bad` 1 allowed')
    assert isinstance(error, RecordError)
    assert error.told(named({'max_bad': '--max-bad-records'})).endswith('--max-bad-records 1 allowed')
    assert isinstance(PackError('max_bad', 1, 'x'), OptionError)
