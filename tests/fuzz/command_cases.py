"""Cases of command lines: options and values drawn from the parsers themselves, with values that nobody should give."""

from __future__ import annotations

import importlib

from tests.fuzz.mutate import pick
from tests.fuzz.place import COMMANDS, EQUAL, REFUSED, UNKNOWN, Finding
from tests.fuzz.valid import TRAIN

HOSTILE = (
    '',
    ' ',
    '-1',
    '0',
    '1',
    '2',
    '3',
    '1e400',
    'nan',
    'inf',
    '-inf',
    '1.5',
    '9' * 30,
    '-' + '9' * 30,
    '4294967296',
)
HOSTILE += (
    'é漢\u202e',
    'a\nb',
    '\x1b[31m',
    'x' * 5000,
    '=',
    ',',
    ',,',
    'a=b',
    'a=b=c',
    '1,2,3',
    'a=1e999',
    '%s%n',
    '*',
    '~',
)
HOSTILE += ('/', '.', '/dev/null', '/dev/full', '/proc/self/mem', '/proc/nowhere/at/all', '--', '-', '--help', '\udcff')
SANE = {int: ('1', '2', '4', '8', '16', '32'), float: ('0.1', '0.5', '1', '2', '0.9')}
WORDS = (
    '1',
    '2,3',
    'gamma,beta',
    'head',
    'stage1,stem',
    'body=0.1',
    'B=2,real_B=8',
    'groups=4',
    'resnet_ibn_a',
    'auto',
    '64',
)
MAKERS = {  # command: function of its module that makes its parser
    'train': ('ibnnet_mx.cli.train_options', 'make_parser'),
    'evaluate': ('ibnnet_mx.cli.evaluate', 'make_parser'),
    'predict': ('ibnnet_mx.cli.predict', 'make_parser'),
    'convert': ('ibnnet_mx.cli.convert', 'make_parser'),
    'plot': ('ibnnet_mx.cli.plot', 'make_parser'),
    'im2rec': ('ibnnet_mx.cli.im2rec', 'make_parser'),
    'recordio': ('ibnnet_mx.cli.records', 'make_parser'),
    'shift': ('ibnnet_mx.cli.shifts', 'make_parser'),
}
NEVER = ('--help', '--download', '--gpus', '--gpu', '--pretrained')  # a network, or another machine
SMALL = {'--epochs': 1, '--threads': 1, '--jobs': 1, '--depth': 8}  # what a run here can afford
WRITTEN = (
    '--log-file',
    '--json',
    '--out',
    '--features',
    '--plot',
    '--explain',
    '--sheet',
    '--confusion',
    '--profile',
    '--tensorboard',
    '--model-prefix',
)
HARMLESS = (
    '',
    ' ',
    'new',
    'out.png',
    'out.npz',
    'out.json',
    'a\nb',
    'é漢',
    '.',
    '..',
    '/proc/nowhere/x',
    '/proc/self/mem',
)
LARGE = ('--epochs', '--depth', '--threads', '--jobs', '--cpus', '--accumulate', '--batch-size', '--num-classes')
MOST = 4096  # of these: larger numbers are legal, and take as long as they say


def _values(place):
    """Values that mean something: files of all kinds."""
    whole = place.whole
    records = str(whole.data / 'cifar10_val.rec')
    files = (*whole.weights.values(), *whole.pictures.values(), records, str(whole.data), whole.log, whole.prefix)
    return (
        *files,
        f'{whole.prefix}-0001.params',
        f'{whole.prefix}-symbol.json',
        'out.png',
        'out.npz',
        'out.pth',
        'new',
    )


def _affordable(option, text):
    if option not in LARGE:
        return True
    digits = text.lstrip('-')
    return not digits.isdecimal() or int(digits) <= MOST or len(digits) > 20


def _value(random, place, action):
    option = action.option_strings[0] if action.option_strings else ''
    if option in WRITTEN:
        return pick(random, HARMLESS)
    for _ in range(20):
        way = random.randint(6)
        if way < 2 and action.choices:
            text = str(pick(random, list(action.choices)))
        elif way < 3:
            text = pick(random, SANE.get(action.type, WORDS))
        elif way < 5:
            text = pick(random, HOSTILE)
        else:
            text = pick(random, _values(place))
        if _affordable(option, text):
            return text
    return '1'


def _option(random, place, action):
    words = [pick(random, action.option_strings)]
    if action.nargs == 0:
        return words
    count = random.randint(1, 3) if action.nargs in ('+', '*') else random.randint(2) if action.nargs == '?' else 1
    values = [_value(random, place, action) for _ in range(count)]
    if len(values) == 1 and random.randint(2):
        return [f'{words[0]}={values[0]}']
    return words + values


def _usual(random, place, name):
    """Words with which the command works."""
    whole = place.whole
    records, picture = str(whole.data / 'cifar10_val.rec'), whole.pictures['jpg']
    model = pick(random, (('--prefix', whole.prefix, '--epoch', 1), ('--weights', whole.weights['pth'])))
    train = (*TRAIN, '--data-dir', whole.data, '--epochs', 1, '--model-prefix', 'net', '--log-file', 'log')
    return {
        'train': train + (('--dry-run',) if random.randint(4) else ()),
        'evaluate': (pick(random, (records, whole.data)), '--threads', 1, *model),
        'predict': ('--img', picture, *model),
        'convert': (whole.weights['pth'], pick(random, ('out.safetensors', 'net-0000.params', 'out.onnx'))),
        'plot': ('--logs', whole.log, '--out', 'out.png'),
        'im2rec': (place.write('case.lst', whole.lst), 'out', '--list', '--jobs', 1),
        'recordio': (records, '--threads', 1),
        'shift': (picture, 'out.png', '--size', 32),
    }[name]


def command(random, place):
    """The words of a command that works, with up to four options more, or with some of them changed."""
    name = pick(random, ('train',) * 4 + tuple(MAKERS))
    module, maker = MAKERS[name]
    parser = getattr(importlib.import_module(module), maker)()
    actions = [action for action in parser._actions if not set(action.option_strings) & set(NEVER)]
    named = [action for action in actions if action.option_strings]
    words = list(map(str, _usual(random, place, name)))
    for _ in range(pick(random, (0, 1, 1, 2, 2, 4))):
        words += _option(random, place, pick(random, named))
    if random.randint(5) == 0 and words:
        at = random.randint(len(words))
        words[at : at + 1] = [] if random.randint(2) else [pick(random, HARMLESS)]
    sums = place.whole.sum()
    ran = place.run(name, *_shortened(name, words))
    if place.whole.sum() != sums:
        raise Finding('a file that was only read is another now')
    return REFUSED if ran.code == 2 else UNKNOWN if ran.code else EQUAL


def _shortened(name, words):
    """What a run here cannot afford comes last, where it counts."""
    if name == 'train' and '--dry-run' not in words:
        return [*words, '--epochs', '1'] if '--epochs' in words else words
    return words


def models(random, place):
    """Names of networks that there are, or are not."""
    names = [name for name in HOSTILE if name not in ('', '1', '2', '3', '0', 'x' * 5000)]  # which many networks have
    ran = place.run('models', pick(random, ('cifar_resnet20_v1a', *names)), '--json')
    return REFUSED if ran.code else EQUAL


assert set(MAKERS) < set(COMMANDS)
