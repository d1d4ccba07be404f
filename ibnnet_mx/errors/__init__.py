"""Errors that carry facts. The library names options as Python does; the commands add the dashes. No mxnet.

Any room may import this one, and it imports nothing of the package.
"""

from __future__ import annotations

import errno
import re
from typing import Any, Callable

CONTROL = re.compile(r'[\x00-\x08\x0a-\x1f\x7f-\x9f]')  # all but the tab
REFERENCE = re.compile(r'`([a-z][a-z0-9_]*)`')  # an option that an advice names, such as `freeze`


class OptionError(ValueError):
    """A value that an option cannot have, and what would do.

    option: its Python name, such as 'zero_gamma'; None for a mistake that is not about one option.
    value: the value that came; None if the option alone is to be named.
    advice: the rest of the sentence. Other options stand in it in backticks, such as `depth`.
    str() gives "depth=51 is no depth of resnet: ...", told() the same sentence in another style.
    """

    def __init__(self, option: str | None, value: Any, advice: str) -> None:
        super().__init__(option, value, advice)
        self.option, self.value, self.advice = option, value, advice

    def __str__(self) -> str:
        value = None if self.value is None else repr(self.value)
        head = [] if self.option is None else [self.option if value is None else f'{self.option}={value}']
        return _sentence(head, self.advice)

    def told(self, name_of: Callable[[str], str]) -> str:
        """Return the sentence for a command line. name_of: option's Python name -> '--zero-gamma' or the like."""
        head = [] if self.option is None else [name_of(self.option)]
        value = str(self.value) if isinstance(self.value, float) else command_value(self.value)
        if self.option is not None and value:
            head.append(value)
        return _sentence(head, dashed(self.advice, name_of))

    @property
    def markup(self) -> str:
        """The sentence with its option in backticks, for the advice of another error."""
        return self.told(lambda option: f'`{option}`')


def markup(error: Exception) -> str:
    """Return an error's text, its options in backticks, for the advice of another error."""
    return error.markup if isinstance(error, OptionError) else str(error)


def dashed(text: str, name_of: Callable[[str], str]) -> str:
    """Return a text with the options that stand in it in backticks as name_of() writes them."""
    return REFERENCE.sub(lambda reference: name_of(reference[1]), text)


def visible(text: str) -> str:
    """Return a text with its control characters written as \\x1b, so that a name from a file moves no cursor and forges
    no line. Tabs stay.
    """
    return CONTROL.sub(lambda sign: f'\\x{ord(sign[0]):02x}', text)


def command_value(value: Any) -> str:
    """Return a value as it is typed on a command line: 1,2 of (1, 2), B=2 of {'B': 2}, nothing of True and None."""
    if value is None or value is True:
        return ''
    if isinstance(value, dict):
        return ','.join(f'{key}={command_value(part)}' for key, part in value.items())
    if isinstance(value, (tuple, list)):
        return ','.join(command_value(part) for part in value)
    return f'{value:g}' if isinstance(value, float) else str(value)


def _sentence(head: list[str], advice: str) -> str:
    if not head:
        return advice
    return ' '.join(head) + ('' if advice[:1] in (':', ',') else ' ') + advice


class Stopped(Exception):
    """A command ends early, as it was asked to. code: its exit code; together: all workers of the job end so."""

    def __init__(self, code: int, text: str, together: bool = False) -> None:
        super().__init__(text)
        self.code, self.together = code, together


# The words of mxnet, oneDNN, CUDA, OpenCV, onnxruntime and the system when they get no more memory.
MEMORY = re.compile(
    r'bad_alloc|[Cc]annot allocate memory|[Ff]ailed to [Aa]llocate|[Uu]nable to allocate|out of memory|OutOfMemory'
    r'|Insufficient memory|[Mm]alloc\w* failed|Allocation failed|could not create a (memory|primitive)'
    r"|CUDNN_STATUS_ALLOC_FAILED|failed to map segment|can't start new thread|Resource temporarily unavailable"
)


def no_memory(error: BaseException) -> bool:
    """Return True if an error of Python or of any library tells that there is not enough memory."""
    if isinstance(error, MemoryError) or getattr(error, 'errno', None) == errno.ENOMEM:
        return True
    return MEMORY.search(str(error)) is not None
