"""A process that multiprocessing has started does not outlive the process that started it."""

from __future__ import annotations

import multiprocessing
import os
import threading
from typing import Any


def end_with_parent() -> None:
    """End this process at once when its parent has ended, even if the parent was killed.

    A thread waits for the parent. In a process without a parent of multiprocessing nothing happens.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)  # nobody takes the results any more
