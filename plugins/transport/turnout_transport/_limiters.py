"""Limits on how much is under way: per origin and per credential, waited for in turn, given back by their holder."""

from weakref import WeakValueDictionary

import httpx
import trio

from turnout_transport._failures import failure


class CredentialLimiters:
    """A limiter per credential, kept only as long as somebody uses it: credentials may come and go."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._limiters: WeakValueDictionary[str, trio.CapacityLimiter] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._limiters)

    def of(self, id: str) -> trio.CapacityLimiter | None:
        """The limiter of this credential; None when credentials have no limit of their own."""
        if not self._limit:
            return None
        limiter = self._limiters.get(id)
        if limiter is None:
            limiter = self._limiters[id] = trio.CapacityLimiter(self._limit)
        return limiter


class Holder:
    """Holds what an exchange has borrowed, until it is released; may be released twice."""

    __slots__ = ("_borrowed",)

    def __init__(self) -> None:
        self._borrowed: list[trio.CapacityLimiter] = []

    async def borrow(self, limiter: trio.CapacityLimiter, max_wait: float, where: object) -> None:
        """Wait until this limiter lets us in, at most `max_wait` seconds; raises PoolTimeout."""
        try:
            limiter.acquire_on_behalf_of_nowait(self)
        except trio.WouldBlock:
            with trio.move_on_after(max_wait) as scope:
                await limiter.acquire_on_behalf_of(self)
            if scope.cancelled_caught:
                text = f"no connection to {where} became free within {max_wait:g} s"
                raise failure(httpx.PoolTimeout, text, sent=False) from None
        self._borrowed.append(limiter)

    def release(self) -> None:
        """Give everything back."""
        while self._borrowed:
            self._borrowed.pop().release_on_behalf_of(self)
