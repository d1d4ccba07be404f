"""The places that log lines go to: stderr, and a file. Neither a full disk nor a closed pipe ends a run."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from typing import Any, Callable

from ibnnet_mx.errors import OptionError

LINES, EPOCH, AUTO = 'lines', 'epoch', 'auto'
STYLES = (AUTO, EPOCH, LINES)
FORMAT = '%(asctime)s %(levelname)s %(message)s', '%Y-%m-%d %H:%M:%S'


def style_of(style: str) -> str:
    """Return the style of stderr's lines. auto: a table of epochs on a terminal, and every line elsewhere."""
    if style not in STYLES:
        raise OptionError('log_style', style, f': use one of {", ".join(STYLES)}')
    return style if style != AUTO else EPOCH if sys.stderr.isatty() else LINES


class Plain(logging.Formatter):
    """Lines for a reader at a terminal: without date and time, and only a warning is named."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        return text if record.levelno < logging.WARNING else f'{record.levelname.lower()}: {text}'


class StderrHandler(logging.Handler):
    """Lines to stderr, above the progress bar if one is open. Lines that stderr does not take are dropped.

    style: LINES writes all but records of kind 'file'; EPOCH writes those of kind 'table' in place of kind 'numbers'.
    """

    bar: Any = None

    def __init__(self, style: str = LINES) -> None:
        super().__init__()
        self.style = style
        self.setFormatter(Plain() if style == EPOCH else logging.Formatter(*FORMAT))
        left_out = ('file', 'table') if style == LINES else ('file', 'numbers')
        self.addFilter(lambda record: getattr(record, 'kind', '') not in left_out)

    def emit(self, record: logging.LogRecord) -> None:
        write = print if self.bar is None else self.bar.write
        with contextlib.suppress(OSError):
            write(self.format(record), file=sys.stderr)


class FileHandler(logging.FileHandler):
    """Lines appended to a file, each flushed.

    tell: is called with a reason once if the file stops taking lines. Each further line tries again, so that the log
    goes on when there is room.
    """

    def __init__(self, path: str, tell: Callable[[str], None]) -> None:
        self._tell, self._failing = tell, False
        super().__init__(path, encoding='utf-8')
        self.setFormatter(logging.Formatter(*FORMAT))
        self.addFilter(lambda record: getattr(record, 'kind', '') != 'table')

    def _open(self) -> Any:
        return open(self.baseFilename, self.mode, encoding='utf-8', errors='backslashreplace')

    def emit(self, record: logging.LogRecord) -> None:
        try:
            stream: Any = self.stream
            stream.write(self.format(record) + self.terminator)
            stream.flush()
            self._failing = False
        except OSError as error:
            if not self._failing:
                self._failing = True
                self._tell(f'`log_file` {self.baseFilename} cannot be written: {error.strerror}; the run goes on')

    def close(self) -> None:
        with contextlib.suppress(OSError):  # lines that a full disk does not take
            super().close()


def open_file(path: str, tell: Callable[[str], None]) -> logging.Handler:
    """Return a handler that appends lines, each flushed. Raises OptionError for log_file."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return FileHandler(path, tell)
    except OSError as error:
        raise OptionError('log_file', path, f'cannot be written: {error.strerror}') from error
