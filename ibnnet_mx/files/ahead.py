"""Work that is done ahead of its user, by threads or processes, with results in order."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Callable, Generator, Iterable, Sequence, Tuple, TypeVar

Item = TypeVar('Item')
Kept = TypeVar('Kept')
Begun = Tuple[Kept, Sequence['Future[Any]']]  # an object that comes back with the results, and their futures


def in_order(
    items: Iterable[Item],
    begin: Callable[[Item], Begun[Kept]],
    ahead: int,
    killed: Exception | None = None,
) -> Generator[tuple[Kept, list[Any]], None, None]:
    """Yield (kept, results of its futures) of each item, in the order of the items.

    begin: item -> (kept, futures), submits the work of an item to a pool. ahead: how many items may be in work besides
    the one whose results are awaited, so that memory stays bounded. killed: the error that is raised if a process of
    the pool was killed; None: BrokenProcessPool. When the generator is closed, or an item fails, work that has not
    begun is cancelled, and work that has begun is waited for.
    """
    begun: deque[Begun[Kept]] = deque()
    try:
        for item in items:
            begun.append(begin(item))
            if len(begun) > ahead:
                yield _first(begun)
        while begun:
            yield _first(begun)
    except BrokenProcessPool:
        if killed is None:
            raise
        raise killed from None
    finally:
        futures = [future for _, futures in begun for future in futures]
        for future in futures:
            future.cancel()
        wait(futures)


def _first(begun: deque[Begun[Kept]]) -> tuple[Kept, list[Any]]:
    """Return the results of the first item, which leaves the queue once they are there."""
    companion, futures = begun[0]
    results = [future.result() for future in futures]
    begun.popleft()
    return companion, results
