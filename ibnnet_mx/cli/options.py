"""Shared by all commands: read options, and report a user's mistake in one line."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from typing import Any, Callable, NoReturn, Sequence

from ibnnet_mx import _env
from ibnnet_mx.cli import streams
from ibnnet_mx.cli.parser import Parser, one_line
from ibnnet_mx.errors import OptionError, Stopped, dashed, no_memory
from ibnnet_mx.recipe import EXIF
from ibnnet_mx.recordio.fast import last_words
from ibnnet_mx.size import Size


def add_exif(add: Callable[..., Any], default: str | None = EXIF[0]) -> None:
    """Add --exif to a command that reads pictures. default None: the recipe says it."""
    text = 'apply: turned upright by their EXIF; ignore: as stored'
    add('--exif', choices=EXIF, default=default, help=text)


def option_name(option: str) -> str:
    """Return an option as it is typed: '--zero-gamma' for 'zero_gamma'. Capitals, such as SHEET, are positional."""
    return option if option.isupper() else f'--{option.replace("_", "-")}'


def tell(text: str) -> None:
    """Print a line on stderr, behind the name of the program that runs."""
    print(f'{_running[-1]}: {text}', file=sys.stderr)


def tell_missing(letters: str) -> None:
    """Say which letters of names no font here has, if there are any."""
    if letters:
        shown = letters[:20] + ('...' if len(letters) > 20 else '')
        tell(f'no font here has {shown}, so a box stands for each: install one that has, such as fonts-noto')


def running() -> str:
    """Return the name of the program that runs, such as 'ibnnet train' or 'train_resnet'."""
    return _running[-1]


def named(names: dict[str, str] | None) -> Callable[[str], str]:
    """Return a function like option_name(), with exceptions {option: name}."""
    return lambda option: (names or {}).get(option) or option_name(option)


NO_MEMORY = (
    'there is not enough memory: stop other programs, raise the limit (ulimit -v, a container, a job), or use less: a '
    'smaller --batch-size, fewer threads'
)
ENDING = (signal.SIGTERM, signal.SIGHUP)


_running = ['ibnnet']  # names of programs; the last one is that of run()


class _Terminated(KeyboardInterrupt):
    """Raised for SIGTERM and SIGHUP, so that the command ends as with Ctrl-C and no handler of errors catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _terminated(number: int, _: Any) -> NoReturn:
    raise _Terminated(number)


def run(
    command: Callable[[argparse.Namespace], int | None],
    parser: Parser,
    argv: Sequence[str] | None = None,
    interrupted: str = 'interrupted',
    names: dict[str, str] | None = None,
) -> int:
    """Return the exit code of `command(options)`. A wrong option, a file error or a missing package gives a line and 2.

    interrupted: the line after Ctrl-C. names: {option of the library: its name here}, unless option_name() is right.
    """
    name_of = named(names)
    streams.whole()
    try:
        options = parser.parse_args(argv)
    finally:
        streams.settle()
    if streams.owned():
        last_words.install(f'{parser.prog}: {NO_MEMORY}')
    # Python's default for them would leave child processes behind.
    for number in ENDING if threading.current_thread() is threading.main_thread() else ():
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _terminated)
    _running.append(parser.prog)
    try:
        code = command(options) or 0
        sys.stdout.flush()
        if not streams.lost():
            return code
        text = 'standard output is closed: what was printed is lost'
    except BrokenPipeError as error:
        if streams.reader_gone():
            return 128 + signal.SIGPIPE  # the code that a shell gives for a program in C
        code, text = 2, str(error)
    except BaseException as error:
        line = _line_of(error, interrupted, name_of)
        if line is None:
            raise
        code, text = line
    finally:
        _running.pop()
        streams.settle()
        for number in ENDING:
            if signal.getsignal(number) is _terminated:
                signal.signal(number, signal.SIG_DFL)
    print(f'{parser.prog}: {one_line(text)}', file=sys.stderr)
    if text == NO_MEMORY and streams.owned():
        os._exit(code)  # without memory, mxnet's own end is an error or hangs
    return code


def _line_of(error: BaseException, interrupted: str, name_of: Callable[[str], str]) -> tuple[int, str] | None:
    """Return the exit code and the line for an error that a user can cure; None for any other."""
    if isinstance(error, KeyboardInterrupt):
        return (128 + error.number if isinstance(error, _Terminated) else 130), interrupted
    if isinstance(error, Stopped):
        return error.code, dashed(str(error), name_of)
    if isinstance(error, OSError):
        return 2, f'{error.filename}: {error.strerror}' if error.filename else str(error)
    if isinstance(error, ModuleNotFoundError) or isinstance(error, ImportError) and error.name == 'numpy':
        return 2, _env.describe_error(error)
    if isinstance(error, OptionError):
        return 2, error.told(name_of)
    if isinstance(error, ValueError):
        return 2, str(error)
    return (2, NO_MEMORY) if isinstance(error, Exception) and no_memory(error) else None


def picture_size(text: str) -> int | Size:
    """Return the size of pictures: 224 of '224' and of '224x224', Size(256, 128) of '256x128'. For argparse."""
    try:
        return Size.of(text).plain
    except OptionError as error:
        raise argparse.ArgumentTypeError(f'{text!r} {error.advice}') from None


SIZE = 'S|HxW'  # how a size is written in a help text: the height comes first


def add_image_size(add: Callable[..., Any], *synonyms: str, text: str, dest: str = 'image_size') -> None:
    """Add --image-size, and other names of it. text: the help."""
    add('--image-size', *synonyms, dest=dest, type=picture_size, metavar=SIZE, help=text)


def check_image_size(network: Any, size: int | Size | None) -> None:
    """Make a network take pictures of this size, None: of its own. Raises ValueError if it cannot."""
    if size is None:
        return
    if network.fixed and size != network.size:
        only = Size.of(network.size).sides
        raise ValueError(f'--image-size {size}: {network.label} takes only pictures of {only}')
    network.size = size
    network.notes = [note for note in network.notes if '`image_size`' not in note]


def add_labels(add: Callable[..., Any]) -> None:
    """Add the options that say which of several labels of a record is the class."""
    add('--label-width', type=int, metavar='N', help='labels of a record; unset: 1')
    add('--label-column', type=int, metavar='K', help='which of several labels is the class, from 0')


def check_labels(width: int | None, column: int | None) -> None:
    """Raise ValueError for values that these options cannot have."""
    for option, value, least in (('--label-width', width, 1), ('--label-column', column, 0)):
        if value is not None and value < least:
            raise ValueError(f'{option} {value} must be at least {least}')
    if width not in (None, 1) and column is None:
        raise ValueError(f'--label-width {width}: say which of them is the class by --label-column, from 0')


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def arguments(text: str) -> tuple[tuple[str, int | float | str], ...]:
    """Return ((name, value), ...) of 'B=2,real_B=32'."""
    pairs = [part.split('=') for part in text.split(',') if part]
    if any(len(pair) != 2 for pair in pairs):
        raise argparse.ArgumentTypeError(f'{text!r} must be names and values, such as B=2,real_B=32')
    return tuple((name, _value(value)) for name, value in pairs)
