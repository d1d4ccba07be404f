"""Scalars for TensorBoard: one folder a run, and a full disk ends no run.

tensorboardX's SummaryWriter writes from a thread: an error there is a traceback, lost events and a second error at the
end of the process. Its event file is therefore written here directly.
"""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path
from typing import Any, Callable, Mapping

from ibnnet_mx.errors import OptionError

EVENTS = 'events.out.tfevents.*'


def folder_of(folder: str, resumed: bool) -> Path:
    """Return the folder of a run's events: `folder`, or run-2, run-3 ... in it.

    A new run gets a folder without events, because TensorBoard draws all events of a folder as one curve. A resumed run
    gets the newest folder with events.
    """
    runs = [Path(folder)]
    numbers = [int(match[1]) for path in runs[0].glob('run-*') if (match := re.fullmatch(r'run-(\d{1,9})', path.name))]
    runs += [runs[0] / f'run-{number}' for number in sorted(numbers)]
    used = [path for path in runs if any(path.glob(EVENTS))]
    if resumed or not used:
        return used[-1] if used else runs[0]
    return runs[0] / f'run-{max([1, *numbers]) + 1}'


class Scalars:
    """An event file in a folder. tell: is called with a reason once if the file stops taking events.

    go_on: epoch from which a resumed run writes; TensorBoard then drops the events of later epochs that the folder has.
    Raises OptionError for tensorboard if the folder cannot be written, or tensorboardX is missing.
    """

    def __init__(self, folder: str, tell: Callable[[str], None], go_on: int | None = None) -> None:
        self._tell, self._failing = tell, False
        self.folder = folder_of(folder, go_on is not None)
        try:
            from tensorboardX import summary
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto import event_pb2

            self._event, self._scalar = event_pb2, summary.scalar
            self.folder.mkdir(parents=True, exist_ok=True)
            self._writer: Any = EventsWriter(str(self.folder / 'events'))
        except ImportError as error:
            raise OptionError(
                'tensorboard', None, 'needs tensorboardX, which is missing: pip install tensorboardX'
            ) from error
        except OSError as error:
            raise OptionError('tensorboard', folder, f'cannot be written: {error.strerror}') from error
        if go_on is not None:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._write(event_pb2.Event(wall_time=time.time(), step=go_on, session_log=start))

    def add(self, epoch: int, side: str, values: Mapping[str, float]) -> None:
        """Write scalars side/name at an epoch, so that a killed run has them too."""
        for name, value in values.items():
            summary = self._scalar(f'{side}/{name}', value)
            self._write(self._event.Event(wall_time=time.time(), step=epoch, summary=summary))
        try:
            self._writer.flush()
            self._failing = False
        except OSError as error:
            self._failed(error)

    def _write(self, event: Any) -> None:
        try:
            self._writer.write_event(event)
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            self._tell(f'`tensorboard` {self.folder} cannot be written: {error.strerror}; the run goes on')

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            self._writer.close()
