"""The parser of the commands: help in 80 columns with every default, and the nearest name for a wrong option."""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from typing import Any, Iterable, NoReturn, Sequence

from ibnnet_mx.cli import similar
from ibnnet_mx.errors import visible

COLUMN = 28  # where the texts of options begin
NUMBERS: dict[Any, str] = {int: 'N', float: 'X'}
LIKE_OPTION = re.compile(r'-[a-zA-Z][a-zA-Z]|--')
UNKNOWN = ('unrecognized arguments', 'the following arguments are required')


def one_line(text: str) -> str:
    """Return a text as one line; file names and messages of libraries may hold line ends."""
    return visible(' '.join(part.strip() for part in text.splitlines() if part.strip()))


class Formatter(argparse.HelpFormatter):
    """A formatter of help texts. It adds each option's default: its value, or what stands behind '; unset:'.

    In a description or an epilog, lines that begin with two spaces stay as they are.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=COLUMN)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs: list[list[str]] = [[]]
        for line in text.strip().splitlines():
            if line.startswith('  ') or not line.strip():
                paragraphs += [[line], []]
            else:
                paragraphs[-1].append(line)
        filled = [
            '\n'.join(lines) if lines[0][:2] in ('', '  ') else textwrap.fill(' '.join(lines), width)
            for lines in paragraphs
            if lines
        ]
        return '\n'.join(filled)

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return NUMBERS.get(action.type) or action.dest.rpartition('_')[2].upper()

    def _metavar_formatter(self, action: argparse.Action, default_metavar: str) -> Any:
        names = self._get_default_metavar_for_optional(action) if action.option_strings else default_metavar
        chosen = action.metavar or ('|'.join(map(str, action.choices)) if action.choices else names)
        if action.metavar is None and len(str(chosen)) > COLUMN - 8 - len(max(action.option_strings, default='')):
            chosen = names  # the text lists the choices
        return lambda size: chosen if isinstance(chosen, tuple) else (chosen,) * size

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        value = '' if action.nargs == 0 else ' ' + self._format_args(action, action.dest.upper())
        names = ', '.join(action.option_strings)
        return (names if len(names + value) <= COLUMN - 4 else action.option_strings[0]) + value

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        if action.nargs == '+' and action.option_strings:
            return f'{self._metavar_formatter(action, default_metavar)(1)[0]} ...'
        return super()._format_args(action, default_metavar)

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ''
        if '; unset: ' in text:
            text, _, default = text.partition('; unset: ')
            return f'{text} (default: {default})'
        if not action.option_strings or action.nargs == 0 or action.required or 'default' in text:
            return text
        none = action.default is None or action.default in ('', [], ())
        return f'{text} (default: {"none" if none else "%(default)s"})'


class Parser(argparse.ArgumentParser):
    """A parser that takes only whole names of options. A mistake gives one line and exit code 2.

    examples: command lines for the end of the help.
    """

    def __init__(self, examples: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(
            **{'allow_abbrev': False, 'formatter_class': Formatter, 'usage': '%(prog)s [options]', **settings}
        )
        self._positionals.title, self._optionals.title = 'arguments', 'options'
        self._words: list[str] = []
        if examples:
            shown = ''.join(f'\n  {line}' for line in examples)
            self.epilog = f'{self.epilog}\n\nexamples:{shown}' if self.epilog else f'examples:{shown}'

    def tell_default(self, dests: Iterable[str], text: str) -> None:
        """Say in the help of these options that an unset one has the value of another place, such as the recipe."""
        for action in self._actions:
            if action.dest in dests and action.default is None and '; unset: ' not in str(action.help):
                action.help = f'{action.help}; unset: {text}'

    def format_help(self) -> str:
        # The groups of the command's own options come before the group of --help.
        self._action_groups.sort(key=lambda group: group is self._optionals)
        return super().format_help()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._words = [str(word) for word in (sys.argv[1:] if args is None else args)]
        values, rest = super().parse_known_args(args, namespace)
        for action in self._actions:  # argparse makes an empty list of --option=--
            if action.nargs is None and getattr(values, action.dest, None) in ([], [[]]):
                self.error(f'argument {"/".join(action.option_strings) or action.metavar}: expected one argument')
        return values, rest

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        values, self._words = self.parse_known_args(args, namespace)
        if self._words:
            self.error(f'unrecognized arguments: {" ".join(self._words)}')
        return values

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            names = [str(choice) for choice in action.choices]
            hint = similar.hint(str(value), {name: name for name in names}, similar.VALUES)
            raise argparse.ArgumentError(
                action, f'invalid choice: {value!r}{hint or ":"} use one of {", ".join(names)}'
            )

    def _unknown(self) -> str | None:
        """Return a line about the first word that is like an option and is none."""
        options = self._option_string_actions.items()
        known = {name: action.option_strings[0] for name, action in options if name.startswith('--')}
        words = self._words[: self._words.index('--')] if '--' in self._words else self._words
        for word in words:
            name = word.partition('=')[0]
            if LIKE_OPTION.match(name) and name not in self._option_string_actions:
                hint = similar.hint(name, known, similar.OPTIONS)
                return f'{name} is not an option{hint or f": {self.prog} --help lists them"}'
        return None

    def error(self, message: str) -> NoReturn:
        if message.startswith(UNKNOWN):
            message = self._unknown() or message
        self.exit(2, f'{self.prog}: {one_line(message)}\n')
