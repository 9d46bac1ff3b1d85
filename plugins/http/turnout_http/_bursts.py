"""Answers that are ready close after one another go out together, if their clients are on this host.

To send to a process that sleeps is to wake it, which takes some 18 µs of our CPU time (perf), more than the rest of
sending. In a crowd each answer would find its client asleep again, because the next one takes longer to make than this
one to read. An answer in a burst waits for one pass of the loop, in which those that are ready by then go out one after
the other: with the same in the transport a call of 1 KB costs 0.93 times as much at 8 clients, 0.80 at 32, 0.82 at 200.
"""

from collections.abc import Callable
from typing import final

import trio

CLOSE = 0.001
"""Seconds after one answer in which another one makes a burst."""


@final
class Burst:
    """When answers were ready lately, and for whom; one for all clients of a server that are on its host."""

    __slots__ = ("_last", "_time", "_to")

    def __init__(self) -> None:
        self._time: Callable[[], float] = trio.lowlevel.current_clock().current_time
        self._last = -CLOSE
        self._to: object = None

    def goes_on(self, to: object) -> bool:
        """Take note that an answer to somebody is ready, and say whether it is one of a burst.

        One to whoever got the last one is not: a client by itself, which makes one call after another.
        """
        last, self._last = self._last, self._time()
        before, self._to = self._to, to
        return self._last - last < CLOSE and before is not to
