"""Who may come in now: a limit per client key, one for all, and a short queue before the second (section 4).

The places of a client are counted over every process that shares a store (G11); those of all clients are this
process's own, which they protect.
"""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import final

import trio

from turnout.abc import Places
from turnout_http._refusals import Refusal
from turnout_http._settings import ClientLimits

RETRY_SOON = 1.0
"""Seconds in `Retry-After` of a refusal: places come free within seconds or not at all."""

REMEMBERED = 1024
"""Names of limits that are kept ready: making one for each request costs 0.3 µs."""


@final
class Admission:
    """Places for requests in flight. `enter` takes one, `leave` gives it back; both are cheap when there is room.

    `key` names this frontend among those that count in the same `places`.

    Attributes:
        limits: may be replaced at any time; who is in stays in.
    """

    def __init__(self, limits: ClientLimits, places: Places, key: str) -> None:
        self.limits = limits
        self._places = places
        self._key = key
        self._names: dict[str, str] = {}
        self._queue: deque[trio.Event] = deque()
        self.in_flight = 0

    async def enter(self, client: str) -> None:
        """Take a place; waits in the queue at most `queue_wait`. Raises Refusal with 429 or 503."""
        name = self._names.get(client)
        if name is None:
            if len(self._names) >= REMEMBERED:  # those of keys that a reload has taken away go at last
                self._names.clear()
            name = self._names[client] = self._name("requests", client)
        if not await self._places.enter(name, self.limits.per_key):
            raise Refusal(
                "rate_limited",
                f"this key has {self.limits.per_key} requests in flight already",
                retry_after=RETRY_SOON,
                close=True,
            )
        if self.in_flight < self.limits.requests and not self._queue:
            self.in_flight += 1
            return
        try:
            await self._wait_turn()
        except BaseException:  # a place per client must come back however the wait ended
            self._places.leave(name)
            raise

    def leave(self, client: str) -> None:
        """Give the place back, to the first in the queue if somebody waits."""
        self._places.leave(self._names.get(client) or self._name("requests", client))
        if self._queue:
            self._queue.popleft().set()
        else:
            self.in_flight -= 1

    @asynccontextmanager
    async def socket(self, client: str) -> AsyncIterator[None]:
        """Hold a place for a websocket; its turns take places of their own. Raises Refusal with 429."""
        name = self._name("sockets", client)
        if not await self._places.enter(name, self.limits.sockets_per_key):
            raise Refusal("rate_limited", "this key has too many websockets open", retry_after=RETRY_SOON, close=True)
        try:
            yield
        finally:
            self._places.leave(name)

    def _name(self, what: str, client: str) -> str:
        return f"{self._key} {what} {client}"

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
