"""Those whose block ends at a known time, the soonest first: a heap from which nothing is searched out.

Who leaves early keeps a dead place until it surfaces; when dead places outnumber the living, the heap is made anew.
"""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Generic, Protocol, TypeVar


class Waiter(Protocol):
    """Who waits.

    Attributes:
        due: POSIX seconds at which to look again.
        until: POSIX seconds to be shown as the recovery; not before `due`.
        place: number of its living place, 0 when it does not wait.
    """

    due: float
    until: float
    place: int


W = TypeVar("W", bound=Waiter)

_PLACES = count(1)
"""Places are unique over all heaps: a waiter moves between them, and what it leaves behind must not fit elsewhere."""


class Waiting(Generic[W]):
    """A heap of waiters by `due`. `len()` counts the living, iterating gives them in no order.

    Attributes:
        due: the soonest of all, or an earlier one of somebody who left; infinity when nobody waits.
    """

    __slots__ = ("_heap", "_living", "due")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, W]] = []
        self._living = 0
        self.due = inf

    def __len__(self) -> int:
        return self._living

    def __iter__(self) -> Iterator[W]:
        return (waiter for _, place, waiter in self._heap if waiter.place == place)

    def push(self, waiter: W) -> None:
        """Let it wait until its `due`."""
        if len(self._heap) > 2 * self._living + 64:
            self._heap = [item for item in self._heap if item[2].place == item[1]]
            heapify(self._heap)
        waiter.place = place = next(_PLACES)
        self._living += 1
        heappush(self._heap, (waiter.due, place, waiter))
        self.due = self._heap[0][0]

    def drop(self, waiter: W) -> None:
        """It waits no longer."""
        waiter.place = 0
        self._living -= 1

    def pop(self) -> W | None:
        """Take out the one at `due`; None when it had left before."""
        heap = self._heap
        _, place, waiter = heappop(heap)
        self.due = heap[0][0] if heap else inf
        if waiter.place != place:
            return None
        waiter.place = 0
        self._living -= 1
        return waiter

    def earliest(self, passes: Callable[[W], bool] | None) -> float | None:
        """The earliest `until` of those that pass; None when nobody does.

        Walks the heap from its root, only as deep as those that are left out.
        """
        heap, best = self._heap, inf
        frontier = [(heap[0][0], 0)] if heap else []
        while frontier and frontier[0][0] < best:
            _, at = heappop(frontier)
            _, place, waiter = heap[at]
            if waiter.place == place and (passes is None or passes(waiter)):
                best = min(best, waiter.until)
            for child in range(2 * at + 1, min(2 * at + 3, len(heap))):
                heappush(frontier, (heap[child][0], child))
        return None if best == inf else best
