"""The kernel's clock: POSIX seconds that pass at the speed of Trio's clock.

The anchor is taken from the wall clock at start, so a kept time survives a restart; from then on only Trio's clock
counts, so that a jump of the system clock moves nothing by itself and the mock clock moves everything (design 10).
"""

import time
from collections.abc import Callable
from logging import getLogger
from typing import Any

import trio

CHECK = 30.0
"""Seconds between two comparisons with the wall clock (design 10)."""

TOLERANCE = 5.0
"""Seconds by which the two clocks may differ before the anchor is taken anew (design 10)."""

log = getLogger("turnout.kernel")


class Clock:
    """Reads POSIX seconds. Made inside `trio.run`, and for it only.

    Attributes:
        time: Trio's clock itself, which costs a third of `trio.current_time()`.
    """

    __slots__ = ("_anchor", "_wall", "time")

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self.time: Callable[[], float] = trio.lowlevel.current_clock().current_time
        self._anchor = wall() - self.time()

    def now(self) -> float:
        """POSIX seconds."""
        return self._anchor + self.time()

    def at(self, time: float) -> float:
        """POSIX seconds of a time on Trio's clock, for whoever has just read that one."""
        return self._anchor + time

    def take_anchor(self) -> float:
        """Take the anchor anew if the wall clock has left us; gives the seconds by which `now()` moved, 0.0 if none."""
        drift = self._wall() - self.now()
        if abs(drift) <= TOLERANCE:
            return 0.0
        self._anchor += drift
        return drift

    async def watch(self, moved: Callable[[float], Any]) -> None:
        """Compare with the wall clock now and then, and tell by how much `now()` has moved to follow it; never ends."""
        while True:
            await trio.sleep(CHECK)
            if drift := self.take_anchor():
                log.warning("the wall clock has jumped by %+.0f s: cooldowns keep their remaining length", drift)
                moved(drift)
