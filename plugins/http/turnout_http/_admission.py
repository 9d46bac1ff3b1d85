"""Who may come in now: a limit per client key, one for all, and a short queue before the second (section 4)."""

from collections import Counter, deque
from typing import final

import trio

from turnout_http._refusals import Refusal
from turnout_http._settings import ClientLimits

RETRY_SOON = 1.0
"""Seconds in `Retry-After` of a refusal: places come free within seconds or not at all."""


@final
class Admission:
    """Places for requests in flight. `enter` takes one, `leave` gives it back; both are cheap when there is room.

    Attributes:
        limits: may be replaced at any time; who is in stays in.
    """

    def __init__(self, limits: ClientLimits) -> None:
        self.limits = limits
        self._by_client: Counter[str] = Counter()
        self._queue: deque[trio.Event] = deque()
        self.in_flight = 0

    async def enter(self, client: str) -> None:
        """Take a place; waits in the queue at most `queue_wait`. Raises Refusal with 429 or 503."""
        if self._by_client[client] >= self.limits.per_key:
            raise Refusal(
                "rate_limited",
                f"this key has {self.limits.per_key} requests in flight already",
                retry_after=RETRY_SOON,
                close=True,
            )
        self._by_client[client] += 1
        if self.in_flight < self.limits.requests and not self._queue:
            self.in_flight += 1
            return
        try:
            await self._wait_turn()
        except BaseException:  # a place per client must come back however the wait ended
            self._drop(client)
            raise

    def leave(self, client: str) -> None:
        """Give the place back, to the first in the queue if somebody waits."""
        self._drop(client)
        if self._queue:
            self._queue.popleft().set()
        else:
            self.in_flight -= 1

    def _drop(self, client: str) -> None:
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]

    async def _wait_turn(self) -> None:
        if len(self._queue) >= self.limits.queue:
            raise self._busy()
        turn = trio.Event()
        self._queue.append(turn)
        try:
            with trio.move_on_after(self.limits.queue_wait):
                await turn.wait()
        finally:
            if not turn.is_set():
                self._queue.remove(turn)
        if not turn.is_set():
            raise self._busy()

    def _busy(self) -> Refusal:
        return Refusal(
            "no_capacity", "all places for requests are taken", retry_after=self.limits.queue_wait, close=True
        )
