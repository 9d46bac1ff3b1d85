"""What is ready close after something else goes out together with it, if the receivers are on this host.

To send to a process that sleeps is to wake it, which takes some 18 µs of our CPU time (perf), more than the rest of
sending. In a crowd each receiver would be asleep again, because the next message takes longer to make than this one to
read. A message in a burst waits for one pass of the loop, in which those that are ready by then go out one after the
other: with answers and requests alike, a call of 1 KB costs 0.89 times as much at 8 clients, 0.85 at 32, 0.77 at 200.
"""

from collections.abc import Callable
from typing import final

import trio

CLOSE = 0.001
"""Seconds after one message in which another one makes a burst."""


@final
class Burst:
    """When messages were ready lately: one for all receivers on this host that a frontend or a transport sends to."""

    __slots__ = ("_last", "_time")

    def __init__(self) -> None:
        self._time: Callable[[], float] = trio.lowlevel.current_clock().current_time
        self._last = -CLOSE

    def goes_on(self) -> bool:
        """Take note that a message is ready, and say whether it is one of a burst. Made and called under Trio."""
        last, self._last = self._last, self._time()
        return self._last - last < CLOSE
