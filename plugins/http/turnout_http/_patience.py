"""How much work a client may ask for that leads nowhere (S54, S56). Pure.

Over HTTP/2 that is pings, settings, streams taken back; over a websocket pings, pongs, and frames with next to nothing.
"""

from typing import final

BURST = 1000.0
"""Such frames at once, and below, how many a second come back. What nghttp2 1.57 and later allow of resets."""

RATE = 33.0


@final
class Patience:
    """What a client has left of it. Starts full, as of the first time it is looked at."""

    __slots__ = ("_left", "_looked")

    def __init__(self) -> None:
        self._left = BURST
        self._looked: float | None = None

    def spend(self, cost: int) -> None:
        """Something came that costs this much."""
        self._left -= cost

    def earn(self, count: int) -> None:
        """Something is on its way to the client, for which it may send so many frames of its own, however late."""
        self._left += count

    def is_over(self, now: float) -> bool:
        """Whether the client has used up more than it had and got back until now, in seconds of any steady clock."""
        if self._looked is not None and self._left < BURST:
            self._left = min(BURST, self._left + RATE * (now - self._looked))
        self._looked = now
        return self._left < 0
