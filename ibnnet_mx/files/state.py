"""The state of a file or of a set of files: missing, damaged or whole, and the reason in words."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class State(Enum):
    """The state of a file. MISSING: nobody has written it. DAMAGED: it cannot be used. WHOLE: it is as it was
    written.
    """

    MISSING = 'missing'
    DAMAGED = 'damaged'
    WHOLE = 'whole'


class Verdict(NamedTuple):
    """The state of a file. reason: a text for the user that says what is wrong; '' if nothing is."""

    state: State
    reason: str = ''

    @property
    def whole(self) -> bool:
        """Return True if the file can be used."""
        return self.state is State.WHOLE


MISSING = Verdict(State.MISSING)
WHOLE = Verdict(State.WHOLE)


def damaged(reason: str) -> Verdict:
    """Return the verdict DAMAGED with its reason."""
    return Verdict(State.DAMAGED, reason)
