"""Recipes and options as TOML files: --config reads one, --write-config writes one."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import fields

from ibnnet_mx import models
from ibnnet_mx.cli import similar
from ibnnet_mx.files import atomic
from ibnnet_mx.recipe import Recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NOT_WRITTEN = ('help', 'config', 'write_config', 'dry_run', 'profile', 'retrain', 'model_load_epoch')
HEAD = '# options of ibnnet train, by their names: ibnnet train --config FILE; options of the command line win'


def expand(parser, words):
    """Return the words of a command line with those of its --config FILE before them.

    Raises ValueError, which names the file and the line, if a file has an unknown option or an impossible value.
    """
    given = words[: words.index('--')] if '--' in words else words
    paths = [word.partition('=')[2] for word in given if word.startswith('--config=')]
    paths += [given[i + 1] for i, word in enumerate(given[:-1]) if word == '--config']
    return [word for path in paths for word in read(parser, path)] + list(words)


def expanded(parser, argv=None):
    """Return the words of a command line, argv or sys.argv, as expand() does. A mistake ends with code 2."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        return expand(parser, words)
    except ValueError as error:
        return parser.error(str(error))


def read(parser, path):
    """Return the options in a TOML file as words of a command line."""
    try:
        with open(path, encoding='utf-8') as file:
            text = file.read()
        values = tomllib.loads(text)
    except OSError as error:
        raise ValueError(f'--config {path}: {error.strerror}') from None
    except ValueError as error:  # no TOML, or no UTF-8
        raise ValueError(f'--config {path} is no TOML: {error}') from None
    actions = {action.dest: action for action in parser._actions if action.option_strings}
    words = []
    for key, value in values.items():
        action = actions.get(key.replace('-', '_'))
        if action is None or action.dest in ('help', 'config'):
            names = {f'--{dest.replace("_", "-")}': f'--{dest.replace("_", "-")}' for dest in actions}
            hint = similar.hint(f'--{key}', names, similar.OPTIONS).replace('--', '')
            raise ValueError(f'{_place(path, text, key)}: {key} is not an option{hint}')
        try:
            words += _words(action, value)
        except (ValueError, argparse.ArgumentTypeError) as error:
            raise ValueError(f'{_place(path, text, key)}: {key} = {_toml(value)}: {error}') from None
    return words


def _place(path, text, key):
    """Return the file and, if it can be seen, the line of a key."""
    pattern = re.compile(rf'\s*["\'\[]?{re.escape(key)}["\'\]]?\s*(=|\.|$)')
    lines = [number for number, line in enumerate(text.splitlines(), 1) if pattern.match(line)]
    return f'--config {path}, line {lines[0]}' if lines else f'--config {path}'


def _words(action, value):
    """Return an option and its value as words. Raises ValueError if the option cannot have it."""
    name = f'--{action.dest.replace("_", "-")}'
    if action.nargs == 0 or action.const is not None and isinstance(value, bool):
        if not isinstance(value, bool):
            raise ValueError('must be true or false')
        return [name] if value else []
    if isinstance(value, bool):
        raise ValueError('is no value of this option')
    word = _word(value)
    typed = action.type(word) if action.type else word
    if action.choices is not None and typed not in action.choices:
        raise ValueError(f'use one of {", ".join(map(str, action.choices))}')
    return [f'{name}={word}']


def _word(value):
    """Return a value of TOML as it is typed: 30,60 of [30, 60], B=2 of {B = 2}."""
    if isinstance(value, dict):
        return ','.join(f'{key}={part}' for key, part in value.items())
    return ','.join(map(str, value)) if isinstance(value, list) else str(value)


def options_of(parser, args, wanted, model):
    """Return {option: value} that starts the same run again: the resolved recipe, and the options beside it."""
    recipe = {each.name for each in fields(Recipe)}
    values = {'recipe': wanted.name}
    for action in parser._actions:
        dest = action.dest
        if dest in NOT_WRITTEN or dest == 'recipe' or not action.option_strings:
            continue
        given = getattr(args, dest)
        value = getattr(wanted, dest) if dest in recipe else given if given != action.default else None
        if dest == 'accumulate' and given == 'auto':
            value = given
        if dest == 'model' and args.image_size is not None and args.model is None:
            value = models.split_name(model.name)[0]  # --image-size has chosen the network
        if dest == 'bn_mom' and given is None and value == Recipe('').bn_mom:
            continue  # most norms have no such option
        if value is None or value is False:
            continue
        values[dest.replace('_', '-')] = dict(value) if dest in ('norm_args', 'lr_mult') else value
    return values


def write(path, values):
    """Write {option: value} as a TOML file. Raises OSError."""
    lines = [HEAD, *(f'{key} = {_toml(value)}' for key, value in values.items())]
    atomic.write_file(path, ('\n'.join(lines) + '\n').encode('utf-8'))


def _toml(value):
    """Return a value as TOML."""
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return '[' + ', '.join(map(_toml, value)) + ']'
    if isinstance(value, dict):
        return '{' + ', '.join(f'{_toml(str(key))} = {_toml(part)}' for key, part in value.items()) + '}'
    signs = {'\\': '\\\\', '"': '\\"'}
    plain = (signs.get(sign, sign if sign >= ' ' and sign != '\x7f' else f'\\u{ord(sign):04x}') for sign in str(value))
    return '"' + ''.join(plain) + '"'
