"""When a second candidate may start beside a slow first one (design 8, "Hedging"). Pure.

Both rules are those of Dean and Barroso, "The Tail at Scale" (Communications of the ACM 56, February 2013): a request
is repeated once it has been outstanding for longer than 95 of a hundred, and only a small share is repeated at all.
"""

from bisect import bisect_left, insort
from collections import deque
from math import ceil

WINDOW = 100
"""First-payload latencies that the learned delay looks back on."""

LEAST = 20
"""Latencies without which nothing is learned yet, and so nothing hedged: with fewer, 95 of a hundred means nothing."""

QUANTILE = 0.95
"""The learned delay is this quantile of the window, by nearest rank."""

SAVED = 10.0
"""Hedges that quiet times save up at most, so that an hour of calm does not pay for a storm."""

_ROUNDING = 1e-9
"""Ten times a tenth is a little less than one."""


class Latencies:
    """How long the first payload took lately, for one provider and model: a sliding window, kept sorted."""

    __slots__ = ("_last", "_sorted")

    def __init__(self) -> None:
        self._last: deque[float] = deque()
        self._sorted: list[float] = []

    def feed(self, seconds: float) -> None:
        """Take in a latency. That of an attempt which was cut off is at least its age, so that is fed."""
        if len(self._last) == WINDOW:
            del self._sorted[bisect_left(self._sorted, self._last.popleft())]
        self._last.append(seconds)
        insort(self._sorted, seconds)

    def estimate(self) -> float | None:
        """Seconds after which a first payload is late; None while too little is known."""
        known = len(self._sorted)
        return None if known < LEAST else self._sorted[ceil(QUANTILE * known) - 1]


class Budget:
    """Never more hedges than a share of the calls that might hedge."""

    __slots__ = ("_tokens",)

    def __init__(self) -> None:
        self._tokens = 0.0

    def called(self, share: float) -> None:
        """A call that might hedge begins; it brings its share of a hedge."""
        self._tokens = min(SAVED, self._tokens + share)

    def allows(self) -> bool:
        """Whether one hedge may start now."""
        return self._tokens >= 1 - _ROUNDING

    def take(self) -> None:
        """A hedge starts."""
        self._tokens -= 1
