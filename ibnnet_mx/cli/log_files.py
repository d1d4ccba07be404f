"""The log file of a run: the one that --log-file names, the one of the run that goes on, or log/NAME.log."""

from __future__ import annotations

import os
import re

OURS = re.compile(rb'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+ ')  # how each line of a log begins
DEFAULT = 'log'


def as_fact(log_file, prefix):
    """Return the path of a log file as a checkpoint holds it: relative to the prefix's folder, unless it is absolute
    and elsewhere, so that a run can be moved with its log.
    """
    folder = os.path.abspath(os.path.dirname(prefix))
    is_within = os.path.abspath(log_file).startswith(folder + os.sep)
    if os.path.isabs(log_file) and not is_within:
        return log_file
    return os.path.relpath(log_file, folder)


def chosen(given, prefix, facts):
    """Return the path of the log file. given: the value of --log-file. facts: of the checkpoint to go on from, or None.

    A run goes on in its own log. A file that is missing, or is no log of this project, is not taken, because the facts
    of a checkpoint may come from anywhere.
    """
    if given:
        return given
    if facts is not None and facts.log:
        path = os.path.normpath(os.path.join(os.path.dirname(prefix), facts.log))
        if _is_log(path):
            return path
    return os.path.join(DEFAULT, f'{os.path.basename(prefix)}.log')


def _is_log(path):
    try:
        if not os.path.isfile(path):
            return False
        with open(path, 'rb') as file:
            return OURS.match(file.read(40)) is not None
    except OSError:
        return False
