"""How many streams of an HTTP/2 connection may be open at once."""

from typing import final

import httpcore
import trio


@final
class Streams:
    """How many streams of one connection may be open at once, in place of httpcore's semaphore.

    Whoever finds none free goes to another connection. Only as long as the upstream has not said how many it takes,
    one is open and the others wait for that.

    Attributes:
        closed: no more may be opened.
    """

    def __init__(self) -> None:
        self._open = 0
        self._most: int | None = None
        self._changed = trio.lowlevel.ParkingLot()
        self.closed = False

    @property
    def available(self) -> bool:
        """Whether one is free, or may soon be known to be."""
        return not self.closed and (self._most is None or self._open < self._most)

    async def acquire(self) -> None:
        """Take one; waits for the upstream's first word. Raises ConnectionNotAvailable when none is free."""
        while self._most is None and self._open and not self.closed:
            await self._changed.park()
        if not self.available:
            raise httpcore.ConnectionNotAvailable
        self._open += 1

    async def release(self) -> None:
        """Give one back."""
        self._open -= 1
        self._changed.unpark_all()

    def allow(self, most: int) -> None:
        """The upstream takes so many from now on. Those that are open stay so."""
        self._most = most
        self._changed.unpark_all()

    def close(self) -> None:
        """No more are opened: whoever waits for one goes elsewhere."""
        self.closed = True
        self._changed.unpark_all()
